# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Carries out MIG plans: the only writer of MIG state, under one lock, with the claims held still while devices change.

Every change ends with the snapshot published, also one that failed half-way: what is published is what stands. What is left undone is
found again by the next run.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from . import devices_snapshot, nvml_mig
from .core.devices import Inventory
from .core.devices_json import SnapshotError
from .core.mig_dynamic import Wish, allowed_on, decide
from .core.mig_layout import HostLayout, LayoutError
from .core.mig_plan import plan_host
from .core.mig_state import GpuState
from .core.mig_steps import Create, Destroy, GpuPlan, HostPlan, Impossibility, Repair, SetMode, Step
from .core.policy_problems import PolicyError
from .mig_claims import ClaimFiles, Claims
from .mig_layout_file import read_layout
from .nvml import Nvml, open_nvml
from .nvml_binding import NvmlError, NvmlInUse
from .nvml_processes import holders, in_words
from .paused_units import paused
from .policy_file import POLICY_PATH, PolicyFile

_RESET_REQUIRED = 16
PUBLISH = "publish the device snapshot"


@dataclass(frozen=True)
class MigPaths:
    """Files of MIG changes (docs/architecture.md). ``cap_minors``: None for the table of the driver that answers.

    ``policy`` says which pool a GPU is in; without a valid one GPUs stay in the pools that they were published with. ``layout`` says which
    profiles may be made on demand; without a valid one none may.
    """

    lock: Path = Path("/run/ds01/mig.lock")
    devices: Path = devices_snapshot.DEVICES
    cdi_base: Path = devices_snapshot.CDI_BASE
    cap_minors: Path | None = None
    policy: Path = Path(POLICY_PATH)
    layout: Path = Path("/etc/ds01/mig.json")


class ImpossibleLayout(RuntimeError):
    """The layout can't be had; nothing was changed (or with ``partial`` only GPUs without a problem)."""

    def __init__(self, problems: tuple[Impossibility, ...]) -> None:
        super().__init__("; ".join(p.message for p in problems))
        self.problems = problems


class ApplyFailed(RuntimeError):
    """The driver refused a step. ``done``: the steps before, in words. Another run goes on from there."""

    def __init__(self, failures: tuple[str, ...], done: tuple[str, ...]) -> None:
        super().__init__("; ".join(failures))
        self.failures = failures
        self.done = done


@dataclass(frozen=True)
class Survey:
    """What stands (``gpus``, users and claims included), what is planned, and whether the published snapshot shows it."""

    gpus: tuple[GpuState, ...]
    inventory: Inventory
    plan: HostPlan
    published: bool

    @property
    def actions(self) -> list[str]:
        """What is to be done, in words."""
        publish = [] if self.published and not self.plan.steps else [PUBLISH]
        return [] if self.plan.problems else [*self.plan.actions, *publish]


