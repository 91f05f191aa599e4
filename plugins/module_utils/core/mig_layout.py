# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The desired MIG layout of a host: what ``/etc/ds01/mig.json`` and the module's options say, checked.

Names of layouts (``all-balanced``, ``all-1g`` …) become profiles only on a GPU whose profiles are known.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from .mig_geometry import Geometry, Profile

FORMAT = 1
EVERY_GPU = "all"
_LAYOUT = re.compile(r"all-(?:balanced|[1-9][0-9]?g)")
_UNIT = re.compile(r"[A-Za-z0-9:_.\\@][A-Za-z0-9:_.\\@-]*\.(?:service|timer|socket)")
_LAYOUT_NAMES = "all-balanced, all-1g, all-2g, all-3g, all-4g, all-7g"
_BALANCED_SHARES = ((3, 2, 1, 1), (2, 1, 1))


class LayoutError(ValueError):
    """The desired layout is malformed; the message names the key, its value and what is allowed."""


@dataclass(frozen=True)
class WantedInstance:
    """An instance of ``profile`` (a name as NVML has it, or a short form such as ``3g``), at memory slice ``start`` if given."""

    profile: str
    start: int | None = None


@dataclass(frozen=True)
class GpuLayout:
    """What one selector (index, UUID or ``all``) shall have: MIG off, a named layout, or these instances.

    ``dynamic``: the profiles that may be made there on demand; layout or instances are then what it starts with.
    """

    gpu: str
    mig: bool
    layout: str | None = None
    instances: tuple[WantedInstance, ...] = ()
    dynamic: tuple[str, ...] | None = None


@dataclass(frozen=True)
class HostLayout:
    """The desired layout of the host. ``purge``: GPUs that no entry names shall have MIG off, else they are left alone.

    ``pause_units``: systemd units that hold GPUs open (monitors) and are stopped while anything is changed, if they run.
    """

    gpus: tuple[GpuLayout, ...] = ()
    purge: bool = False
    pause_units: tuple[str, ...] = ()


def parse_layout(document: object) -> HostLayout:
    """The layout in a decoded ``mig.json``: ``{"format": 1, "purge": false, "pause_units": [], "gpus": [...]}``. Raises LayoutError."""
    if not isinstance(document, dict):
        raise LayoutError(f"layout: is {type(document).__name__}, expected an object with format, purge, pause_units and gpus")
    _only_keys(document, {"format", "purge", "pause_units", "gpus"}, "layout")
    if document.get("format") != FORMAT:
        raise LayoutError(f"format: is {document.get('format')!r}, expected {FORMAT}")
    return parse_gpus(document.get("gpus", []), document.get("purge", False), document.get("pause_units", []))


def parse_gpus(gpus: object, purge: object = False, pause_units: object = ()) -> HostLayout:
    """The layout of a list of entries ``{gpu, mode, layout | instances}``. Raises LayoutError naming the entry."""
    if not isinstance(pause_units, (list, tuple)) or not all(isinstance(u, str) and _UNIT.fullmatch(u) for u in pause_units):
        raise LayoutError(f"pause_units: is {pause_units!r}, expected a list of unit names such as nvidia-dcgm.service")
    if not isinstance(purge, bool):
        raise LayoutError(f"purge: is {purge!r}, expected true or false")
    if not isinstance(gpus, list):
        raise LayoutError(f"gpus: is {type(gpus).__name__}, expected a list")
    entries = tuple(_entry(item, f"gpus[{i}]") for i, item in enumerate(gpus))
    seen: set[str] = set()
    for i, entry in enumerate(entries):
        if entry.gpu in seen:
            raise LayoutError(f"gpus[{i}].gpu: {entry.gpu} is named twice")
        seen.add(entry.gpu)
    return HostLayout(entries, purge, tuple(pause_units))


def layout_to_json(layout: HostLayout) -> dict[str, Any]:
    """The document that ``parse_layout`` reads back."""
    gpus: list[dict[str, Any]] = []
    for entry in layout.gpus:
        item: dict[str, Any] = {"gpu": entry.gpu, "mode": "mig" if entry.mig else "off"}
        if entry.layout is not None:
            item["layout"] = entry.layout
        elif entry.mig:
            item["instances"] = [
                {"profile": w.profile} if w.start is None else {"profile": w.profile, "start": w.start} for w in entry.instances
            ]
        if entry.dynamic is not None:
            item["dynamic"] = {"profiles": list(entry.dynamic)}
        gpus.append(item)
    return {"format": FORMAT, "purge": layout.purge, "pause_units": list(layout.pause_units), "gpus": gpus}


