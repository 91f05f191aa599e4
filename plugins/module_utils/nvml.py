# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The GPUs of this host as NVML reports them: for allocation (``Inventory``) and for MIG planning (``GpuState``).

    with open_nvml() as nvml:
        inventory = nvml.inventory()

One session per process is enough; opening costs milliseconds with persistence mode on and seconds without. An open session is a client
of every GPU: it keeps their MIG mode from being switched.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from . import nvml_mig
from .core.cap_minors import CapMinors, parse_cap_minors
from .core.devices import Gpu, Inventory, MigInstance, Potential
from .core.mig_geometry import Geometry
from .core.mig_state import GpuInstance, GpuState
from .nvml_binding import NvmlError, NvmlGpuLost, call, check_binding, text
from .nvml_processes import GpuProcess, in_words, processes

CAP_MINORS = Path("/proc/driver/nvidia-caps/mig-minors")
SIMULATED_STATE = Path("/run/ds01-gpusim/state")  # or $DS01SIM_STATE; its table of minors is beside it
SIMULATED_SUFFIX = "-sim"


class Nvml:
    """An open session. ``cap_minors``: the driver's table of capability minors, by default the one of the driver that answers."""

    def __init__(self, cap_minors: Path | None = None) -> None:
        self.driver: str = text(call("nvmlSystemGetDriverVersion"))
        self.simulated = self.driver.endswith(SIMULATED_SUFFIX)
        self._cap_minors = cap_minors or (_simulated_cap_minors() if self.simulated else CAP_MINORS)

    def handles(self) -> Iterator[tuple[int, Any]]:
        """(index, handle) of every GPU that answers; a lost one is left out."""
        for index in range(call("nvmlDeviceGetCount")):
            try:
                handle = call("nvmlDeviceGetHandleByIndex", index)
                call("nvmlDeviceGetUUID", handle)
            except NvmlGpuLost:
                continue
            yield index, handle

    def handle(self, uuid: str) -> Any:
        """The handle of a GPU by UUID; ask anew after a mode switch, which may change it. Raises NvmlNotFound."""
        return call("nvmlDeviceGetHandleByUUID", uuid)

    def minor(self, handle: Any) -> int:
        """N of the GPU's /dev/nvidiaN."""
        return int(call("nvmlDeviceGetMinorNumber", handle))

    def inventory(
        self,
        previous: Inventory | None = None,
        pool_of: Callable[[int, str], str] | None = None,
        dynamic_of: Callable[[int, str], Sequence[str]] = lambda _index, _uuid: (),
    ) -> Inventory:
        """Every GPU with its whole MIG instances (those with exactly one compute instance, of full size).

        A lost GPU tells nothing about itself: it is taken from ``previous``, marked unhealthy. ``pool_of`` says the pool of a GPU by
        index and UUID (the policy knows); without it pools stay as they were in ``previous``. ``dynamic_of`` says likewise which
        profiles may be made on demand (the layout knows).
        """
        before = {g.uuid: g.pool for g in previous.gpus} if previous is not None else {}
        pools = pool_of or (lambda _index, uuid: before.get(uuid, Gpu.pool))
        found = [self._gpu(index, handle, pools, dynamic_of) for index, handle in self.handles()]
        if previous is not None:
            seen = {g.uuid for g in found}
            found += [_lost(g) for g in previous.gpus if g.uuid not in seen]
        return Inventory(tuple(sorted(found, key=lambda g: g.index)), self.driver, self.simulated, time.time())

    def states(self) -> tuple[GpuState, ...]:
        """Every GPU as MIG planning needs it, with the processes that use it and its instances."""
        return tuple(self._state(index, handle) for index, handle in self.handles())

    def _state(self, index: int, handle: Any) -> GpuState:
        mode = nvml_mig.mode(handle)
        current, pending = mode or (False, False)
        geometry = nvml_mig.geometry(handle) if mode is not None else None
        running = processes(handle)
        instances: tuple[GpuInstance, ...] = ()
        if current and geometry is not None:
            instances = tuple(
                GpuInstance(i.gi_id, i.profile_id, i.start, i.size, i.compute, _users(running, i.gi_id))
                for i in nvml_mig.instances(handle, geometry)
            )
        known = {i.gi_id for i in instances}
        elsewhere = tuple(in_words(pid) for pid in sorted({p.pid for p in running if p.gi_id not in known}))
        uuid, model = text(call("nvmlDeviceGetUUID", handle)), text(call("nvmlDeviceGetName", handle))
        return GpuState(uuid, index, model, mode is not None, current, pending, geometry, instances, elsewhere)

    def _gpu(self, index: int, handle: Any, pool_of: Callable[[int, str], str], dynamic_of: Callable[[int, str], Sequence[str]]) -> Gpu:
        mode = nvml_mig.mode(handle)
        geometry = nvml_mig.geometry(handle) if mode is not None else None
        uuid, minor = text(call("nvmlDeviceGetUUID", handle)), self.minor(handle)
        enabled = mode is not None and mode[0]
        return Gpu(
            uuid=uuid,
            index=index,
            minor=minor,
            model=text(call("nvmlDeviceGetName", handle)),
            memory_mib=int(call("nvmlDeviceGetMemoryInfo", handle).total) >> 20,
            mig_enabled=enabled,
            compute_slices=geometry.compute_slices if geometry is not None else 1,
            instances=self._instances(uuid, minor, handle, geometry) if enabled and geometry is not None else (),
            pool=pool_of(index, uuid),
            dynamic=_potentials(geometry, dynamic_of(index, uuid)) if enabled and geometry is not None else (),
        )

    def _instances(self, uuid: str, minor: int, handle: Any, geometry: Geometry) -> tuple[MigInstance, ...]:
        table: CapMinors | None = None
        uuids = nvml_mig.mig_uuids(handle)
        found = []
        for raw in nvml_mig.instances(handle, geometry):
            profile = geometry.profile(raw.profile_id)
            if [compute[1] for compute in raw.compute] != [profile.compute_slices]:
                continue
            ci_id = raw.compute[0][0]
            table = table or self._read_cap_minors()
            try:
                gi_minor, ci_minor = table.instances[minor, raw.gi_id], table.compute[minor, raw.gi_id, ci_id]
                mig_uuid = uuids[raw.gi_id, ci_id]
            except KeyError as error:
                where = f"GPU {uuid}, GI {raw.gi_id}, CI {ci_id}"
                raise NvmlError(f"{where}: no entry {error} in {self._cap_minors} or among the MIG devices") from error
            found.append(
                MigInstance(uuid, raw.gi_id, ci_id, profile.id, profile.name, raw.start, raw.size, profile.compute_slices,
                            profile.memory_mib, mig_uuid, gi_minor, ci_minor)
            )  # fmt: skip
        return tuple(found)

    def _read_cap_minors(self) -> CapMinors:
        try:
            return parse_cap_minors(self._cap_minors.read_text(encoding="ascii"))
        except (OSError, ValueError) as error:
            raise NvmlError(f"{self._cap_minors}: can't be read as the table of MIG capability minors: {error}") from error


@contextmanager
def open_nvml(cap_minors: Path | None = None) -> Iterator[Nvml]:
    """A session with the driver, closed at the end. Raises NvmlUnavailable when there is no binding, library or driver."""
    check_binding()
    call("nvmlInit")
    try:
        yield Nvml(cap_minors)
    finally:
        call("nvmlShutdown")


def _simulated_cap_minors() -> Path:
    return Path(os.environ.get("DS01SIM_STATE") or SIMULATED_STATE).with_name("mig-minors")


def _users(running: tuple[GpuProcess, ...], gi_id: int) -> tuple[str, ...]:
    return tuple(in_words(pid) for pid in sorted({p.pid for p in running if p.gi_id == gi_id}))


def _potentials(geometry: Geometry, names: Sequence[str]) -> tuple[Potential, ...]:
    profiles = dict.fromkeys(p for name in names if (p := geometry.named(name)) is not None)
    return tuple(Potential(p.id, p.name, p.compute_slices, p.memory_mib) for p in profiles)


def _lost(gpu: Gpu) -> Gpu:
    return replace(gpu, healthy=False)
