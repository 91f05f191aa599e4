# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The command ``ds01-quota``, for root: disk quotas of people as the policy has them.

Exit codes: 0 done, 1 could not be done (the message says why), 2 the command line is wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence

from ds01.core.disk_plan import Kind, Quota, fullest
from ds01.core.policy_problems import PolicyError
from ds01.disk_quota import DiskSettingsError
from ds01.policy_file import PolicyFile, Resolver
from ds01.quotactl import KernelQuotas

from .holder import Holder, Person, Picture
from .settings import Settings, load

_EXAMPLES = """examples:
  ds01-quota list              who uses how much of how much
  ds01-quota apply --check     what would change
  ds01-quota apply             hold everybody to the policy now
"""
LABEL_UNIT = "ds01-quota-label.service"
_GIB = 2.0**30


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(
        prog="ds01-quota",
        description="Disk quotas of people, as the policy has them.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = top.add_subparsers(title="commands", metavar="COMMAND", dest="command", required=True)
    apply = commands.add_parser("apply", help="hold everybody to the policy; what timers and boot do")
    apply.add_argument("--check", action="store_true", help="say what would change and change nothing")
    commands.add_parser("label", help="count files that are older than the quota too; takes as long as there are files")
    listing = commands.add_parser("list", help="who uses how much of how much, and what each filesystem can count")
    listing.add_argument("--json", action="store_true")
    return top


def main(arguments: Sequence[str] | None = None, holder: Holder | None = None, settings: Settings | None = None) -> int:
    """Run one command; returns the exit code."""
    options = parser().parse_args(arguments)
    if holder is None and os.geteuid() != 0:
        print(f"ds01-quota: this is for root: sudo ds01-quota {options.command}", file=sys.stderr)
        return 1
    try:
        settings = settings or load()
        holder = holder or Holder(settings.roots, KernelQuotas(), _person_of(Resolver(PolicyFile())), first_uid=settings.first_uid)
        if options.command == "label":
            return _label(holder)
        if options.command == "list":
            picture = holder.look()
            print(as_json(picture) if options.json else as_table(picture))
        else:
            picture = holder.look() if options.check else holder.apply()
            _say(picture, done=not options.check)
            if picture.unfinished and not options.check:
                _label_later()
        return _problems(picture, settings.required and options.command == "apply")
    except (DiskSettingsError, PolicyError, OSError) as error:
        print(f"ds01-quota: {error}", file=sys.stderr)
        return 1


def _person_of(resolver: Resolver) -> Callable[[int], Person]:
    resolver.policies.current()  # without a policy nobody's limit is known, which is not the same as a person unknown

    def person(uid: int) -> Person:
        limits = resolver.limits(uid)
        return Person(uid, limits.user, limits.aggregate.disk)

    return person


def _label(holder: Holder) -> int:
    changed, skipped, problems = holder.finish()
    left = f"; {skipped} could not be (too deep, or held by a lease)" if skipped else ""
    print(f"{changed} files and directories were put into their owner's project{left}.")
    for problem in problems:
        print(f"ds01-quota: {problem}", file=sys.stderr)
    return 0


def _label_later() -> None:
    """The walk may take hours: it's systemd's to run, so that a converge and the boot don't wait for it."""
    done = subprocess.run(["systemctl", "start", "--no-block", LABEL_UNIT], check=False, capture_output=True, text=True)
    if done.returncode != 0:
        print(f"ds01-quota: {LABEL_UNIT}: {done.stderr.strip()}; run ds01-quota label", file=sys.stderr)


def _say(picture: Picture, *, done: bool) -> None:
    for step in picture.steps:
        print(step.words if done else f"would {step.words.partition(': ')[2]} on {step.directory}")


def _problems(picture: Picture, required: bool) -> int:
    for problem in picture.problems:
        print(f"ds01-quota: {problem}", file=sys.stderr)
    without = [root for root in picture.roots if not root.enforced]
    limited = any(person.limit is not None for person in picture.people.values())
    for root in without if limited else ():
        print(f"ds01-quota: {root.directory}: nobody is held to aggregate.disk there: {root.says}", file=sys.stderr)
    return 1 if required and limited and without else 0


def rows(picture: Picture) -> list[dict[str, object]]:
    """One row a person: where they are closest to their limit."""
    found: list[dict[str, object]] = []
    for person in picture.people.values():
        use = fullest((directory, quota) for directory, quota in _of(picture, person.uid))
        found.append(
            {
                "user": person.user,
                "uid": person.uid,
                "policy_limit_bytes": person.limit,
                "used_bytes": None if use is None else use.used_bytes,
                "limit_bytes": None if use is None else use.limit_bytes,
                "directory": None if use is None else use.directory,
            }
        )
    return found


def as_json(picture: Picture) -> str:
    """The document of ``list --json``."""
    roots = [
        {"directory": r.directory, "filesystem": r.fstype, "enforced": sorted(k.name.lower() for k in r.enforced), "says": r.says}
        for r in picture.roots
    ]
    return json.dumps({"roots": roots, "people": rows(picture), "unfinished": [f"{r}/{n}" for r, n, _ in picture.unfinished]}, indent=2)


def as_table(picture: Picture) -> str:
    """The same for a person to read."""
    lines = [f"{root.directory} ({root.fstype}): {root.says}" for root in picture.roots] or ["No directories are under quota."]
    people = [
        (str(r["user"]), str(r["uid"]), _size(r["used_bytes"], "?"), _size(r["limit_bytes"], "no limit"), str(r["directory"] or "-"))
        for r in rows(picture)
    ]
    if people:
        table = [("USER", "UID", "USED", "LIMIT", "CLOSEST ON"), *people]
        widths = [max(len(row[i]) for row in table) for i in range(5)]
        lines += ["", *("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table)]
    if picture.unfinished:
        lines += ["", f"{len(picture.unfinished)} directories hold files that are not counted yet: systemctl status {LABEL_UNIT}"]
    return "\n".join(lines)


def _of(picture: Picture, uid: int) -> list[tuple[str, Quota]]:
    return [(directory, kept[kind, uid]) for directory, kept in picture.present.items() for kind in Kind if (kind, uid) in kept]


def _size(value: object, otherwise: str) -> str:
    return f"{value / _GIB:.2f} GiB" if isinstance(value, int) else otherwise


if __name__ == "__main__":
    sys.exit(main())
