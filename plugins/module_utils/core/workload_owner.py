# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Whose a container or a process is, and how that was concluded. Nothing is guessed: without evidence it is nobody's.

Evidence in the order of how hard it is to forge: the slice that the gate chose, the marks on the container (``container_marks``), the login
uid of the kernel, directories that really belong to the person they are named for, the process's uid.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .cgroup_path import place
from .container_marks import has_marks, marked
from .workload_facts import ContainerFacts, People, ProcessFacts

_FIRST_HUMAN_UID = 1000
_UNSET_NAMES = 65534


@dataclass(frozen=True)
class Owner:
    """``how`` is one of slice, label, aime label, name, login, devcontainer folder, bind mount, compose folder, process owner, none."""

    user: str | None
    uid: int | None
    how: str


NOBODY = Owner(None, None, "none")


def container_owner(facts: ContainerFacts, people: People) -> Owner:
    """The first piece of evidence that names an existing person."""
    return next(_evidence(facts, people), NOBODY)


def _evidence(facts: ContainerFacts, people: People) -> Iterator[Owner]:
    where = place(facts.cgroup_path)
    if where.uid is not None:
        yield Owner(people.names.get(where.uid, str(where.uid)), where.uid, "slice")
    mark = marked(facts.labels, facts.name, people.names)
    if mark is not None:
        # The name of an account that is gone is taken from the label; that of one that exists is never.
        yield Owner(people.names.get(mark.uid) or mark.user or str(mark.uid), mark.uid, mark.how)
    elif not has_marks(facts.labels, facts.name):
        # Marks that contradict each other, or name nobody, are no reason to look further: the gate doesn't either.
        yield from _folders(facts, people)


def _folders(facts: ContainerFacts, people: People) -> Iterator[Owner]:
    """Directories below a home count only when that home's owner really owns them: anybody can name a path."""
    claimed = [(facts.labels.get("devcontainer.local_folder", ""), "devcontainer folder")]
    claimed += [(source, "bind mount") for source in facts.bind_sources]
    claimed.append((facts.labels.get("com.docker.compose.project.working_dir", ""), "compose folder"))
    for path, how in claimed:
        for name, home in people.homes.items():
            below = path == home or path.startswith(home.rstrip("/") + "/")
            uid = people.uid_of(name)
            if home and below and uid is not None and _really_owned(facts, path, uid):
                yield Owner(name, uid, how)


def _really_owned(facts: ContainerFacts, path: str, uid: int) -> bool:
    owners = [owner for source, owner in facts.bind_sources.items() if path == source or path.startswith(source.rstrip("/") + "/")]
    return bool(owners) and all(owner == uid for owner in owners)


def process_owner(facts: ProcessFacts, container: Owner | None, people: People) -> Owner:
    """A process in a container is its container's owner's; on the host the login uid counts, then the process's own."""
    if container is not None:
        return container
    where = place(facts.cgroup_path)
    if where.uid is not None:
        return Owner(people.names.get(where.uid, str(where.uid)), where.uid, "slice")
    for uid, how in ((facts.login_uid, "login"), (where.login_uid, "login"), (facts.uid, "process owner")):
        if uid is not None and _FIRST_HUMAN_UID <= uid != _UNSET_NAMES:
            return Owner(people.names.get(uid, str(uid)), uid, how)
    return NOBODY
