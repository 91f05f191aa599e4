# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The steps of a MIG plan, each safe to repeat, and the reasons why there is no plan."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Union

from .mig_geometry import Placement


@dataclass(frozen=True)
class SetMode:
    """Switch MIG on or off; needs a GPU without clients. ``rollback``: only the pending mode is set back."""

    gpu: str
    index: int
    enabled: bool
    rollback: bool = False

    @property
    def words(self) -> str:
        """The step as shown to people."""
        if self.rollback:
            return f"GPU {self.index}: take back the pending switch of MIG {'off' if self.enabled else 'on'}"
        return f"GPU {self.index}: switch MIG {'on' if self.enabled else 'off'}"


@dataclass(frozen=True)
class Destroy:
    """Destroy the GPU instance with all of its compute instances."""

    gpu: str
    index: int
    gi_id: int
    profile: str
    start: int

    @property
    def words(self) -> str:
        """The step as shown to people."""
        return f"GPU {self.index}: destroy {self.profile} at {self.start}"


@dataclass(frozen=True)
class Create:
    """Create a GPU instance at its place, and in it the compute instance of full size."""

    gpu: str
    index: int
    profile_id: int
    profile: str
    start: int
    size: int
    compute_slices: int

    @property
    def words(self) -> str:
        """The step as shown to people."""
        return f"GPU {self.index}: create {self.profile} at {self.start}"


@dataclass(frozen=True)
class Repair:
    """Give a GPU instance its one compute instance of full size, in place of what it has."""

    gpu: str
    index: int
    gi_id: int
    profile: str
    start: int
    compute_slices: int

    @property
    def words(self) -> str:
        """The step as shown to people."""
        return f"GPU {self.index}: make the compute instance of {self.profile} at {self.start} whole"


Step = Union[SetMode, Destroy, Create, Repair]  # noqa: UP007 (ansible-test reads it as an older Python would)


class Reason(str, Enum):
    """Why a layout can't be had."""

    NO_SUCH_GPU = "no_such_gpu"
    NAMED_TWICE = "named_twice"
    MIG_UNSUPPORTED = "mig_unsupported"
    UNKNOWN_PROFILE = "unknown_profile"
    UNKNOWN_START = "unknown_start"
    DOES_NOT_FIT = "does_not_fit"
    IN_USE = "in_use"


@dataclass(frozen=True)
class Impossibility:
    """Why the layout can't be had on ``gpu`` (index or selector); ``message`` says what would be possible or who is in the way."""

    reason: Reason
    gpu: str
    message: str


@dataclass(frozen=True)
class GpuPlan:
    """Steps for one GPU and what it has afterwards. ``displaced``: in words, what is destroyed although in use (``force``).

    ``provisional``: the driver shows no profiles before MIG is on, so that the instances are planned after that step.
    """

    gpu: str
    index: int
    steps: tuple[Step, ...]
    mig_enabled: bool
    placements: tuple[Placement, ...] = ()
    displaced: tuple[str, ...] = ()
    provisional: bool = False


@dataclass(frozen=True)
class HostPlan:
    """The plans of all GPUs that the layout touches. A problem on one GPU means that nothing is done on any."""

    gpus: tuple[GpuPlan, ...]
    problems: tuple[Impossibility, ...] = ()

    @property
    def steps(self) -> tuple[Step, ...]:
        """All steps in order: where MIG goes on first (it's what fails most), then GPU by GPU. None when there are problems."""
        if self.problems:
            return ()
        steps = [s for g in self.gpus for s in g.steps]
        return tuple(sorted(steps, key=lambda s: not (isinstance(s, SetMode) and s.enabled)))

    @property
    def actions(self) -> list[str]:
        """The steps in words, in order."""
        return [s.words for s in self.steps]

    @property
    def displaced(self) -> list[str]:
        """What is destroyed although in use, in words."""
        return [d for g in self.gpus for d in g.displaced]
