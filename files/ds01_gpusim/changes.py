# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""What can happen to simulated GPUs besides what NVML does: processes come and go, values change, things break."""

from __future__ import annotations

from .state_text import NO_INSTANCE, Record, State, StateError

EVENT_DOUBLE_BIT_ECC = 0x2
EVENT_XID = 0x8
XID_OFF_THE_BUS = 79

# Bits of the clocks event reasons.
THROTTLE_REASONS = {
    "idle": 0x1,
    "power-cap": 0x4,
    "hw-slowdown": 0x8,
    "sw-thermal": 0x20,
    "hw-thermal": 0x40,
    "power-brake": 0x80,
}

# NVML lists compute, graphics and MPS processes apart; a holder keeps the GPU open and is in no list, as monitoring does.
PROCESS_KINDS = {"compute": "C", "graphics": "G", "mps": "M", "holder": "H"}


def settle_energy(gpu: Record, now_ms: int) -> None:
    """Bring the energy counter up to now, so that another power can flow from here on."""
    elapsed_ms = max(0, now_ms - gpu.number("energy_at_ms"))
    gpu.set(energy_mj=gpu.number("energy_mj") + gpu.number("power_mw") * elapsed_ms // 1000, energy_at_ms=now_ms)


def set_values(state: State, index: int, now_ms: int, **values: int) -> None:
    """Set fields of a GPU. Utilisation above nothing takes the throttle reason 'idle' away, and back."""
    gpu = state.gpu(index)
    if "power_mw" in values:
        settle_energy(gpu, now_ms)
    gpu.set(**values)
    if "util" in values and "throttle" not in values:
        reasons = gpu.number("throttle") & ~THROTTLE_REASONS["idle"]
        gpu.set(throttle=reasons if values["util"] else reasons | THROTTLE_REASONS["idle"])


def find_instance(state: State, index: int, gi: int, ci: int = 0) -> Record:
    """A compute instance. Raises StateError where there is none."""
    for record in state.of_kind("ci", index, gi, ci):
        return record
    have = ", ".join(f"{r.ids[1]}/{r.ids[2]}" for r in state.of_kind("ci", index))
    raise StateError(f"GPU {index} has no instance {gi}/{ci} (GPU instance/compute instance): there are {have or 'none'}")


def find_gpu_instance(state: State, index: int, gi: int) -> Record:
    """A GPU instance. Raises StateError where there is none."""
    for record in state.of_kind("gi", index, gi):
        return record
    have = ", ".join(str(r.ids[1]) for r in state.of_kind("gi", index))
    raise StateError(f"GPU {index} has no GPU instance {gi}: there are {have or 'none'}")


def add_process(
    state: State,
    index: int,
    pid: int,
    memory: int,
    *,
    started: int,
    now_us: int,
    instance: tuple[int, int] | None = None,
    kind: str = "compute",
    sm_util: int = 0,
    mem_util: int = 0,
) -> None:
    """A process begins to use a GPU, with ``memory`` bytes, or one instance of it (GPU instance, compute instance).

    ``started`` is field 22 of /proc/<pid>/stat, so that a later process with the same number is not mistaken for it.
    ``now_us`` is UTC in microseconds.
    """
    gpu = state.gpu(index)
    if instance is not None:
        find_instance(state, index, *instance)
    elif gpu.number("mig_mode"):
        raise StateError(f"GPU {index} is in MIG mode: name the instance that the process uses")
    remove_process(state, pid, now_us, index=index, missing_ok=True)
    gi, ci = instance or (NO_INSTANCE, NO_INSTANCE)
    record = Record("proc", (index, pid))
    record.set(kind=PROCESS_KINDS[kind], gi=gi, ci=ci, memory=memory, started=started, sm_util=sm_util, mem_util=mem_util, since_us=now_us)
    state.records.append(record)


def remove_process(state: State, pid: int, now_us: int, *, index: int | None = None, missing_ok: bool = False) -> None:
    """A process lets go of one GPU, or of all. Where accounting is on, what it used is kept."""
    found = [r for r in state.of_kind("proc") if r.ids[1] == pid and index in (None, r.ids[0])]
    if not found and not missing_ok:
        raise StateError(f"process {pid} uses no simulated GPU")
    for process in found:
        gpu = state.gpu(process.ids[0])
        if gpu.number("accounting"):
            account = Record("acct", process.ids)
            account.set(
                sm_util=process.number("sm_util"),
                mem_util=process.number("mem_util"),
                max_memory=process.number("memory"),
                time_ms=max(0, now_us - process.number("since_us")) // 1000,
                since_us=process.number("since_us"),
            )
            state.remove(list(state.of_kind("acct", *process.ids)))
            state.records.append(account)
            state.remove(list(state.of_kind("acct", gpu.ids[0]))[:-128])
    state.remove(found)


def report_xid(state: State, index: int, code: int, instance: tuple[int, int] | None = None) -> None:
    """The driver reports an XID, of the whole GPU or of an instance."""
    gpu = state.gpu(index)
    state.add_event(gpu.ids[0], EVENT_XID, code, *(instance or (NO_INSTANCE, NO_INSTANCE)))


def count_ecc_errors(state: State, index: int, corrected: int = 0, uncorrected: int = 0) -> None:
    """Memory errors happen: they count in both the volatile and the aggregate counter; uncorrected ones make an event."""
    gpu = state.gpu(index)
    for name, more in (("ecc_corrected", corrected), ("ecc_uncorrected", uncorrected)):
        gpu.set(**{name: gpu.number(name) + more, f"{name}_total": gpu.number(f"{name}_total") + more})
    if uncorrected:
        state.add_event(index, EVENT_DOUBLE_BIT_ECC, uncorrected)


def lose_gpu(state: State, index: int) -> None:
    """The GPU falls off the bus: XID 79, then every call about it says GPU_IS_LOST."""
    state.gpu(index).set(lost=1)
    report_xid(state, index, XID_OFF_THE_BUS)


def restore_gpu(state: State, index: int) -> None:
    """A lost GPU answers again."""
    state.gpu(index).set(lost=0)


def forget_boot(state: State) -> None:
    """Makes the library see a reboot at its next call: the state names another boot than the kernel does."""
    state.system.set(boot="another-boot")
