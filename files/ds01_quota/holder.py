# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""One look at disk quotas: who there is, what the policy gives them, what the kernel has, and making it so. Again is nothing.

A directory service does not list its people. They are met by their home, which is why the roots are watched, or by being logged in.
"""

from __future__ import annotations

import fcntl
import os
import pwd
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from ds01 import project_tree
from ds01.core.disk_plan import LARGEST_UID, Kind, Quota, Root, Step, id_of, plan, project_of, why_not
from ds01.core.mount_plan import parse_mountinfo
from ds01.quotactl import Quotas

NOBODY = 65534
T = TypeVar("T")


@dataclass(frozen=True)
class Person:
    """Somebody with a limit in bytes, None for none."""

    uid: int
    user: str
    limit: int | None


@dataclass
class Picture:
    """What was found. ``unfinished``: directories (root, name, uid) whose content is not in its owner's project yet."""

    roots: list[Root] = field(default_factory=list)
    people: dict[int, Person] = field(default_factory=dict)
    present: dict[str, dict[tuple[Kind, int], Quota]] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    trees: list[tuple[str, str, int]] = field(default_factory=list)
    unfinished: list[tuple[str, str, int]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


class Holder:
    """``person_of`` gives a person by uid and raises LookupError; ``logged_in`` names the uids that are."""

    def __init__(
        self,
        roots: Iterable[str],
        quotas: Quotas,
        person_of: Callable[[int], Person],
        *,
        first_uid: int = 1000,
        listed: Callable[[], Iterable[int]] | None = None,
        sessions: Path = Path("/run/user"),
        lock: Path = Path("/run/ds01/quota.lock"),
        mountinfo: Path = Path("/proc/self/mountinfo"),
    ) -> None:
        self._directories = list(dict.fromkeys(roots))
        self._quotas = quotas
        self._person_of = person_of
        self._first_uid = first_uid
        self._listed = listed or _accounts
        self._sessions = sessions
        self._lock = lock
        self._mountinfo = mountinfo

    @contextmanager
    def locked(self, name: str = "") -> Iterator[None]:
        """One at a time; the long walk has a lock of its own by ``name``."""
        self._lock.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        path = self._lock.with_name(self._lock.name + name)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def look(self) -> Picture:
        """What stands and what would have to change; changes nothing. Raises what ``person_of`` raises but LookupError."""
        picture = Picture()
        owners: dict[str, dict[str, int]] = {}
        for directory in self._directories:
            root = self._root(directory, picture)
            if root is not None:
                picture.roots.append(root)
                owners[directory] = project_tree.owned(directory)
        uids = {uid for trees in owners.values() for uid in trees.values()} | set(self._listed()) | set(self._logged_in())
        self._meet(uids, picture)
        seen: set[int] = set()
        for root in picture.roots:
            device = os.stat(root.directory).st_dev
            if device not in seen:
                picture.present[root.directory] = self._present(root, picture.people)
                picture.steps += plan({p.uid: p.limit for p in picture.people.values()}, root, picture.present[root.directory])
                seen.add(device)
            if Kind.PROJECT in root.enforced:
                self._trees(root.directory, owners[root.directory], picture)
        return picture

    def apply(self) -> Picture:
        """Set limits, and put the people's directories into their projects; their content is ``finish``'s."""
        with self.locked():
            picture = self.look()
            for step in picture.steps:
                self._quotas.set(step.directory, step.kind, id_of(step.kind, step.uid), step.after)
            for root, name, uid in picture.trees:
                self._each(picture, project_tree.begin, root, name, uid)
            self._read_back(picture)
            return picture

    def finish(self) -> tuple[int, int, list[str]]:
        """Put the content of directories that is older than their quota into its project. What was changed, what could not be, problems."""
        with self.locked(".label"):
            picture, changed, skipped = self.look(), 0, 0
            for root, name, uid in picture.unfinished:
                done = self._each(picture, project_tree.finish, root, name, uid)
                if done is not None:
                    changed, skipped = changed + done.changed, skipped + done.skipped
            return changed, skipped, picture.problems

    def _root(self, directory: str, picture: Picture) -> Root | None:
        try:
            enforced = self._quotas.enforced(directory)
        except OSError as error:
            picture.problems.append(f"{directory}: {error.strerror}")
            return None
        fstype = self._fstype(directory)
        return Root(directory, fstype, enforced, "" if enforced else why_not(fstype))

    def _fstype(self, directory: str) -> str:
        mounts = parse_mountinfo(self._mountinfo.read_text(encoding="utf-8", errors="surrogateescape"))
        path = os.path.realpath(directory)
        while path not in mounts and path != "/":
            path = os.path.dirname(path)
        return mounts[path].fstype if path in mounts else "this filesystem"

    def _logged_in(self) -> list[int]:
        try:
            return [int(name) for name in os.listdir(self._sessions) if name.isdigit()]
        except OSError:
            return []

    def _meet(self, uids: Iterable[int], picture: Picture) -> None:
        for uid in sorted(uids):
            if self._first_uid <= uid <= LARGEST_UID and uid != NOBODY:
                try:
                    picture.people[uid] = self._person_of(uid)
                except LookupError as error:
                    picture.problems.append(f"{error.args[0]}; what limit they have stays")

    def _present(self, root: Root, people: Mapping[int, Person]) -> dict[tuple[Kind, int], Quota]:
        return {(kind, uid): self._quotas.get(root.directory, kind, id_of(kind, uid)) for kind in root.enforced for uid in people}

    def _trees(self, root: str, owners: Mapping[str, int], picture: Picture) -> None:
        for name, uid in sorted(owners.items()):
            if uid not in picture.people:
                continue
            labelled = self._each(picture, project_tree.is_labelled, root, name, uid)
            picture.trees.append((root, name, uid))
            if labelled is False:
                picture.unfinished.append((root, name, uid))

    def _read_back(self, picture: Picture) -> None:
        for step in picture.steps:
            has = self._quotas.get(step.directory, step.kind, id_of(step.kind, step.uid)).limit_bytes
            if has != step.after:
                picture.problems.append(f"{step.words}: the kernel has {has} after that")

    @staticmethod
    def _each(picture: Picture, act: Callable[[str, str, int, int], T], root: str, name: str, uid: int) -> T | None:
        """One directory fails for itself: its owner may be busy in it."""
        try:
            return act(root, name, uid, project_of(uid))
        except project_tree.NotTheirs as error:
            picture.problems.append(str(error))
        except OSError as error:
            picture.problems.append(f"{root}/{name}: {error.strerror}")
        return None


def _accounts() -> list[int]:
    return [entry.pw_uid for entry in pwd.getpwall()]
