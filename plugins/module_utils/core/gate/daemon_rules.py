# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Routes about the daemon itself, and those that nobody may use."""

from __future__ import annotations

from ..refusal import Refusal
from .body_fields import Table, read
from .case import Case
from .create_fields import TEXT
from .rebuild import forward
from .verdict import Answer, Forward, Stop

_LOGIN = Table(dict.fromkeys(("username", "password", "email", "auth", "serveraddress", "identitytoken", "registrytoken"), TEXT))


def plain(case: Case) -> Forward:
    """Forwarded with its checked query and nothing else."""
    return forward(case)


def unversioned(case: Case) -> Forward:
    """/_ping and /version, asked without a version, as clients do before they know one."""
    return forward(case, versioned=False)


def registry_login(case: Case) -> Forward:
    """A login at a registry, which the daemon tries."""
    return forward(case, body=read(case.body, _LOGIN))


def no_plugins(_case: Case) -> Answer:
    """No plugins, ever."""
    return Answer(200, [], "no-plugins")


def no_swarm(_case: Case) -> Answer:
    """dockerd's answer where no swarm is."""
    raise Stop(
        503,
        'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to swarm and try again.',
        "no-swarm",
    )


def denied(case: Case) -> Forward:
    """Nobody's route."""
    raise Refusal(
        f"{case.request.route.name} is refused",
        "it changes or shows the whole server",
        "Ask an administrator if you need it.",
        rule="route-denied",
    )
