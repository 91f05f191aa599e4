# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The Python binding of NVML (distribution ``nvidia-ml-py``), checked, with its errors as types of ours.

The deprecated distribution ``pynvml`` (up to 11) ships an old module of the same name and overwrites the right one; it's refused by name.
"""

from __future__ import annotations

import os
from importlib import metadata
from typing import Any

try:
    import pynvml

    IMPORT_ERROR: ImportError | None = None
except ImportError as error:
    pynvml = None
    IMPORT_ERROR = error

WANTED_DISTRIBUTION = "nvidia-ml-py>=12.535,<14"


class NvmlError(RuntimeError):
    """NVML said no. ``code`` is its return value (nvml.h), or None where the library could not even be asked."""

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code


class NvmlUnavailable(NvmlError):
    """No binding, no library, no driver or no access to the control device: nothing about GPUs can be known."""


class NvmlNotSupported(NvmlError):
    """This GPU or this driver doesn't have it."""


class NvmlNoPermission(NvmlError):
    """Only root may do that."""


class NvmlNotFound(NvmlError):
    """There is no such device or instance."""


class NvmlGpuLost(NvmlError):
    """The GPU has fallen off the bus, or needs a reset."""


class NvmlInUse(NvmlError):
    """A process, or something else that stands on it, holds it."""


class NvmlInsufficient(NvmlError):
    """No room for it: the place is taken, or the instance exists already."""


_BY_CODE: dict[int, type[NvmlError]] = {
    1: NvmlUnavailable,
    2: NvmlNotSupported,
    3: NvmlNotSupported,
    4: NvmlNoPermission,
    6: NvmlNotFound,
    9: NvmlUnavailable,
    12: NvmlUnavailable,
    13: NvmlNotSupported,
    15: NvmlGpuLost,
    16: NvmlGpuLost,
    18: NvmlUnavailable,
    19: NvmlInUse,
    23: NvmlInsufficient,
}
_HINTS = {
    9: "the NVIDIA kernel module isn't loaded; see `modprobe nvidia` and the kernel's log",
    12: "libnvidia-ml.so.1 isn't installed; install the NVIDIA driver",
    18: "the driver was updated while the old module is loaded; reboot",
    999: "often: this process may not open /dev/nvidiactl",
}


def check_binding() -> None:
    """Raises NvmlUnavailable when the binding is missing, or is the deprecated one."""
    if pynvml is None:
        raise NvmlUnavailable(f"the Python module pynvml isn't there ({IMPORT_ERROR}); install {WANTED_DISTRIBUTION}")
    if _owned_by("pynvml", pynvml.__file__) or not hasattr(pynvml, "nvmlDeviceCreateGpuInstanceWithPlacement"):
        raise NvmlUnavailable(
            f"{pynvml.__file__} is the deprecated distribution pynvml or too old a one; remove it and install {WANTED_DISTRIBUTION}"
        )


def call(name: str, *arguments: Any) -> Any:
    """Call the NVML function of that name. Raises the NvmlError for what it returns, with the function in the message."""
    try:
        return getattr(pynvml, name)(*arguments)
    except pynvml.NVMLError as error:
        code = int(error.value)
        kind = _BY_CODE.get(code, NvmlError)
        hint = f"; {_HINTS[code]}" if code in _HINTS else ""
        raise kind(f"{name}: {error}{hint}", code) from error


def binding() -> Any:
    """The module pynvml itself, for its structures and constants."""
    return pynvml


def text(value: str | bytes) -> str:
    """A string of NVML: bindings of some versions give bytes."""
    return value.decode() if isinstance(value, bytes) else value


def _owned_by(distribution: str, path: str | None) -> bool:
    """Whether an installed distribution of that name brought the file."""
    if path is None:
        return False
    try:
        files = metadata.distribution(distribution).files or []
    except metadata.PackageNotFoundError:
        return False
    return any(os.path.realpath(str(f.locate())) == os.path.realpath(path) for f in files)
