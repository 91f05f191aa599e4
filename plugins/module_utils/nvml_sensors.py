# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Reads a GPU's sensors through NVML. What a GPU or its MIG mode does not tell is absent (None), never zero."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .nvml_binding import NvmlError, call

_TEMPERATURE_GPU = 0
_CORRECTED, _UNCORRECTED = 0, 1
_VOLATILE = 0


@dataclass(frozen=True)
class Sensors:
    """``utilisation`` in percent, memory in bytes, power in watts, ``energy`` in joules since the driver was loaded, °C.

    ``throttle`` is NVML's bitmask of clocks event reasons; ECC errors are those since the last boot; ``remapped`` rows
    (corrected, uncorrected), and whether a remapping waits for a reset or has failed.
    """

    utilisation: float | None
    memory_used: int | None
    memory_total: int | None
    power: float | None
    energy: float | None
    temperature: float | None
    throttle: int | None
    ecc_corrected: int | None
    ecc_uncorrected: int | None
    remapped_corrected: int | None
    remapped_uncorrected: int | None
    remap_pending: bool | None
    remap_failed: bool | None


def _get(name: str, *arguments: Any) -> Any:
    """What the function returns, None where it is not supported or fails for this GPU."""
    try:
        return call(name, *arguments)
    except NvmlError:
        return None


def _scaled(value: Any, factor: float) -> float | None:
    return None if value is None else float(value) * factor


def read_sensors(handle: Any) -> Sensors:
    """The sensors of one GPU."""
    rates = _get("nvmlDeviceGetUtilizationRates", handle)
    memory = _get("nvmlDeviceGetMemoryInfo", handle)
    rows = _get("nvmlDeviceGetRemappedRows", handle)
    corrected, uncorrected, pending, failed = rows if rows is not None else (None, None, None, None)
    return Sensors(
        utilisation=None if rates is None else float(rates.gpu),
        memory_used=None if memory is None else int(memory.used),
        memory_total=None if memory is None else int(memory.total),
        power=_scaled(_get("nvmlDeviceGetPowerUsage", handle), 1e-3),
        energy=_scaled(_get("nvmlDeviceGetTotalEnergyConsumption", handle), 1e-3),
        temperature=_scaled(_get("nvmlDeviceGetTemperature", handle, _TEMPERATURE_GPU), 1.0),
        throttle=_get("nvmlDeviceGetCurrentClocksThrottleReasons", handle),
        ecc_corrected=_get("nvmlDeviceGetTotalEccErrors", handle, _CORRECTED, _VOLATILE),
        ecc_uncorrected=_get("nvmlDeviceGetTotalEccErrors", handle, _UNCORRECTED, _VOLATILE),
        remapped_corrected=corrected,
        remapped_uncorrected=uncorrected,
        remap_pending=None if pending is None else bool(pending),
        remap_failed=None if failed is None else bool(failed),
    )
