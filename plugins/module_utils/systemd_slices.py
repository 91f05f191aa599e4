# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Slices of people and of claims, made by systemd at run time: no unit file, no reload, gone after a reboot like the claims.

The drop-in for ``ds01-`` closes every slice to NVIDIA devices; here a person's slice is opened for the filters below it, and a claim's
slice gets its own devices. What systemd says it holds is read back, because a slice that is too open is a leak.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from pathlib import Path

from .cgroup_fs import CgroupFs
from .core.device_filter import EVERYTHING, WITHOUT_NVIDIA, DeviceEntry, character_classes, claimed
from .core.limits import AggregateLimits
from .core.slice_limits import Difference, Property, SliceLimits, differences, from_aggregate, properties
from .core.slice_names import claim_slice, user_slice
from .slice_control import SliceError
from .systemd_bus import UNIT_EXISTS, BusError, SystemdBus

PROC_DEVICES = Path("/proc/devices")


class SystemdSlices:
    """``Slices`` of a host with systemd and cgroup v2. ``io_paths``: files on the disks that people's bandwidth is limited on."""

    def __init__(
        self,
        bus: SystemdBus,
        cgroups: CgroupFs,
        io_paths: Sequence[str] = ("/var/lib/docker",),
        proc_devices: Path = PROC_DEVICES,
    ) -> None:
        self._bus = bus
        self._cgroups = cgroups
        self._io_paths = tuple(io_paths)
        self._proc_devices = proc_devices
        self._opened: dict[int, frozenset[tuple[int, str]]] = {}
        self._lock = threading.Lock()

    def ensure_user_slice(self, uid: int, limits: AggregateLimits) -> bool:
        """One look at the kernel's files when all is as it should be. The filter is made again when a new class of devices appeared."""
        asked = from_aggregate(limits, self._io_paths)
        name = user_slice(uid)
        with self._lock:
            classes = self._device_classes()
            if self._opened.get(uid) == classes and self._cgroups.exists(name) and not self.differences(name, asked):
                return False
            self._apply(name, [*properties(asked), *_filter(EVERYTHING)])
            self._verify_filter(name, EVERYTHING)
            self._opened[uid] = classes
        return True

    def open_claim_slice(self, uid: int, claim_id: str, nodes: Sequence[tuple[int, int]]) -> None:
        """The exact filter, read back from systemd."""
        name, entries = claim_slice(uid, claim_id), claimed(nodes)
        self._apply(name, _filter(entries))
        self._verify_filter(name, entries)

    def close_claim_slice(self, uid: int, claim_id: str) -> None:
        """Closed first; stopped only when nothing runs in it, because stopping a slice kills what is in it."""
        name = claim_slice(uid, claim_id)
        if not self._cgroups.exists(name):
            return
        try:
            self._bus.set_properties(name, _filter(WITHOUT_NVIDIA))
            if not self._cgroups.populated(name):
                self._bus.stop(name)
        except (BusError, OSError) as error:
            raise SliceError(f"{name} can't be closed: {error}") from error

    def claim_slices(self) -> Sequence[tuple[int, str]]:
        return self._cgroups.claim_slices()

    def set_limits(self, name: str, limits: SliceLimits) -> None:
        """Live limits of any slice, until the next reboot."""
        self._apply(name, properties(limits))

    def differences(self, name: str, limits: SliceLimits) -> list[Difference]:
        """What the kernel holds the slice to otherwise than asked."""
        disks = self._cgroups.disks(limits.io_paths) if limits.io_paths else ()
        return differences(limits, self._cgroups.limits(name), disks)

    def _apply(self, name: str, wanted: Iterable[Property]) -> None:
        """A new transient slice; one that is there already is started first, because properties of an inactive unit outlive it."""
        asked = list(wanted)
        try:
            try:
                self._bus.start_transient(name, asked)
            except BusError as error:
                if error.name != UNIT_EXISTS:
                    raise
                self._bus.start(name)
                self._bus.set_properties(name, asked)
        except BusError as error:
            raise SliceError(f"{name} can't be made: {error}") from error

    def _verify_filter(self, name: str, entries: Sequence[DeviceEntry]) -> None:
        """systemd holds exactly this filter; what stood there before under the same name is overwritten once."""
        try:
            if not self._holds(name, entries):
                self._bus.set_properties(name, _filter(entries))
                if not self._holds(name, entries):
                    raise SliceError(f"{name}: systemd holds {self._bus.slice_property(name, 'DeviceAllow')}, asked was {list(entries)}")
        except BusError as error:
            raise SliceError(f"{name} can't be read back: {error}") from error

    def _holds(self, name: str, entries: Sequence[DeviceEntry]) -> bool:
        held = {(str(what), str(access)) for what, access in self._bus.slice_property(name, "DeviceAllow")}
        policy = self._bus.slice_property(name, "DevicePolicy")
        allowed = set(entries) | (set(WITHOUT_NVIDIA) if tuple(entries) == EVERYTHING else set())
        return policy == "closed" and set(entries) <= held <= allowed

    def _device_classes(self) -> frozenset[tuple[int, str]]:
        try:
            return character_classes(self._proc_devices.read_text())
        except OSError as error:
            raise SliceError(f"{self._proc_devices}: {error.strerror}") from error


def _filter(entries: Sequence[DeviceEntry]) -> list[Property]:
    """The empty list clears what was there."""
    return [("DevicePolicy", "s", "closed"), ("DeviceAllow", "a(ss)", []), ("DeviceAllow", "a(ss)", list(entries))]
