# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Builds. The classic builder says everything in the query, which is rebuilt here. BuildKit speaks gRPC that nobody reads: it passes
only where the runtime guard stands below it and puts its containers into the build slice."""

from __future__ import annotations

from typing import Any

from .. import slice_names
from ..refusal import Refusal
from . import strict_json
from .case import Case
from .image_names import check_writable, reference
from .image_platform import check_build
from .mount_rules import owner_labels, user_labels
from .namespace_rules import joined
from .rebuild import forward, wanted_upgrade
from .resource_rules import container_resources
from .storage_rules import check_images
from .verdict import Effect, Forward, OwnImage, RecordImage, Stop

_COPIED = ("dockerfile", "extrahosts", "q", "nocache", "rm", "forcerm", "platform", "target", "session", "version")
_DENIED = {
    "cpusetcpus": "CPUs are shared by the server",
    "cpusetmems": "memory nodes are shared by the server",
    "securityopt": "security profiles are the server's",
    "outputs": "the daemon would write files outside of the image store",
    "isolation": "it exists on Windows only",
}
_LONGEST_BUILD_ID = 256
_NETWORKS = frozenset(("", "default", "bridge", "none"))


def buildkit(case: Case) -> Forward:
    """/grpc and /session: opaque, only with the guard in place."""
    _need_buildkit(case)
    upgrade = wanted_upgrade(case)
    if upgrade is None:
        raise Stop(400, "this route needs 'Connection: Upgrade' and 'Upgrade: h2c'.", "upgrade")
    if case.request.route.template == "/grpc":
        check_images(case, "a build")
    return forward(case, versioned=case.request.version is not None, upgrade=upgrade)


def _need_buildkit(case: Case) -> None:
    if not case.context.buildkit_allowed:
        raise Refusal(
            "BuildKit is refused",
            "the guard that keeps its containers within limits is not active on this server",
            "Set DOCKER_BUILDKIT=0 and build again.",
            rule="buildkit",
        )


def build(case: Case) -> Forward:
    """docker build with the classic builder, or the request that starts a BuildKit build over a session."""
    query = case.request.query
    over_session = query.get("version") == "2"
    if query.get("version") not in (None, "", "1", "2"):
        raise Stop(400, f"version is {ascii(query['version'])[:20]}; expected 1 or 2.", "build-version")
    if over_session:
        _need_buildkit(case)
    remote = query.get("remote") or ""
    if remote and not (over_session and remote == "client-session"):
        raise Refusal(
            f"build from {ascii(remote)[:80]} is refused",
            "the daemon would fetch the address as root",
            "Clone it and build from the directory.",
            rule="build-remote",
        )
    for name, why in _DENIED.items():
        if query.get(name) and query[name] not in ("default", []):
            raise Refusal(f"build with {name}={ascii(query[name])[:40]} is refused", why, "Leave it out.", rule="build-option")
    if not over_session:
        check_build(case, query.get("platform") or "")
    check_images(case, "a build")
    refs = [reference(name, "") for name in query.get("t") or []]
    for ref in refs:
        check_writable(case, ref, "build of")
    params: dict[str, Any] = {key: query.get(key) for key in _COPIED}
    params.update(_limits(case), t=refs or None, remote=remote or None, networkmode=_network(case, query.get("networkmode") or ""))
    params["pull"] = query.get("pull") or None
    params["buildid"] = _build_id(case, query["buildid"]) if query.get("buildid") else None
    params["cgroupparent"] = slice_names.nogpu_slice(case.identity.uid)
    params["labels"] = strict_json.dump({**user_labels(_texts("labels", query.get("labels"))), **owner_labels(case)}).decode()
    params["buildargs"] = strict_json.dump(_texts("buildargs", query.get("buildargs"), nulls=True)).decode()
    params["cachefrom"] = strict_json.dump(_words(query.get("cachefrom"))).decode()
    after: tuple[Effect, ...] = (*(RecordImage(ref, case.identity.user) for ref in refs), OwnImage(case.identity.user))
    return forward(case, params=params, stream=not over_session, after=after)


def cancel_build(case: Case) -> Forward:
    """The end of an own build; what nobody runs is dockerd's to answer, and it says the same."""
    asked = case.request.query.get("id") or ""
    if not asked:
        raise Stop(400, "build ID not provided", "build-id")
    return forward(case, params={"id": _build_id(case, asked)})


def _build_id(case: Case, asked: str) -> str:
    """The id of a build as dockerd gets it. The client chooses it, so each person has names of their own: no other person's means it."""
    if len(asked) > _LONGEST_BUILD_ID:
        raise Stop(400, f"the id of a build is {len(asked)} characters long; at most {_LONGEST_BUILD_ID} are taken.", "build-id")
    return f"u{case.identity.uid}.{asked}"


def _network(case: Case, mode: str) -> str:
    if mode.startswith("container:"):
        return joined(case, "networkmode", mode)
    if mode not in _NETWORKS:
        raise Refusal(
            f"build with network {ascii(mode)[:60]} is refused",
            "builds use the default network",
            "Leave --network out.",
            rule="build-network",
        )
    return mode or "default"


def _limits(case: Case) -> dict[str, int]:
    """Bounds of the build's containers: those of any container of the caller."""
    query = case.request.query
    asked = {
        "Memory": query.get("memory") or 0,
        "CpuQuota": query.get("cpuquota") or 0,
        "CpuPeriod": query.get("cpuperiod") or 0,
        "ShmSize": query.get("shmsize") or 0,
    }
    fields = container_resources(asked, case.limits.container, case.context.host_cpus)
    # NanoCpus is in 1/10^9 CPU; a quota per period of 100 ms is in microseconds.
    return {
        "memory": fields["Memory"],
        "memswap": fields["MemorySwap"],
        "cpuperiod": 100_000,
        "cpuquota": max(fields["NanoCpus"] // 10_000, 1_000),
        "shmsize": fields["ShmSize"],
    }


def _texts(name: str, value: Any, *, nulls: bool = False) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(item, str) or (nulls and item is None) for item in value.values()):
        raise Stop(400, f"{name} is {ascii(value)[:60]}; expected a JSON object of strings.", "build-json")
    return value


def _words(value: Any) -> list[str]:
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise Stop(400, f"cachefrom is {ascii(value)[:60]}; expected a JSON list of strings.", "build-json")
    return value
