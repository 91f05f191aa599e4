# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The marks on a container that say whose it is: the gate's labels, else those of the tools that came before it.

One rule for the gate, the watcher and the lifecycle, so that nobody sees as theirs what counts as somebody else's. Who writes a mark:

- ``ds01.uid``: the gate, on everything that it makes; a client's own is refused. It beats all else. (Root can write it, too.)
- ``ds01.user`` without ``ds01.uid``, ``aime.mlc.USER``, a name like ``train._.1001``: the tools of before, and whoever had Docker's
  socket then. Anybody could mark a container of their own as somebody else's, never somebody else's as their own; so a mark gives rights
  over what its writer gave away. It opens nothing on the host: what a container may do is checked whoever owns it.

These old marks have to agree with each other, and with the account database: where one names another person than the next, or a uid or
a name that no account has, they say nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

OWNER_LABEL = "ds01.user"
UID_LABEL = "ds01.uid"
LEGACY_LABEL = "aime.mlc.USER"
LEGACY_NAME = re.compile(r".+\._\.(\d{1,10})")


@dataclass(frozen=True)
class Mark:
    """``how`` is one of label, aime label, name; ``legacy`` is False for the gate's own word alone. ``user`` None: no such account."""

    user: str | None
    uid: int
    how: str
    legacy: bool


def marked(labels: Mapping[str, str], name: str, names: Mapping[int, str]) -> Mark | None:
    """Whom the marks name; None for nobody, and where they contradict each other. ``names`` are the accounts by uid."""
    uid = labels.get(UID_LABEL, "")
    if uid.isdigit():
        return Mark(labels.get(OWNER_LABEL) or names.get(int(uid)), int(uid), "label", False)
    uids = {user: known for known, user in names.items()}
    found = [(uids.get(labels[label]), how) for label, how in ((OWNER_LABEL, "label"), (LEGACY_LABEL, "aime label")) if labels.get(label)]
    match = LEGACY_NAME.fullmatch(name)
    if match is not None:
        numbered = int(match.group(1))
        found.append((numbered if numbered in names else None, "name"))
    if not found or len({known for known, _ in found}) > 1 or found[0][0] is None:
        return None
    return Mark(names[found[0][0]], found[0][0], found[0][1], True)


def has_marks(labels: Mapping[str, str], name: str) -> bool:
    """Whether there is any mark at all, so that no other evidence counts."""
    return bool(labels.get(UID_LABEL) or labels.get(OWNER_LABEL) or labels.get(LEGACY_LABEL) or LEGACY_NAME.fullmatch(name))
