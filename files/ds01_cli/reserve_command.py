# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""``ds01 reserve``: keep GPUs or MIG instances for people or groups between two moments.

Nobody else is given them then, nor before, where their container could run into it. Who holds one when it begins keeps it until their
container ends. What is reserved here and what a playbook reserves (module gpu_allocate) stand in one file.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from typing import Any

from ds01.allocator import AllocationError, AllocationPaths, Allocator
from ds01.core.event import Event
from ds01.core.plain_words import plain
from ds01.core.policy_problems import PolicyError
from ds01.core.quota import moment
from ds01.core.reservation import Reservation, reservation_to_dict
from ds01.core.reservation_request import NoSuchReservation, Wanted, check_span, devices_for
from ds01.event_log import EventLog
from ds01.policy_file import PolicyFile
from ds01.reservation_file import ReservationFileError, load, locked, save
from ds01.slice_control import NoSlices

from .administrator import need_root, person, record
from .failure import Failure
from .moments import ahead, length
from .screen import table

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
_EXAMPLES = """examples:
  sudo ds01 reserve add exam --gpu 2 --group students --from 2026-12-01T08:00Z --until 2026-12-01T12:00Z --reason "exam"
  sudo ds01 reserve add thesis --profile 2g.10gb --user student1 --from now --for 3d --reason "deadline"
  sudo ds01 reserve list
  sudo ds01 reserve remove exam
"""


