# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""GPU models for the tests of MIG planning: the placements that ``nvidia-smi mig -lgipp`` lists on A100, H100 and A30."""

from __future__ import annotations

from ds01.core.mig_geometry import Geometry, Placement, Profile
from ds01.core.mig_state import GpuInstance, GpuState

ONE, ONE_ME, ONE_DOUBLE, TWO, THREE, FOUR, SEVEN = 19, 20, 15, 14, 9, 5, 0


def seven_slices(names: tuple[str, ...], memory: tuple[int, ...], compute_capability: int) -> Geometry:
    """Eight memory slices, seven compute slices: GA100, GH100 and their descendants."""
    return Geometry(
        (
            Profile(ONE, names[0], 1, 1, (0, 1, 2, 3, 4, 5, 6), 7, memory[0]),
            Profile(ONE_ME, names[0] + "+me", 1, 1, (0, 1, 2, 3, 4, 5, 6), 1, memory[0]),
            Profile(ONE_DOUBLE, names[1], 1, 2, (0, 2, 4, 6), 4, memory[1]),
            Profile(TWO, names[2], 2, 2, (0, 2, 4), 3, memory[1]),
            Profile(THREE, names[3], 3, 4, (0, 4), 2, memory[2]),
            Profile(FOUR, names[4], 4, 4, (0,), 1, memory[2]),
            Profile(SEVEN, names[5], 7, 8, (0,), 1, memory[3]),
        ),
        compute_capability,
    )


A100 = seven_slices(("1g.5gb", "1g.10gb", "2g.10gb", "3g.20gb", "4g.20gb", "7g.40gb"), (4864, 9856, 19968, 40192), 8)
H100 = seven_slices(("1g.10gb", "1g.20gb", "2g.20gb", "3g.40gb", "4g.40gb", "7g.80gb"), (9984, 20096, 40448, 81152), 9)
A30 = Geometry(
    (
        Profile(14, "1g.6gb", 1, 1, (0, 1, 2, 3), 4, 5952),
        Profile(5, "2g.12gb", 2, 2, (0, 2), 2, 11968),
        Profile(0, "4g.24gb", 4, 4, (0,), 1, 24064),
    ),
    8,
)


def gi_id(size: int, start: int) -> int:
    """The driver's GI id: a fixed function of the memory span."""
    return {8: 0, 4: 1, 2: 3, 1: 7}[size] + start // size


def standing(geometry: Geometry, placement: Placement, users: tuple[str, ...] = ()) -> GpuInstance:
    """A whole instance at that place."""
    profile = geometry.profile(placement.profile_id)
    return GpuInstance(
        gi_id(profile.size, placement.start), profile.id, placement.start, profile.size, ((0, profile.compute_slices),), users
    )


def gpu(
    geometry: Geometry | None = A100, instances: tuple[GpuInstance, ...] = (), mig: bool = True, index: int = 0, users: tuple[str, ...] = ()
) -> GpuState:
    """A GPU in that state, nothing pending."""
    return GpuState(f"GPU-{index}", index, "model", True, mig, mig, geometry, instances, users)
