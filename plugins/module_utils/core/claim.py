# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""A GPU claim: which devices a container holds, whose it is, and since when. The CDI spec file that carries it is the record."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any

CLAIM_ID = re.compile(r"c[0-9a-f]{12}")
CDI_KIND = "ds01.infra/gpu"


@dataclass(frozen=True)
class ClaimedDevice:
    """One device of a claim. For a whole GPU ``profile`` is None and the instance fields are None."""

    key: str
    gpu_uuid: str
    gpu_minor: int
    equivalents: Fraction
    memory_mib: int
    profile: str | None = None
    gi_id: int | None = None
    ci_id: int | None = None
    mig_uuid: str | None = None

    @property
    def kind(self) -> str:
        """What a person calls it: the profile, or ``full GPU``."""
        return self.profile if self.profile is not None else "full GPU"

    @property
    def cdi_device(self) -> str:
        """Its name in the base CDI spec: the MIG UUID, or the GPU's."""
        return self.mig_uuid if self.mig_uuid is not None else self.gpu_uuid


@dataclass(frozen=True)
class Claim:
    """Times are seconds since the epoch, UTC; durations are seconds.

    ``generation`` differs between any two grants, so that a device that was given, taken and given again is told apart.
    ``held_until`` is set while a stopped container keeps its GPU, for ``hold`` after its end. ``renewed_at`` is the last
    start that found the claim (or the grant); ``ends_at`` is when the runtime limit ends the container, None when nothing does.
    ``ending_since`` is set from when no start finds the claim any more until no process of its container lives.
    """

    id: str
    uid: int
    user: str
    container_id: str
    container_name: str
    request: str
    devices: tuple[ClaimedDevice, ...]
    granted_at: float
    generation: str
    held_until: float | None = None
    hold: int = 0
    renewed_at: float = 0.0
    ends_at: float | None = None
    ending_since: float | None = None

    @property
    def equivalents(self) -> Fraction:
        """What this claim counts against the person's quota, in GPU-equivalents."""
        return sum((d.equivalents for d in self.devices), Fraction(0))

    @property
    def expected_free_at(self) -> float | None:
        """When its devices come back if nobody does anything; None when that is not known."""
        return self.held_until if self.held_until is not None else self.ends_at


def cdi_name(claim_id: str) -> str:
    """The fully qualified CDI device name that a container with this claim asks for."""
    return f"{CDI_KIND}={claim_id}"


def claim_to_dict(claim: Claim) -> dict[str, Any]:
    """The claim as JSON values; fractions become ``"3/7"``. Read back by ``claim_from_dict``."""
    data = asdict(claim)
    data["devices"] = [{**device, "equivalents": str(device["equivalents"])} for device in data["devices"]]
    return data


def claim_from_dict(data: Mapping[str, Any]) -> Claim:
    """The claim that ``claim_to_dict`` wrote; raises ValueError naming what is wrong."""
    try:
        devices = tuple(_device(d) for d in data["devices"])
        claim = Claim(
            id=_text(data, "id"),
            uid=_integer(data, "uid"),
            user=_text(data, "user"),
            container_id=_text(data, "container_id"),
            container_name=_text(data, "container_name"),
            request=_text(data, "request"),
            devices=devices,
            granted_at=float(data["granted_at"]),
            generation=_text(data, "generation"),
            held_until=_time_or_none(data, "held_until"),
            hold=_integer(data, "hold"),
            renewed_at=float(data["renewed_at"]),
            ends_at=_time_or_none(data, "ends_at"),
            ending_since=None if data.get("ending_since") is None else float(data["ending_since"]),
        )
    except KeyError as error:
        raise ValueError(f"claim without {error.args[0]!r}") from error
    except (TypeError, AttributeError, ZeroDivisionError) as error:
        raise ValueError(f"claim of the wrong shape: {error}") from error
    if not CLAIM_ID.fullmatch(claim.id):
        raise ValueError(f"claim id {claim.id!r}: expected c and twelve hex digits")
    return claim


def _device(data: Mapping[str, Any]) -> ClaimedDevice:
    def optional_text(key: str) -> str | None:
        return None if data[key] is None else _text(data, key)

    def optional_integer(key: str) -> int | None:
        return None if data[key] is None else _integer(data, key)

    return ClaimedDevice(
        key=_text(data, "key"),
        gpu_uuid=_text(data, "gpu_uuid"),
        gpu_minor=_integer(data, "gpu_minor"),
        equivalents=Fraction(_text(data, "equivalents")),
        memory_mib=_integer(data, "memory_mib"),
        profile=optional_text("profile"),
        gi_id=optional_integer("gi_id"),
        ci_id=optional_integer("ci_id"),
        mig_uuid=optional_text("mig_uuid"),
    )


def _text(data: Mapping[str, Any], key: str) -> str:
    value = data[key]
    if not isinstance(value, str):
        raise ValueError(f"claim field {key}={value!r}: expected text")
    return value


def _integer(data: Mapping[str, Any], key: str) -> int:
    value = data[key]
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"claim field {key}={value!r}: expected a whole number")
    return value


def _time_or_none(data: Mapping[str, Any], key: str) -> float | None:
    return None if data[key] is None else float(data[key])