def register(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "reserve",
        help="keep GPUs for somebody for a time (administrators)",
        description=__doc__.split("\n\n")[0],
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", dest="action", required=True)
    add = actions.add_parser("add", help="make a reservation")
    add.add_argument("name", metavar="NAME", help="what it is called")
    add.add_argument(
        "--gpu", dest="gpus", action="append", default=[], metavar="GPU", help="index or UUID, with all instances; again for more"
    )
    add.add_argument("--profile", help="MIG instances of this profile, such as 2g.10gb")
    add.add_argument("--count", type=int, default=1, metavar="N", help="how many of the profile (default: 1)")
    add.add_argument("--user", dest="users", action="append", default=[], metavar="USER", help="for this person; again for more")
    add.add_argument("--group", dest="groups", action="append", default=[], metavar="GROUP", help="for this group of the policy")
    add.add_argument("--from", dest="begins", default="now", metavar="TIME", help="ISO 8601, or 2h for in two hours (default: now)")
    end = add.add_mutually_exclusive_group(required=True)
    end.add_argument("--until", metavar="TIME", help="ISO 8601, UTC without an offset")
    end.add_argument("--for", dest="duration", metavar="DURATION", help="such as 4h or 3d, from its start")
    add.add_argument("--reason", required=True, help="what for; people see that a device is busy, not why")
    add.add_argument("--json", action="store_true", help="print the reservation as JSON")
    listing = actions.add_parser("list", help="those in force and to come")
    listing.add_argument("--all", action="store_true", help="with those that are over")
    listing.add_argument("--json", action="store_true", help="print JSON")
    remove = actions.add_parser("remove", help="end one")
    remove.add_argument("name", metavar="NAME")
    parser.set_defaults(run=run)


def run(
    arguments: argparse.Namespace,
    paths: AllocationPaths | None = None,
    log: EventLog | None = None,
    policies: PolicyFile | None = None,
    now: float | None = None,
) -> int:
    """Add, list or remove."""
    paths, log, at = paths or AllocationPaths(), log or EventLog(), time.time() if now is None else now
    by = need_root(f"ds01 reserve {arguments.action}")
    try:
        if arguments.action == "list":
            return _list(paths, at, every=arguments.all, as_json=arguments.json)
        with locked(paths.reservations):
            if arguments.action == "remove":
                return _remove(arguments.name, paths, log, by, at)
            return _add(arguments, paths, log, policies or PolicyFile(), by, at)
    except NoSuchReservation as refusal:
        raise Failure(f"reservation {plain(arguments.name)} is refused: {refusal.why}", refusal.next_step) from refusal
    except (ReservationFileError, AllocationError, PolicyError, OSError) as error:
        raise Failure(f"reservations can't be read or kept: {error}", "journalctl -u ds01-gate -u ds01-mig") from error


def _list(paths: AllocationPaths, now: float, *, every: bool, as_json: bool) -> int:
    found = sorted((r for r in load(paths.reservations) if every or r.end > now), key=lambda r: (r.start, r.id))
    if as_json:
        print(json.dumps([reservation_to_dict(r) for r in found], indent=2))
        return 0
    names = _device_names(paths)
    rows = [
        (r.id, _state(r, now), _people(r), ", ".join(names.get(d, d) for d in sorted(r.devices)), moment(r.start), moment(r.end), r.reason)
        for r in found
    ]
    print(table(("NAME", "", "FOR", "DEVICES", "FROM", "UNTIL", "REASON"), rows) if rows else "Nothing is reserved.")
    return 0


def _people(reservation: Reservation) -> str:
    return ", ".join(sorted(reservation.users | reservation.groups))


def _state(reservation: Reservation, now: float) -> str:
    return "in force" if reservation.start <= now < reservation.end else "to come" if now < reservation.start else "over"


def _device_names(paths: AllocationPaths) -> dict[str, str]:
    """Device → how an administrator calls it; nothing where no snapshot was published yet."""
    try:
        gpus = Allocator(paths, NoSlices()).inventory().gpus
    except AllocationError:
        return {}
    names = {gpu.uuid: f"GPU {gpu.index}" for gpu in gpus}
    names.update({i.key: f"GPU {gpu.index} {i.profile} at {i.start}" for gpu in gpus for i in gpu.instances})
    return names


def _remove(name: str, paths: AllocationPaths, log: EventLog, by: str, now: float) -> int:
    before = load(paths.reservations)
    found = next((r for r in before if r.id == name), None)
    if found is None:
        known = ", ".join(r.id for r in before) or "none"
        raise Failure(
            f"reservation {plain(name)} can't be removed: there is none of that name; there are: {known}", "ds01 reserve list --all"
        )
    save(paths.reservations, [r for r in before if r.id != name])
    record(log, Event("reservation.ended", now, gpus=tuple(sorted(found.devices)), by=by, details={"name": name, "why": "removed"}))
    print(f"{name} is no longer reserved.")
    return 0


def _add(arguments: argparse.Namespace, paths: AllocationPaths, log: EventLog, policies: PolicyFile, by: str, now: float) -> int:
    name, reason = arguments.name, plain(arguments.reason)
    if not _NAME.fullmatch(name):
        raise NoSuchReservation("its name is none", "Take letters, digits, dot, dash and underscore, 63 at most.")
    if not reason:
        raise NoSuchReservation("--reason is empty", 'Say what it is for: --reason "exam"')
    before = load(paths.reservations)
    if any(r.id == name for r in before):
        raise NoSuchReservation("there is one of that name already", f"Take another name, or end it: ds01 reserve remove {name}")
    start = ahead(arguments.begins, "--from", now)
    end = start + length(arguments.duration, "--for") if arguments.duration else ahead(arguments.until, "--until", now)
    check_span(start, end, now)
    users, groups = _holders(arguments, policies)
    if not 1 <= arguments.count <= 64:
        raise NoSuchReservation(f"--count is {arguments.count}", "Expected 1 to 64.")
    allocator = Allocator(paths, NoSlices())
    devices = devices_for(allocator.inventory(), Wanted(tuple(arguments.gpus), arguments.profile, arguments.count), before, start, end)
    new = Reservation(name, devices, users, groups, start, end, reason)
    save(paths.reservations, [*before, new])
    details = {"name": name, "for": sorted(users | groups), "from": start, "until": end, "reason": reason}
    record(log, Event("reservation.made", now, gpus=tuple(sorted(devices)), by=by, details=details))
    if arguments.json:
        print(json.dumps(reservation_to_dict(new), indent=2))
        return 0
    names = _device_names(paths)
    print(f"{name}: {', '.join(names.get(d, d) for d in sorted(devices))} from {moment(start)} to {moment(end)}.")
    for claim in allocator.claims():
        if any({d.key, d.gpu_uuid} & devices for d in claim.devices):
            at = "has no end" if claim.ends_at is None else f"ends by {moment(claim.ends_at)}"
            print(f"Held now by {claim.user} ({plain(claim.container_name)}), which {at} and is not stopped for it.")
    return 0


def _holders(arguments: argparse.Namespace, policies: PolicyFile) -> tuple[frozenset[str], frozenset[str]]:
    if not arguments.users and not arguments.groups:
        raise NoSuchReservation("nobody is named whom it is for", "Say for whom: --user NAME or --group GROUP")
    known = [group.name for group in policies.current().groups]
    for group in arguments.groups:
        if group not in known:
            raise NoSuchReservation(f"the policy has no group {plain(group)}; it has: {', '.join(known) or 'none'}", "Take one of these.")
    return frozenset(person(user).name for user in arguments.users), frozenset(arguments.groups)
