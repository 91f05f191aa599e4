# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Every way in which a client asks for a GPU, as one ``GpuRequest``; and which requests the policy can never grant."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from ..gpu_request import GpuRequest
from ..limits import GpuLimits
from ..offers import is_profile
from ..refusal import Refusal
from ..request_text import EXPECTED, parse_request_text
from .body_fields import check_count
from .verdict import Stop

ASK_LABEL = "ds01.gpu"
VISIBLE_DEVICES = "NVIDIA_VISIBLE_DEVICES"
# Read by NVIDIA's hooks and runtime (nvidia-container-toolkit, internal/config/image); never let through from a client.
_STRIPPED = re.compile(r"NVIDIA_(?:VISIBLE_DEVICES|MIG_.*|IMEX_CHANNELS|GDS|GDRCOPY|MOFED|NVSWITCH)", re.IGNORECASE)
_UUID = re.compile(r"(?:GPU|MIG)-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_INDEX = re.compile(r"[0-9]{1,3}(?::[0-9]{1,3})?")
_CDI = re.compile(r"(?:nvidia\.com|runtime\.nvidia\.com)/(?:gpu|mig)=(.+)")
_LONGEST_ASK = 400
_MOST_REQUESTS = 16
_DRIVERS = frozenset(("", "nvidia", "cdi"))
_GPU_CAPABILITIES = frozenset(("gpu", "nvidia", "compute", "utility", "graphics", "video", "display", "compat32", "ngx"))


def asked(device_requests: Sequence[Mapping[str, Any]], env: Sequence[str], label: str | None) -> GpuRequest | None:
    """What the client wants: the label ``ds01.gpu`` says it most exactly, then DeviceRequests, then NVIDIA_VISIBLE_DEVICES of its own."""
    from_devices = _from_device_requests(device_requests)
    if label is not None:
        return parse_ask(label)
    return from_devices or _from_environment(env)


def parse_ask(text: str) -> GpuRequest | None:
    """The request in the label ``ds01.gpu``: none, or what ``request_text`` understands."""
    if text.strip().lower() in ("none", "0", ""):
        return None
    try:
        if len(text) > _LONGEST_ASK:
            raise ValueError(f"GPU request of {len(text)} characters; {EXPECTED}")
        return parse_request_text(text)
    except ValueError as error:
        raise Stop(400, f"label {ASK_LABEL}: {ascii(str(error))[1:-1]}.", "gpu-label") from error


def clean_environment(env: Sequence[str]) -> list[str]:
    """The client's variables without those that choose GPUs, and with the one that tells any hook to choose none."""
    return [item for item in env if _STRIPPED.fullmatch(item.partition("=")[0]) is None] + [f"{VISIBLE_DEVICES}=void"]


def refuse_impossible(request: GpuRequest, limits: GpuLimits) -> None:
    """Raises ``Refusal`` for what the caller's policy can never grant, whatever is free."""
    wanted = request.text()
    if limits.devices_per_container < 1 or limits.equivalents == Fraction(0):
        raise _never(wanted, "your policy gives you no GPU", "Ask an administrator, or run without --gpus.")
    if request.count > limits.devices_per_container:
        raise _never(
            wanted,
            f"{request.count} devices are more than the {limits.devices_per_container} that one container may have",
            f"Use --gpus {limits.devices_per_container}.",
        )
    if request.full and not limits.full_gpu:
        raise _never(wanted, "whole GPUs are not part of your policy", f"Use --gpus 1, or one of: {_profiles(limits)}.")
    if request.uuids and not limits.by_uuid:
        raise _never(wanted, "choosing a device by its UUID is not part of your policy", "Use --gpus with a count.")
    allowed = limits.profiles
    if request.profile is not None and allowed is not None and not any(_overlap(request.profile, profile) for profile in allowed):
        raise _never(wanted, f"profile {request.profile} is not part of your policy", f"Use one of: {_profiles(limits)}.")


def _overlap(asked: str, allowed: str) -> bool:
    """Whether some profile is both asked for and allowed: either may name a whole family (``2g``)."""
    return is_profile(asked, allowed) or is_profile(allowed, asked)


def _profiles(limits: GpuLimits) -> str:
    return ", ".join(limits.profiles) if limits.profiles else "any profile of this server (see: ds01 status)"


def _never(wanted: str, why: str, next_step: str) -> Refusal:
    return Refusal(f"GPU request {wanted} is refused", why, next_step, rule="gpu-policy")


def _from_device_requests(requests: Sequence[Mapping[str, Any]]) -> GpuRequest | None:
    total, everything, found = 0, False, False
    uuids: list[str] = []
    check_count(requests, _MOST_REQUESTS, "HostConfig.DeviceRequests")
    for index, request in enumerate(requests):
        place = f"HostConfig.DeviceRequests[{index}]"
        driver, ids, count = request.get("Driver", ""), request.get("DeviceIDs", []), request.get("Count", 0)
        _check_driver(place, driver, request.get("Capabilities", []))
        if count and ids:
            raise Stop(400, f"{place} has Count and DeviceIDs; expected one of them.", "gpu-request")
        if count < -1 or count > 999:
            raise Stop(400, f"{place}.Count is {count}; expected a number of devices, or -1 for all.", "gpu-request")
        found = found or count != 0 or bool(ids)
        everything = everything or count == -1
        total += max(count, 0)
        for item in ids:
            named = _device(item, f"{place}.DeviceIDs")
            everything = everything or named == "all"
            if named.startswith(("GPU-", "MIG-")):
                uuids.append(named)
            elif named != "all":
                total += 1
    if not found:
        return None
    if uuids:
        return GpuRequest(count=total + len(uuids), uuids=tuple(dict.fromkeys(uuids)))
    return GpuRequest(everything=True) if everything else GpuRequest(count=total)


def _check_driver(place: str, driver: str, capabilities: Any) -> None:
    """The driver is NVIDIA's or CDI's, and the capabilities, a list of lists, are those of GPUs."""
    if driver not in _DRIVERS:
        raise Refusal(
            f"{place}.Driver = {ascii(driver)[:60]} is refused", "only GPUs are handed out as devices", "Use --gpus.", rule="gpu-request"
        )
    if not isinstance(capabilities, list) or not all(
        isinstance(group, list) and all(isinstance(c, str) for c in group) for group in capabilities
    ):
        raise Stop(400, f"{place}.Capabilities is {ascii(capabilities)[:60]}; expected a list of lists of strings.", "gpu-request")
    unknown = sorted({c for group in capabilities for c in group} - _GPU_CAPABILITIES)
    if unknown or (driver == "" and not any(capabilities)):
        raise Refusal(
            f"{place}.Capabilities = {ascii(capabilities)[:60]} is refused",
            "only GPUs are handed out as devices",
            "Use --gpus.",
            rule="gpu-request",
        )


def _device(item: str, place: str) -> str:
    """``all``, an index, or a UUID, from a device id of NVIDIA's or a CDI name of NVIDIA's."""
    match = _CDI.fullmatch(item)
    named = match.group(1) if match else item
    if named == "all" or _INDEX.fullmatch(named) or _UUID.fullmatch(named):
        return named
    raise Refusal(
        f"{place} = {ascii(item)[:80]} is refused", "it names no NVIDIA GPU", "Use --gpus with a count, or device=UUID.", rule="gpu-request"
    )


def _from_environment(env: Sequence[str]) -> GpuRequest | None:
    value = ""
    for item in env:
        key, _, text = item.partition("=")
        if key == VISIBLE_DEVICES:
            value = text.strip()
    if value in ("", "void", "none"):
        return None
    names = [_device(part.strip(), f"Env {VISIBLE_DEVICES}") for part in value.split(",")]
    if "all" in names:
        return GpuRequest(everything=True)
    uuids = tuple(dict.fromkeys(name for name in names if name.startswith(("GPU-", "MIG-"))))
    return GpuRequest(count=len(dict.fromkeys(names)), uuids=uuids)
