# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Does what a verdict wants done before and after a request is forwarded."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ds01.allocator import AllocationError
from ds01.caller_paths import CallerPaths, PathRefused
from ds01.core.gate.identity import OWNER_LABEL
from ds01.core.gate.observe import lifted
from ds01.core.gate.verdict import (
    Answer,
    Effect,
    EnsureNetwork,
    EnsureSlice,
    EnsureVolume,
    Forward,
    GrantClaim,
    MakeDirectory,
    OwnImage,
    RecordImage,
    ReleaseClaim,
    Stop,
    SweepImages,
)
from ds01.core.gate.wait_label import WAIT_LABEL, wait_seconds
from ds01.core.limits import Limits
from ds01.core.policy_schema import KINDS
from ds01.core.refusal import Refusal
from ds01.docker_upstream import DaemonRefused, DaemonUnavailable, DockerClient, segment
from ds01.image_tags import ImageTags, Writer
from ds01.slice_control import SliceError, Slices
from ds01_gate.caller import Caller, Callers
from ds01_gate.claim_keeper import ClaimKeeper, Grant
from ds01_gate.image_sweep import ImageSweep
from ds01_gate.turn_wait import WAITABLE, MustWait, TurnWait

KIND_LABEL = "ds01.kind"
_OK = range(200, 300)
_NOT_MODIFIED = 304
# Above it the makers of images that are gone are forgotten.
_MOST_MADE = 2000


class ServerFault(Exception):
    """The server is at fault, not the request: nothing was forwarded. Answered with 503."""


class Outcome:
    """What became of the forwarded request. Without a word from the forwarder it counts as failed."""

    def __init__(self) -> None:
        self.status: int | None = None
        self.images: tuple[str, ...] = ()

    @property
    def succeeded(self) -> bool:
        """Whether dockerd did it, or had nothing to do."""
        return self.status is not None and (self.status in _OK or self.status in (101, _NOT_MODIFIED))


