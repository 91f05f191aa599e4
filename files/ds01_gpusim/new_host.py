# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""A host with simulated GPUs as it comes out of the box: MIG off, idle, cool, no errors."""

from __future__ import annotations

from .state_text import Record, State, StateError

DRIVER = "580.65.06-sim"

# Models of models.c with their power when idle, in milliwatts.
MODELS = {"a100-40gb": 38_000, "a100-80gb": 45_000, "h100-80gb": 70_000, "h200-141gb": 75_000}
MAX_GPUS = 16


def new_gpu(index: int, model: str, now_ms: int) -> Record:
    """One GPU. ``now_ms`` is where its energy counter begins, in milliseconds since boot."""
    if model not in MODELS:
        raise StateError(f"model {model!r}: can be {', '.join(MODELS)}")
    gpu = Record("gpu", (index,))
    gpu.set(
        model=model,
        uuid=f"GPU-{0xA0000000 + index:08x}-5a5a-4000-8000-{index:012x}",
        bus_id=f"00000000:{0x17 + 8 * index:02X}:00.0",
        serial=f"13{index:011d}",
        minor=index,
        mig_mode=0,
        mig_pending=0,
        ecc_mode=1,
        temperature=34,
        memory_temperature=36,
        power_mw=MODELS[model],
        throttle=1,
        energy_mj=0,
        energy_at_ms=now_ms,
    )
    return gpu


def new_host(models: list[str], *, boot: str, now_ms: int, admin_uid: int = 0) -> State:
    """A host with these models in order of index, in the boot ``boot``. ``admin_uid`` may change things besides root."""
    if not 1 <= len(models) <= MAX_GPUS:
        raise StateError(f"{len(models)} GPUs: can be 1 to {MAX_GPUS}")
    system = Record("sys", ())
    system.set(format=1, driver=DRIVER, boot=boot, admin_uid=admin_uid, latency_us=0, hang=0, nodes=0, caps_major=0, next_event=1)
    return State([system, *(new_gpu(i, model, now_ms) for i, model in enumerate(models))])
