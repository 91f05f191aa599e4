# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Whose a container or a process is, and how that was concluded. Nothing is guessed: without evidence it is nobody's.

Evidence in the order of how hard it is to forge: the slice that the gate chose, the gate's label, labels of the AIME tools, the uid in
their container names, the login uid of the kernel, directories that really belong to the person they are named for, the process's uid.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from .cgroup_path import place
from .workload_facts import ContainerFacts, People, ProcessFacts

_AIME_NAME = re.compile(r".+\._\.(\d+)")
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
    uid_label = facts.labels.get("ds01.uid", "")
    if uid_label.isdigit():
        yield Owner(facts.labels.get("ds01.user") or people.names.get(int(uid_label)), int(uid_label), "label")
    for label, how in (("ds01.user", "label"), ("aime.mlc.USER", "aime label")):
        uid = people.uid_of(facts.labels.get(label, ""))
        if uid is not None:
            yield Owner(people.names[uid], uid, how)
    match = _AIME_NAME.fullmatch(facts.name)
    if match and int(match.group(1)) in people.names:
        yield Owner(people.names[int(match.group(1))], int(match.group(1)), "name")
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