class Effects:
    """One for the process."""

    def __init__(
        self,
        docker: DockerClient,
        paths: CallerPaths,
        tags: ImageTags,
        slices: Slices,
        keeper: ClaimKeeper,
        callers: Callers,
        waiting: TurnWait,
    ) -> None:
        self._docker = docker
        self._paths = paths
        self._tags = tags
        self._slices = slices
        self._keeper = keeper
        self._callers = callers
        self._waiting = waiting
        self._sweep = ImageSweep(docker, tags)

    @contextmanager
    def around(self, caller: Caller, verdict: Forward) -> Iterator[Outcome]:
        """The effects before, the block that forwards, the effects after or the undoing.

        Raises Refusal, ServerFault, and MustWait for a start that may wait for its GPU, before the block.
        """
        outcome = Outcome()
        claims = [effect for effect in verdict.before if isinstance(effect, GrantClaim)]
        for effect in verdict.before:
            if not isinstance(effect, GrantClaim):
                self._before(caller, effect)
        for effect in verdict.after:
            if isinstance(effect, RecordImage) and effect.user is not None:
                # Before: should the gate die in between, the image must not pass for a pulled one.
                # The names that a person may write are theirs anyway.
                self._tags.record(effect.ref, Writer(effect.user, caller.identity.admin))
        try:
            with _nested(self._claim(one, outcome) for one in claims):
                yield outcome
        finally:
            if outcome.succeeded:
                for effect in verdict.after:
                    self._after(effect, outcome)

    def start_refused(self, caller: Caller, ref: str) -> None:
        """A start was refused. dockerd removes a ``--rm`` container whose start fails, and the CLI waits for that: so it is done here.

        Only for a container of the caller's that has never run.
        """
        found = self._docker.find(f"/containers/{segment(ref)}/json")
        if found is None or found["State"]["Status"] != "created" or not found["HostConfig"].get("AutoRemove"):
            return
        if (found["Config"].get("Labels") or {}).get(OWNER_LABEL) == caller.identity.user:
            # dockerd gone or the container started by now: then there is nothing to remove.
            with contextlib.suppress(DaemonRefused, DaemonUnavailable):
                self._docker.call("DELETE", f"/containers/{found['Id']}?v=1")

    def _before(self, caller: Caller, effect: Effect) -> None:
        if isinstance(effect, EnsureVolume):
            self._ensure_volume(effect)
        elif isinstance(effect, EnsureNetwork):
            self._ensure_network(effect)
        elif isinstance(effect, MakeDirectory):
            try:
                self._paths.make_directory(caller.rights, effect.path)
            except PathRefused as error:
                next_step = "Make the directory yourself, or name another one."
                raise Refusal(f"bind mount of {effect.path}", f"it can't be made: {error}", next_step, rule="bind-make") from error
        elif isinstance(effect, EnsureSlice):
            limits = caller.limits if effect.uid == caller.uid else self._callers.limits_of(effect.uid)
            try:
                self._slices.ensure_user_slice(effect.uid, limits.aggregate)
            except SliceError as error:
                raise ServerFault(f"the slice {effect.name} can't be made: {error}") from error
        else:
            raise TypeError(f"{type(effect).__name__} is nothing to do before a request")

    def _ensure_volume(self, wanted: EnsureVolume) -> None:
        found = self._docker.find(f"/volumes/{segment(wanted.name)}")
        if found is None:
            body = {"Name": wanted.name, "Driver": "local", "Labels": dict(wanted.labels), "DriverOpts": dict(wanted.options)}
            found = self._docker.call("POST", "/volumes/create", body)
        if not _same_volume(found, wanted):
            why = "a volume of that name exists and is not yours, or was made with other options"
            raise Refusal(f"volume {wanted.name}", why, "Choose another name for the volume.", rule="volume-conflict", status=409)

    def _ensure_network(self, wanted: EnsureNetwork) -> None:
        found = self._docker.find(f"/networks/{segment(wanted.name)}")
        if found is None:
            body = {"Name": wanted.name, "CheckDuplicate": True, "Driver": "bridge", "Labels": dict(wanted.labels)}
            self._docker.call("POST", "/networks/create", body)
        elif found["Name"] != wanted.name or found.get("Driver") != "bridge" or (found.get("Labels") or {}) != dict(wanted.labels):
            why = "a network of that name exists that the gate did not make"
            raise Refusal(f"network {wanted.name}", why, "Ask an administrator to remove it.", rule="network-conflict", status=409)

    @contextmanager
    def _claim(self, wanted: GrantClaim, outcome: Outcome) -> Iterator[None]:
        labels = self._labels(wanted.container_id)
        kind = labels.get(KIND_LABEL)
        limits = self._callers.limits_of(wanted.uid, kind=kind if kind in KINDS else None, container=wanted.container_name)
        observed = lifted(limits, frozenset({"gpus"})) if "gpus" in self._callers.observed else None
        with self._keeper.starting(wanted.container_id):
            try:
                grant = self._granted(wanted, limits, observed)
            except Refusal as refusal:
                raise self._later(refusal, wanted, limits, labels) from refusal
            try:
                yield
            finally:
                if not outcome.succeeded:
                    self._keeper.undo(grant)

    def _labels(self, container_id: str) -> dict[str, str]:
        """The container's labels: its kind, for which policy may have limits of its own, and how long its start may wait."""
        found = self._docker.find(f"/containers/{segment(container_id)}/json")
        return {} if found is None else dict(found["Config"].get("Labels") or {})

    def _later(self, refusal: Refusal, wanted: GrantClaim, limits: Limits, labels: dict[str, str]) -> Exception:
        """What to raise for a refused start: that it may wait, when its container says so and waiting can help; else the refusal."""
        if refusal.rule not in WAITABLE:
            return refusal
        told = self._waiting.told(refusal, wanted, limits)
        try:
            seconds = wait_seconds(labels.get(WAIT_LABEL, "") or "0")
        except Stop:
            return told
        return MustWait(wanted, limits, seconds, told) if seconds else told

    def _granted(self, wanted: GrantClaim, limits: Limits, observed: Limits | None) -> Grant:
        try:
            return self._keeper.grant(wanted, limits, observed)
        except AllocationError as error:
            raise ServerFault(f"no GPU can be granted: {error}") from error

    def sweep(self, wanted: SweepImages) -> Answer:
        """Remove a person's unused images; the answer. Raises DaemonUnavailable and DaemonRefused."""
        return self._sweep.sweep(wanted)

    def not_there(self, images: Sequence[str]) -> tuple[str, ...]:
        """Those of the ids that no image has."""
        return tuple(one for one in images if self._docker.find(f"/images/{one}/json") is None)

    def will_write(self, refs: Sequence[str], caller: Caller) -> None:
        """The caller is about to give these references to images of an archive: before, as with every other writing."""
        for ref in refs:
            self._tags.record(ref, Writer(caller.identity.user, caller.identity.admin))

    def _made(self, image_id: str, user: str) -> None:
        if self._docker.find(f"/images/{image_id}/json") is None:
            return  # The answer told of an image, and then of an error.
        self._tags.record_made(image_id, user)
        if self._tags.made > _MOST_MADE:
            with contextlib.suppress(DaemonRefused, DaemonUnavailable):
                self._tags.keep_made(self._sweep.present())

    def _after(self, effect: Effect, outcome: Outcome) -> None:
        if isinstance(effect, ReleaseClaim):
            self._keeper.drop(effect.container_id, effect.claim_id)
        elif isinstance(effect, RecordImage):
            if effect.user is None:
                self._tags.record(effect.ref, None)
        elif isinstance(effect, OwnImage):
            for image_id in outcome.images:
                self._made(image_id, effect.user)
        else:
            raise TypeError(f"{type(effect).__name__} is nothing to do after a request")


@contextmanager
def _nested(contexts: Iterator[Any]) -> Iterator[None]:
    """Enter each context in turn, leave them in reverse."""
    one = next(contexts, None)
    if one is None:
        yield
        return
    with one, _nested(contexts):
        yield


def _same_volume(found: dict[str, Any], wanted: EnsureVolume) -> bool:
    labels = {key: value for key, value in (found.get("Labels") or {}).items() if key.startswith("ds01.")}
    expected = {key: value for key, value in wanted.labels.items() if key.startswith("ds01.")}
    return found.get("Driver") == "local" and (found.get("Options") or {}) == dict(wanted.options) and labels == expected