def named_profiles(name: str, geometry: Geometry) -> tuple[Profile, ...] | None:
    """The instances of a named layout on such a GPU, or None when the GPU has no profile for it.

    ``all-Ng``: as many plain N-slice instances as the driver allows. ``all-balanced``: one large, one middle and two small
    ones (3g+2g+1g+1g on a GPU of seven compute slices, 2g+1g+1g on one of four).
    """
    if name == "all-balanced":
        for shares in _BALANCED_SHARES:
            profiles = [geometry.by_compute(n) for n in shares]
            found = tuple(p for p in profiles if p is not None)
            if sum(shares) == geometry.compute_slices and len(found) == len(shares):
                return found
        return None
    profile = geometry.named(name.removeprefix("all-"))
    return None if profile is None else (profile,) * profile.max_count


def _entry(item: object, where: str) -> GpuLayout:
    if not isinstance(item, dict):
        raise LayoutError(f"{where}: is {type(item).__name__}, expected an object with gpu, mode and layout or instances")
    _only_keys(item, {"gpu", "mode", "layout", "instances", "dynamic"}, where)
    mode, layout, instances = item.get("mode", "mig"), item.get("layout"), item.get("instances")
    if mode not in ("mig", "off"):
        raise LayoutError(f"{where}.mode: is {mode!r}, expected mig or off")
    gpu = _selector(item.get("gpu"), f"{where}.gpu")
    dynamic = _dynamic(item.get("dynamic"), f"{where}.dynamic")
    if mode == "off":
        if dynamic is not None:
            raise LayoutError(f"{where}: mode off and dynamic exclude each other; a whole GPU is never partitioned on demand")
        if layout is not None or instances:
            raise LayoutError(f"{where}: mode off and {'layout' if layout is not None else 'instances'} exclude each other")
        return GpuLayout(gpu, mig=False)
    if (layout is None) == (instances is None):
        raise LayoutError(f"{where}: mode mig needs exactly one of layout and instances")
    if layout is not None:
        if not isinstance(layout, str) or not _LAYOUT.fullmatch(layout):
            raise LayoutError(f"{where}.layout: is {layout!r}, expected one of {_LAYOUT_NAMES}")
        return GpuLayout(gpu, mig=True, layout=layout, dynamic=dynamic)
    if not isinstance(instances, list):
        raise LayoutError(f"{where}.instances: is {type(instances).__name__}, expected a list")
    wanted = tuple(_wanted(w, f"{where}.instances[{i}]") for i, w in enumerate(instances))
    return GpuLayout(gpu, mig=True, instances=wanted, dynamic=dynamic)


def _dynamic(value: object, where: str) -> tuple[str, ...] | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise LayoutError(f"{where}: is {value!r}, expected an object with profiles")
    _only_keys(value, {"profiles"}, where)
    profiles = value.get("profiles")
    if not isinstance(profiles, list) or not profiles or not all(isinstance(p, str) and p.strip() for p in profiles):
        raise LayoutError(f"{where}.profiles: is {profiles!r}, expected a list of profiles such as 2g.10gb or 2g")
    return tuple(profiles)


def _selector(value: object, where: str) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return str(value)
    if isinstance(value, str) and (value == EVERY_GPU or (value.isascii() and value.isdigit()) or value.startswith("GPU-")):
        return str(int(value)) if value.isdigit() else value
    raise LayoutError(f"{where}: is {value!r}, expected an index, a UUID (GPU-…) or {EVERY_GPU}")


def _wanted(item: object, where: str) -> WantedInstance:
    if not isinstance(item, dict):
        raise LayoutError(f"{where}: is {type(item).__name__}, expected an object with profile and perhaps start")
    _only_keys(item, {"profile", "start"}, where)
    profile, start = item.get("profile"), item.get("start")
    if not isinstance(profile, str) or not profile.strip():
        raise LayoutError(f"{where}.profile: is {profile!r}, expected the name of a profile such as 2g.10gb, or 2g")
    if start is not None and (isinstance(start, bool) or not isinstance(start, int) or start < 0):
        raise LayoutError(f"{where}.start: is {start!r}, expected a memory slice (0 or more)")
    return WantedInstance(profile.strip(), start)


def _only_keys(document: dict[str, Any], allowed: set[str], where: str) -> None:
    unknown = sorted(str(k) for k in document if k not in allowed)
    if unknown:
        raise LayoutError(f"{where}: {', '.join(unknown)} not understood; allowed: {', '.join(sorted(allowed))}")
