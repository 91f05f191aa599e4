# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""From what an administrator types to a reservation: which devices are meant, and what stands in the way of keeping them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .devices import Gpu, Inventory, MigInstance
from .durations import format_duration
from .offers import is_profile
from .quota import moment
from .reservation import Reservation


class NoSuchReservation(ValueError):
    """What is asked for can't be kept. ``why`` has the numbers, ``next_step`` what to do."""

    def __init__(self, why: str, next_step: str) -> None:
        super().__init__(why)
        self.why = why
        self.next_step = next_step


@dataclass(frozen=True)
class Wanted:
    """``gpus``: indexes or UUIDs, whole; ``profile``: instances of that profile, ``count`` of them, on ``gpus`` where any are named."""

    gpus: tuple[str, ...] = ()
    profile: str | None = None
    count: int = 1


def devices_for(inventory: Inventory, wanted: Wanted, reserved: Sequence[Reservation], start: float, end: float) -> frozenset[str]:
    """GPU UUIDs, or keys of instances that nobody else has reserved in that time. Raises NoSuchReservation."""
    gpus = [_gpu(inventory, name) for name in wanted.gpus]
    for name, gpu in zip(wanted.gpus, gpus, strict=True):
        if gpus.count(gpu) > 1:
            raise NoSuchReservation(f"GPU {name} is named twice", "Name each GPU once, by index or by UUID.")
    if wanted.profile is None:
        if not gpus:
            raise NoSuchReservation("no device is named", "Say which: --gpu 2, or --profile 2g.10gb --count 2; see: ds01 status")
        for gpu in gpus:
            refuse_overlap({gpu.uuid, *(i.key for i in gpu.instances)}, f"GPU {gpu.index}", reserved, start, end)
        return frozenset(gpu.uuid for gpu in gpus)
    return _instances(gpus or list(inventory.gpus), wanted.profile, wanted.count, reserved, start, end)


def refuse_overlap(devices: Iterable[str], what: str, reserved: Sequence[Reservation], start: float, end: float) -> None:
    """Raises NoSuchReservation where another reservation has one of these devices in that time."""
    names = set(devices)
    for other in sorted(reserved, key=lambda r: r.start):
        if names & other.devices and other.overlaps(start, end):
            span = f"from {moment(other.start)} to {moment(other.end)}"
            whose = ", ".join(sorted(other.users | other.groups))
            raise NoSuchReservation(
                f"{what} is reserved {span} as {other.id} for {whose}",
                f"Take another device or time, or end that one: ds01 reserve remove {other.id}",
            )


def check_span(start: float, end: float, now: float) -> None:
    """Raises NoSuchReservation for a time that is over or runs backwards."""
    if end <= start:
        raise NoSuchReservation(f"it would end at {moment(end)}, which is not after its start at {moment(start)}", "Give a later --until.")
    if end <= now:
        over = format_duration(round(now - end) or 1)
        raise NoSuchReservation(f"it would have ended at {moment(end)}, {over} ago", "Give an --until that is to come.")


def _gpu(inventory: Inventory, name: str) -> Gpu:
    for gpu in inventory.gpus:
        if name in (str(gpu.index), gpu.uuid):
            return gpu
    known = ", ".join(f"{g.index} ({g.uuid})" for g in inventory.gpus) or "none"
    raise NoSuchReservation(f"GPU {name}: there is no such GPU on this host; there are: {known}", "See them: ds01 status")


def _instances(gpus: Sequence[Gpu], profile: str, count: int, reserved: Sequence[Reservation], start: float, end: float) -> frozenset[str]:
    found = [(gpu, i) for gpu in gpus if gpu.mig_enabled for i in gpu.instances if is_profile(profile, i.profile)]
    free = [(gpu, i) for gpu, i in found if not _is_reserved(gpu, i, reserved, start, end)]
    if len(free) >= count:
        ordered = sorted(free, key=lambda pair: (pair[0].index, pair[1].start))
        return frozenset(instance.key for _, instance in ordered[:count])
    here = sorted({i.profile for gpu in gpus for i in gpu.instances})
    taken = f", {len(found) - len(free)} of them reserved in that time" if found else ""
    stock = f"; profiles here: {', '.join(here)}" if here else "; no GPU here is partitioned"
    raise NoSuchReservation(
        f"{count} of profile {profile} are asked for, there are {len(found)}{taken}{stock}",
        "Ask for fewer, for another time, or reserve a whole GPU with --gpu; see: ds01 reserve list",
    )


def _is_reserved(gpu: Gpu, instance: MigInstance, reserved: Sequence[Reservation], start: float, end: float) -> bool:
    return any({gpu.uuid, instance.key} & r.devices and r.overlaps(start, end) for r in reserved)