class MigHost:
    """MIG of this host. ``pause`` stops units for the time of a change; ``generate`` makes the CDI base spec."""

    def __init__(
        self,
        paths: MigPaths | None = None,
        claims: Claims | None = None,
        pause: Callable[[tuple[str, ...]], AbstractContextManager[object]] = paused,
        generate: Callable[[bool], str] | None = None,
    ) -> None:
        self._paths = paths or MigPaths()
        self._claims = claims or ClaimFiles()
        self._pause = pause
        self._generate = generate

    def survey(self, layout: HostLayout, force: bool = False) -> Survey:
        """Read and plan; changes nothing. Raises NvmlError."""
        with open_nvml(self._paths.cap_minors) as nvml:
            return self._survey(nvml, layout, force)

    def apply(self, layout: HostLayout, force: bool = False, partial: bool = False) -> list[str]:
        """Make the layout stand; returns what was done, in words. ``partial``: GPUs with a problem don't hold up the others.

        Raises ImpossibleLayout, ApplyFailed, NvmlError, devices_snapshot.PublishError.
        """
        with self._lock(), open_nvml(self._paths.cap_minors) as nvml:
            survey = self._survey(nvml, layout, force)
            problems = survey.plan.problems
            if problems and not partial:
                raise ImpossibleLayout(problems)
            if not _ready(survey.plan).steps:
                done = self._publish_if_stale(survey)
                failures: list[str] = []
            else:
                with self._pause(layout.pause_units):
                    done, failures = self._change(nvml, layout, force, partial)
            if failures:
                raise ApplyFailed(tuple(failures), tuple(done))
            if problems:
                raise ImpossibleLayout(problems)
            return done

    def make(self, wishes: Sequence[Wish], keep: Iterable[str] = ()) -> list[str]:
        """Make room for the first of the wishes that can be had on a dynamic GPU; returns what was done, nothing where it is there already.

        Nothing that a process or claim uses, nor a device in ``keep`` (device keys), is touched, and nothing is granted meanwhile.
        Raises NoRoom, ImpossibleLayout, ApplyFailed, NvmlError, LayoutError, devices_snapshot.PublishError.
        """
        with self._lock(), open_nvml(self._paths.cap_minors) as nvml, self._claims.lock():
            held = {**dict.fromkeys(keep, "somebody for whom it is kept"), **self._claims.holders(self._inventory(nvml))}
            gpus = tuple(g.with_claims(held) for g in nvml.states())
            found = decide(read_layout(self._paths.layout), gpus, wishes)
            if found.layout is None:
                return []
            plan = plan_host(HostLayout((found.layout,)), gpus)
            if plan.problems:
                raise ImpossibleLayout(plan.problems)
            done: list[str] = []
            failed: dict[str, str] = {}
            try:
                for change in plan.gpus:
                    self._run(nvml, change, list(change.steps), done, failed)
            finally:
                devices_snapshot.publish(self._inventory(nvml), self._paths.devices, self._paths.cdi_base, self._generate)
                done.append(PUBLISH)
            if failed:
                raise ApplyFailed(tuple(failed.values()), tuple(done))
            return done

    def publish(self) -> bool:
        """Publish the snapshot as things stand; returns whether it was out of date."""
        with self._lock(), open_nvml(self._paths.cap_minors) as nvml, self._claims.lock():
            inventory = self._inventory(nvml)
            stale = not devices_snapshot.is_current(inventory, self._paths.devices, self._paths.cdi_base)
            devices_snapshot.publish(inventory, self._paths.devices, self._paths.cdi_base, self._generate)
            return stale

    def _survey(self, nvml: Nvml, layout: HostLayout, force: bool) -> Survey:
        inventory = self._inventory(nvml, layout)
        held = self._claims.holders(inventory)
        gpus = tuple(g.with_claims(held) for g in nvml.states())
        current = devices_snapshot.is_current(inventory, self._paths.devices, self._paths.cdi_base)
        return Survey(gpus, inventory, plan_host(layout, gpus, force), current)

    def _change(self, nvml: Nvml, layout: HostLayout, force: bool, partial: bool) -> tuple[list[str], list[str]]:
        """Switch MIG on where it has to be, read and plan anew, then do the rest; each GPU fails for itself.

        Planned again under the claims' lock, because something may have been granted since. What is done, and what failed.
        """
        done: list[str] = []
        failed: dict[str, str] = {}
        with self._claims.lock():
            plan = self._survey(nvml, layout, force).plan
            if plan.problems and not partial:
                raise ImpossibleLayout(plan.problems)
            try:
                for change in _ready(plan).gpus:
                    self._run(nvml, change, [s for s in change.steps if isinstance(s, SetMode) and s.enabled], done, failed)
                if done:
                    plan = self._survey(nvml, layout, force).plan
                failed.update({p.gpu: p.message for p in plan.problems})
                for change in plan.gpus:
                    if change.gpu not in failed:
                        self._run(nvml, change, list(change.steps), done, failed)
            finally:
                inventory = self._inventory(nvml, layout)
                devices_snapshot.publish(inventory, self._paths.devices, self._paths.cdi_base, self._generate)
                done.append(PUBLISH)
        return done, list(failed.values())

    def _publish_if_stale(self, survey: Survey) -> list[str]:
        if survey.published:
            return []
        with self._claims.lock():
            devices_snapshot.publish(survey.inventory, self._paths.devices, self._paths.cdi_base, self._generate)
        return [PUBLISH]

    def _inventory(self, nvml: Nvml, layout: HostLayout | None = None) -> Inventory:
        """What there is, with what ``layout`` (where it says nothing, the layout file) lets be made on demand."""
        try:
            published = devices_snapshot.load(self._paths.devices)
        except SnapshotError:
            published = None
        if layout is None or not layout.gpus:
            layout = self._layout()
        try:
            pool_of = PolicyFile(str(self._paths.policy)).current().pool_of
        except PolicyError:
            pool_of = None
        return nvml.inventory(published, pool_of, partial(allowed_on, layout))

    def _layout(self) -> HostLayout:
        try:
            return read_layout(self._paths.layout)
        except LayoutError:
            return HostLayout()

    @staticmethod
    def _run(nvml: Nvml, plan: GpuPlan, steps: list[Step], done: list[str], failed: dict[str, str]) -> None:
        for step in steps:
            try:
                _do(nvml, step)
            except NvmlError as error:
                failed[plan.gpu] = f"{step.words}: {error}"
                return
            done.append(step.words)

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """The one lock of everybody who changes MIG; waits for it."""
        self._paths.lock.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        handle = os.open(self._paths.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


def _ready(plan: HostPlan) -> HostPlan:
    """The part of the plan that has no problem."""
    return replace(plan, problems=())


def _do(nvml: Nvml, step: Step) -> None:
    """One step, by a handle asked for anew. Raises NvmlError."""
    handle = nvml.handle(step.gpu)
    if isinstance(step, SetMode):
        _switch(nvml, step)
    elif isinstance(step, Create):
        nvml_mig.make_whole(handle, nvml_mig.create(handle, step.profile_id, step.start, step.size), step.compute_slices)
    elif isinstance(step, Repair):
        nvml_mig.make_whole(handle, step.gi_id, step.compute_slices)
    elif isinstance(step, Destroy):
        try:
            nvml_mig.destroy(handle, step.gi_id)
        except NvmlInUse as error:
            raise NvmlInUse(f"{error}; {_who_holds(nvml, step.gpu)}", error.code) from error


def _switch(nvml: Nvml, step: SetMode) -> None:
    """Switch the mode and look whether it is in force; a switch that the driver only noted down is taken back.

    Where the GPU can't be reset (passed through to a virtual machine) the note stays, because the next boot carries it out.
    """
    try:
        status = nvml_mig.set_mode(nvml.handle(step.gpu), step.enabled)
    except NvmlInUse as error:
        status = error.code or 0
    mode = nvml_mig.mode(nvml.handle(step.gpu))
    if mode == (step.enabled, step.enabled):
        return
    if status == _RESET_REQUIRED:
        raise NvmlError("the GPU would have to be reset and can't be from here; reboot: the switch is noted and takes effect then", status)
    nvml_mig.set_mode(nvml.handle(step.gpu), not step.enabled)
    raise NvmlInUse(f"the GPU has clients, and nothing was changed; {_who_holds(nvml, step.gpu)}", status)


def _who_holds(nvml: Nvml, uuid: str) -> str:
    others = [pid for pid in holders(nvml.minor(nvml.handle(uuid))) if pid != os.getpid()]
    if not others:
        return "no process of this host shows its device open; look in virtual machines and other pid namespaces"
    return f"its device is open in {', '.join(in_words(pid) for pid in others)}; stop these, or name their units in pause_units"
