# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Exemptions that admins gave by command (``/var/lib/ds01/exemptions.json``, root's, which no converge touches); the policy with them."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from . import json_state
from .core.exemption_grants import Granted, from_dict, merged, split, to_dict
from .core.policy_model import Policy
from .policy_file import POLICY_PATH, PolicyFile

EXEMPTIONS = "/var/lib/ds01/exemptions.json"


class ExemptionFile:
    """The file at ``path``; whoever changes it holds ``lock()``."""

    def __init__(self, path: str = EXEMPTIONS) -> None:
        self.path = path

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the lock beside the file; waits for it."""
        handle = os.open(self.path + ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def read(self) -> tuple[Granted, ...]:
        """All of them, also those that are over. Raises StateError naming file and key."""
        document = json_state.read(self.path)
        try:
            return () if document is None else from_dict(document)
        except ValueError as error:
            raise json_state.StateError(f"{self.path}: {error}") from error

    def write(self, granted: tuple[Granted, ...]) -> None:
        """Replace them. Everybody may read who is exempt, as in the policy. Call under ``lock()``."""
        json_state.write(self.path, to_dict(granted), 0o644)

    def drop_ended(self, now: float) -> tuple[Granted, ...]:
        """Take out those that are over at ``now``; returns them."""
        if not split(self.read(), now)[1]:
            return ()
        with self.lock():
            holding, over = split(self.read(), now)
            self.write(holding)
        return over


class PolicyWithExemptions(PolicyFile):
    """The policy of this host with the exemptions given by command. Of a damaged exemption file the last good ones hold."""

    def __init__(self, path: str = POLICY_PATH, exemptions: str = EXEMPTIONS, *, on_problem: Callable[[str], None] | None = None) -> None:
        super().__init__(path, on_problem=on_problem)
        self._exemptions = ExemptionFile(exemptions)
        self._told = on_problem
        self._last: tuple[Granted, ...] = ()
        self._stamp_of_last: tuple[int, int] | None = None

    def current(self) -> Policy:
        """The policy in force with the exemptions in force; raises PolicyError where there has never been a policy."""
        policy = super().current()
        try:
            about = os.stat(self._exemptions.path)
            stamp = (about.st_ino, about.st_mtime_ns)
            if stamp != self._stamp_of_last:
                self._stamp_of_last = stamp
                self._last = self._exemptions.read()
        except FileNotFoundError:
            self._last, self._stamp_of_last = (), None
        except (json_state.StateError, OSError) as error:
            if self._told is not None:
                self._told(str(error))
        return merged(policy, self._last) if self._last else policy
