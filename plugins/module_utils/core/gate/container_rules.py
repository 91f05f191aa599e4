# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Routes that act on one container that exists: it must be the caller's, and its full id is what is forwarded."""

from __future__ import annotations

import re

from .. import slice_names
from ..claim import CLAIM_ID
from ..refusal import Refusal
from . import default_network, made_with, resource_rules
from .body_fields import Field, Kind, Table, Treatment, read
from .case import Case
from .create_fields import HOST_CONFIG
from .create_rules import check_new_name, refuse_foreign_name
from .facts import Container, ContainerFact, NetworkFact, RunningFact
from .identity import OWNER_LABEL, UID_LABEL
from .label_rules import CLAIM_LABEL, GPU_LABEL
from .ownership import PREDEFINED_NETWORKS, legacy_mark, own_container
from .rebuild import forward, wanted_upgrade
from .verdict import EnsureSlice, Forward, GrantClaim, ReleaseClaim, Stop

_ABSENT = Field(Kind.ANY, Treatment.DROP)
_UPDATABLE = ("Memory", "MemorySwap", "MemoryReservation", "NanoCpus", "CpuQuota", "CpuPeriod", "CpuShares", "BlkioWeight", "RestartPolicy")
_UPDATE = Table(
    {
        **{name: HOST_CONFIG.fields[name] for name in _UPDATABLE},
        "PidsLimit": Field(Kind.INTEGER, keep_zero=True),
        # Sent by every client, ignored by dockerd's update or meaningless with cgroup v2.
        **dict.fromkeys(("CgroupParent", "Ulimits", "MemorySwappiness"), _ABSENT),
        **{name: known for name, known in HOST_CONFIG.fields.items() if known.treatment in (Treatment.DENY, Treatment.DENY_SET)},
    }
)
_ARCHIVE = "/containers/{id}/archive"
_CHECKS = {
    **{f"{method} {_ARCHIVE}": made_with.check_copy for method in ("HEAD", "GET", "PUT")},
    **{
        f"{route}": made_with.check_enter
        for route in ("POST /containers/{id}/attach", "GET /containers/{id}/attach/ws", "POST /containers/{id}/unpause")
    },
}
_WAITS = frozenset(("", "not-running", "next-exit", "removed"))
# dockerd gives these to the host's ps as root and keeps the lines whose column headed PID holds a pid of the container. Another column
# under that heading, or a list in AIX's format, would show everybody's processes.
_PS_ARGS = re.compile(r"[A-Za-z0-9_,+ -]{0,200}")
_SIGNAL = re.compile(r"(?:[A-Za-z0-9+-]{1,20})?")


def container(case: Case) -> Forward:
    """A route that only needs the container to be the caller's."""
    found = own_container(case, case.request.names["id"])
    check = _CHECKS.get(case.request.route.name)
    if check is not None:
        check(case, found)
    query = case.request.query
    if query.get("condition", "") not in _WAITS or _SIGNAL.fullmatch(query.get("signal", "")) is None:
        raise Stop(400, "the query parameter condition or signal is not one of docker's.", "query-value")
    if _PS_ARGS.fullmatch(query.get("ps_args", "")) is None:
        raise Refusal(
            f"docker top with {ascii(query['ps_args'])[:60]} is refused",
            "headings of one's own could show other people's processes",
            "Name the columns alone, such as: docker top NAME -o pid,user,args",
            rule="ps-args",
        )
    upgrade = wanted_upgrade(case)
    stream = case.request.head.method == "PUT"
    return forward(case, names={"id": found.id}, upgrade=upgrade, stream=stream, object_id=found.id)


def start_container(case: Case) -> Forward:
    """Start and restart: what the container joins must still be its owner's, its slice must exist, and its GPU is granted now."""
    found = own_container(case, case.request.names["id"])
    user, uid = _owner(case, found)
    made_with.check_start(case, found)
    joined = [name for name in found.networks if name not in PREDEFINED_NETWORKS]
    counted = not found.running and user == case.identity.user and case.limits.container.count is not None
    case.facts.require(*(NetworkFact(name) for name in joined), *([RunningFact(user, uid)] if counted else []))
    for name in joined:
        network = case.facts.network(name)
        if network is not None and network.labels.get(OWNER_LABEL) != user:
            raise Stop(
                409,
                f"network {name} of container {found.name} now belongs to another user of this server. Make the container again.",
                "foreign-network",
            )
    if counted:
        _check_count(case, user, uid)
    own = default_network.own_network_of(user, uid)
    bridge = (own,) if own.name in joined and case.facts.network(own.name) is None else ()
    claim = found.labels.get(CLAIM_LABEL, "")
    if CLAIM_ID.fullmatch(claim):
        removed = found.host.get("AutoRemove") is True
        grant = GrantClaim(claim, uid, user, found.id, found.name, found.labels.get(GPU_LABEL, ""), removed)
        return forward(case, names={"id": found.id}, before=(*bridge, grant), object_id=found.id)
    return forward(case, names={"id": found.id}, before=(*bridge, EnsureSlice(slice_names.nogpu_slice(uid), uid, user)), object_id=found.id)


def _owner(case: Case, found: Container) -> tuple[str, int]:
    """(user, uid) of the container's owner. One of before the gate only its owner starts; one of nobody needs the root socket."""
    user, uid = found.labels.get(OWNER_LABEL, ""), found.labels.get(UID_LABEL, "")
    if legacy_mark(case.identity, found.labels, found.name) is not None:
        return case.identity.user, case.identity.uid
    if not user or not uid.isdecimal():
        raise Refusal(
            f"start of container {found.name} is refused",
            "it has no owner's labels, so that no limits apply to it",
            "Start it on the root socket, or make it again here.",
            rule="unlabelled",
            status=403,
        )
    return user, int(uid)


def _check_count(case: Case, user: str, uid: int) -> None:
    running, limit = case.facts.running(user, uid), case.limits.container.count
    if limit is not None and running >= limit:
        raise Refusal(
            "start is refused",
            f"{running} of your containers run, and {limit} may run at once",
            "Stop one of them (docker ps, docker stop NAME).",
            rule="container-count",
        )


def remove_container(case: Case) -> Forward:
    """Removal ends the claim, too."""
    found = own_container(case, case.request.names["id"])
    claim = found.labels.get(CLAIM_LABEL, "")
    after = (ReleaseClaim(claim, found.id),) if CLAIM_ID.fullmatch(claim) else ()
    return forward(case, names={"id": found.id}, after=after, object_id=found.id)


def rename_container(case: Case) -> Forward:
    """A new name that is nobody else's."""
    name = case.request.query.get("name", "")
    check_new_name(name)
    case.facts.require(ContainerFact(case.request.names["id"]), ContainerFact(name))
    found = own_container(case, case.request.names["id"])
    refuse_foreign_name(case, name)
    return forward(case, names={"id": found.id}, object_id=found.id)


def update_container(case: Case) -> Forward:
    """Other limits for a container, within the caller's."""
    found = own_container(case, case.request.names["id"])
    asked = read(case.body, _UPDATE)
    body = resource_rules.updated_resources(asked, case.limits.container, case.context.host_cpus)
    if asked.get("RestartPolicy", {}).get("Name"):
        body["RestartPolicy"] = resource_rules.restart_policy(asked["RestartPolicy"])
    return forward(case, names={"id": found.id}, body=body, object_id=found.id)
