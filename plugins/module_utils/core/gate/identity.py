# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Who speaks: the peer of a connection, as the kernel and the user database say."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..container_marks import OWNER_LABEL as OWNER_LABEL
from ..container_marks import UID_LABEL as UID_LABEL

INTERNAL_LABEL = "ds01.internal"

_REPOSITORY_COMPONENT = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*")
_FIRST_ORDINARY_GID = 1000


@dataclass(frozen=True)
class Identity:
    """One person at the other end of a socket.

    ``uid`` and ``gid`` come from SO_PEERCRED; ``user`` is the name of that uid, empty when the user database knows none. ``groups`` are
    (name, gid) of all the person's groups. ``admin`` is the policy's word. ``from_host_pidns`` is False when the peer lives in another pid
    namespace than the gate: in a container, where uid 0 means nothing.
    """

    uid: int
    user: str
    gid: int = -1
    groups: tuple[tuple[str, int], ...] = ()
    admin: bool = False
    from_host_pidns: bool = True

    @property
    def namespaces(self) -> tuple[str, ...]:
        """First components of the image names this person may write: the user name if it can be one, and always ``ds01-u<uid>``."""
        own = f"ds01-u{self.uid}"
        if _REPOSITORY_COMPONENT.fullmatch(self.user) and not self.user.startswith("ds01-"):
            return self.user, own
        return (own,)

    def may_join(self, group: str) -> int | None:
        """The gid for ``group`` (a name or a number) if the person is in it and it is no system group, else None."""
        for name, gid in self.groups:
            if group in (name, str(gid)) and (gid >= _FIRST_ORDINARY_GID or (gid == self.gid and gid > 0)):
                return gid
        return None
