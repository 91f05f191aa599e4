# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""From the peer of a connection to a person: identity for the judge, limits from the policy, rights for looking at paths."""

from __future__ import annotations

from dataclasses import dataclass

from ds01.caller_paths import Rights
from ds01.core.gate.identity import Identity
from ds01.core.limits import Limits
from ds01.core.policy_problems import PolicyError
from ds01.core.refusal import Refusal
from ds01.peer_identity import Accounts, Peer
from ds01.policy_file import Resolver


@dataclass(frozen=True)
class Caller:
    """Somebody whom the gate serves. ``peer`` is the process, the rest is the person."""

    peer: Peer
    identity: Identity
    limits: Limits
    rights: Rights

    @property
    def uid(self) -> int:
        """The person's uid."""
        return self.identity.uid


class Callers:
    """Makes callers of peers."""

    def __init__(self, accounts: Accounts, resolver: Resolver) -> None:
        self._accounts = accounts
        self._resolver = resolver

    @property
    def observed(self) -> frozenset[str]:
        """The groups of rules that are only watched."""
        return self._resolver.policies.current().gate.observed

    def forget(self) -> None:
        """Look everybody up anew in the user database."""
        self._accounts.forget()

    def identify(self, peer: Peer) -> Caller:
        """Who that is now; raises Refusal for somebody whom the gate does not serve, and where there is no policy."""
        what = "this connection to Docker"
        if not peer.local:
            why = f"process {peer.pid} (uid {peer.uid}) is not in the host's pid namespace, as a process in a container isn't, or has ended"
            raise Refusal(what, why, "Use docker from your login on the host.", rule="peer-namespace")
        try:
            account = self._accounts.find(peer.uid)
            if account is None:
                raise LookupError(f"uid {peer.uid}: the user database doesn't know it")
            limits = self._resolver.limits(peer.uid)
        except LookupError as error:
            raise Refusal(what, str(error), "Ask the administrator of this server.", rule="unknown-uid") from error
        except PolicyError as error:
            raise Refusal(
                what, f"there is no valid policy: {error}", "Ask the administrator of this server.", rule="no-policy", status=503
            ) from error
        groups = tuple(gid for _, gid in account.groups)
        # The person's primary group comes from the user database: SO_PEERCRED's is whatever newgrp or setgid made it.
        identity = Identity(peer.uid, account.name, account.gid, account.groups, limits.admin or peer.uid == 0, peer.local)
        return Caller(peer, identity, limits, Rights(peer.uid, account.gid, groups))

    def limits_of(self, uid: int, *, kind: str | None = None, container: str | None = None) -> Limits:
        """The limits of the owner of a container; raises Refusal."""
        try:
            return self._resolver.limits(uid, kind=kind, container=container)
        except (LookupError, PolicyError) as error:
            raise Refusal(
                "this container", str(error), "Ask the administrator of this server.", rule="owner-unknown", status=503
            ) from error
