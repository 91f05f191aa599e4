# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Every route of the Docker API 1.41 to 1.51, and what the gate does with it. What is not in this table is refused.

Taken from the route registrations of moby v28.5.2 (api/server/router/*) and docs/api/v1.41.yaml to v1.51.yaml. The first match counts, so a
literal stands before a pattern. Rules are looked up by name in ``rules``.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from .route import Access, Body, Param, Route
from .verdict import ResponseRule

TEXT, FLAG, INTEGER, JSON, FILTERS, REPEATED, IGNORED = (
    Param.TEXT,
    Param.FLAG,
    Param.INTEGER,
    Param.JSON,
    Param.FILTERS,
    Param.REPEATED,
    Param.IGNORED,
)
PASS, FILTER, OWNER, REWRITE, ADMIN, DENY = Access.PASS, Access.FILTER, Access.OWNER, Access.REWRITE, Access.ADMIN, Access.DENY
GET, HEAD, POST, PUT, DELETE = "GET", "HEAD", "POST", "PUT", "DELETE"


def _q(**params: Param) -> Mapping[str, Param]:
    """A table of parameters; ``__`` in a Python name stands for ``-``."""
    return MappingProxyType({name.replace("__", "-"): kind for name, kind in params.items()})


_ATTACH = _q(detachKeys=TEXT, logs=FLAG, stream=FLAG, stdin=FLAG, stdout=FLAG, stderr=FLAG)
_LOGS = _q(follow=FLAG, stdout=FLAG, stderr=FLAG, since=TEXT, until=TEXT, timestamps=FLAG, tail=TEXT, details=FLAG)
_CONTAINERS = _q(all=FLAG, limit=INTEGER, size=FLAG, filters=FILTERS, since=IGNORED, before=IGNORED, trunc_cmd=IGNORED)
_SIZE = _q(h=INTEGER, w=INTEGER)
_STOP = _q(signal=TEXT, t=INTEGER)
_BUILD = _q(
    dockerfile=TEXT, t=REPEATED, extrahosts=REPEATED, remote=TEXT, q=FLAG, nocache=FLAG, cachefrom=JSON, pull=TEXT, rm=FLAG, forcerm=FLAG,
    memory=INTEGER, memswap=INTEGER, cpushares=INTEGER, cpusetcpus=TEXT, cpusetmems=TEXT, cpuperiod=INTEGER, cpuquota=INTEGER,
    buildargs=JSON,
    shmsize=INTEGER, squash=FLAG, labels=JSON, networkmode=TEXT, platform=TEXT, target=TEXT, outputs=TEXT, version=TEXT, buildid=TEXT,
    session=TEXT, cgroupparent=TEXT, ulimits=JSON, securityopt=REPEATED, isolation=TEXT,
)  # fmt: skip
_IMPORT = _q(fromImage=TEXT, fromSrc=TEXT, repo=TEXT, tag=TEXT, message=TEXT, changes=REPEATED, platform=TEXT)

ROUTES: tuple[Route, ...] = (
    # The daemon itself
    Route(HEAD, "/_ping", PASS, "unversioned", response=ResponseRule.CAP_HEADER),
    Route(GET, "/_ping", PASS, "unversioned", response=ResponseRule.CAP_HEADER),
    Route(GET, "/version", PASS, "unversioned", response=ResponseRule.CAP_VERSION),
    Route(GET, "/info", PASS, "plain", response=ResponseRule.INFO),
    Route(GET, "/events", FILTER, "events", _q(since=TEXT, until=TEXT, filters=FILTERS), endless=True),
    Route(GET, "/system/df", ADMIN, "plain", _q(type=REPEATED, verbose=FLAG)),
    Route(POST, "/auth", PASS, "registry_login", body=Body.JSON),
    Route(GET, "/debug/**", DENY, "denied"),
    # Containers
    Route(GET, "/containers/json", FILTER, "list_containers", _CONTAINERS),
    Route(POST, "/containers/create", REWRITE, "create_container", _q(name=TEXT, platform=TEXT), Body.JSON, alone=True),
    Route(POST, "/containers/prune", REWRITE, "prune_containers", _q(filters=FILTERS)),
    Route(GET, "/containers/{id}/json", OWNER, "container", _q(size=FLAG)),
    Route(GET, "/containers/{id}/top", OWNER, "container", _q(ps_args=TEXT)),
    Route(GET, "/containers/{id}/logs", OWNER, "container", _LOGS, endless=True),
    Route(GET, "/containers/{id}/stats", OWNER, "container", _q(stream=FLAG, one__shot=FLAG), endless=True),
    Route(GET, "/containers/{id}/changes", OWNER, "container"),
    Route(GET, "/containers/{id}/export", OWNER, "container", endless=True),
    Route(HEAD, "/containers/{id}/archive", OWNER, "container", _q(path=TEXT)),
    Route(GET, "/containers/{id}/archive", OWNER, "container", _q(path=TEXT), endless=True),
    Route(PUT, "/containers/{id}/archive", OWNER, "container", _q(path=TEXT, noOverwriteDirNonDir=FLAG, copyUIDGID=FLAG), Body.STREAM),
    Route(POST, "/containers/{id}/start", REWRITE, "start_container", _q(detachKeys=TEXT), alone=True),
    Route(POST, "/containers/{id}/restart", REWRITE, "start_container", _STOP, alone=True),
    Route(POST, "/containers/{id}/stop", OWNER, "container", _STOP),
    Route(POST, "/containers/{id}/kill", OWNER, "container", _q(signal=TEXT)),
    Route(POST, "/containers/{id}/pause", OWNER, "container"),
    Route(POST, "/containers/{id}/unpause", OWNER, "container"),
    Route(POST, "/containers/{id}/wait", OWNER, "container", _q(condition=TEXT), endless=True),
    Route(POST, "/containers/{id}/resize", OWNER, "container", _SIZE),
    Route(POST, "/containers/{id}/rename", REWRITE, "rename_container", _q(name=TEXT), alone=True),
    Route(POST, "/containers/{id}/update", REWRITE, "update_container", body=Body.JSON),
    Route(POST, "/containers/{id}/attach", OWNER, "container", _ATTACH, upgrades=("tcp",), endless=True),
    Route(GET, "/containers/{id}/attach/ws", OWNER, "container", _ATTACH, upgrades=("websocket",), endless=True),
    Route(POST, "/containers/{id}/exec", REWRITE, "create_exec", body=Body.JSON),
    Route(DELETE, "/containers/{id}", OWNER, "remove_container", _q(v=FLAG, force=FLAG, link=FLAG)),
    Route(GET, "/containers/{id}/checkpoints", DENY, "denied"),
    Route(POST, "/containers/{id}/checkpoints", DENY, "denied"),
    Route(DELETE, "/containers/{id}/checkpoints/{checkpoint}", DENY, "denied"),
    Route(POST, "/exec/{id}/start", OWNER, "start_exec", body=Body.JSON, upgrades=("tcp",), endless=True),
    Route(POST, "/exec/{id}/resize", OWNER, "exec_instance", _SIZE),
    Route(GET, "/exec/{id}/json", OWNER, "exec_instance"),
    Route(
        POST,
        "/commit",
        REWRITE,
        "commit",
        _q(container=TEXT, repo=TEXT, tag=TEXT, comment=TEXT, author=TEXT, pause=FLAG, changes=REPEATED),
        Body.JSON,
    ),
    # Images
    Route(
        GET,
        "/images/json",
        PASS,
        "list_images",
        _q(all=FLAG, filters=FILTERS, filter=TEXT, shared__size=FLAG, digests=FLAG, manifests=FLAG, only_ids=IGNORED),
    ),
    Route(GET, "/images/search", PASS, "plain", _q(term=TEXT, limit=INTEGER, filters=FILTERS)),
    Route(GET, "/images/get", OWNER, "save_images", _q(names=REPEATED, platform=REPEATED), endless=True),
    Route(POST, "/images/create", REWRITE, "pull_or_import", _IMPORT, Body.STREAM, endless=True),
    Route(POST, "/images/load", REWRITE, "load_images", _q(quiet=FLAG, platform=REPEATED), Body.STREAM, endless=True),
    Route(POST, "/images/prune", REWRITE, "prune_images", _q(filters=FILTERS)),
    Route(GET, "/images/{name*}/json", PASS, "image", _q(manifests=FLAG, platform=TEXT)),
    Route(GET, "/images/{name*}/history", PASS, "image", _q(platform=TEXT)),
    Route(GET, "/images/{name*}/attestations", PASS, "image", _q(platform=TEXT)),
    Route(GET, "/images/{name*}/get", OWNER, "save_image", _q(platform=REPEATED), endless=True),
    Route(POST, "/images/{name*}/push", OWNER, "push_image", _q(tag=TEXT, platform=TEXT), endless=True),
    Route(POST, "/images/{name*}/tag", REWRITE, "tag_image", _q(repo=TEXT, tag=TEXT, force=FLAG)),
    Route(DELETE, "/images/{name*}", OWNER, "remove_image", _q(force=FLAG, noprune=FLAG, platforms=REPEATED)),
    Route(GET, "/distribution/{name*}/json", PASS, "image"),
    # Builds
    Route(POST, "/build", REWRITE, "build", _BUILD, Body.STREAM, endless=True),
    Route(POST, "/build/cancel", REWRITE, "cancel_build", _q(id=TEXT)),
    Route(
        POST,
        "/build/prune",
        REWRITE,
        "prune_builds",
        _q(all=FLAG, filters=FILTERS, keep__storage=INTEGER, reserved__space=INTEGER, max__used__space=INTEGER, min__free__space=INTEGER),
    ),
    Route(POST, "/session", PASS, "buildkit", upgrades=("h2c",), endless=True),
    Route(POST, "/grpc", PASS, "buildkit", upgrades=("h2c",), endless=True),
    # Networks
    Route(GET, "/networks", FILTER, "list_networks", _q(filters=FILTERS), response=ResponseRule.OWN_NETWORKS),
    Route(POST, "/networks/create", REWRITE, "create_network", body=Body.JSON, alone=True),
    Route(POST, "/networks/prune", REWRITE, "prune_networks", _q(filters=FILTERS)),
    Route(GET, "/networks/{id}", OWNER, "inspect_network", _q(verbose=FLAG, scope=TEXT)),
    Route(DELETE, "/networks/{id}", OWNER, "remove_network"),
    Route(POST, "/networks/{id}/connect", REWRITE, "connect_network", body=Body.JSON),
    Route(POST, "/networks/{id}/disconnect", REWRITE, "disconnect_network", body=Body.JSON),
    # Volumes
    Route(GET, "/volumes", FILTER, "list_volumes", _q(filters=FILTERS)),
    Route(POST, "/volumes/create", REWRITE, "create_volume", body=Body.JSON, alone=True),
    Route(POST, "/volumes/prune", REWRITE, "prune_volumes", _q(filters=FILTERS)),
    Route(GET, "/volumes/{name}", OWNER, "volume"),
    Route(PUT, "/volumes/{name}", DENY, "denied", _q(version=TEXT), Body.JSON),
    Route(DELETE, "/volumes/{name}", OWNER, "volume", _q(force=FLAG)),
    # Plugins: installing one is root on the host
    Route(GET, "/plugins", PASS, "no_plugins", _q(filters=FILTERS)),
    *(Route(method, "/plugins/**", DENY, "denied") for method in (GET, POST, DELETE)),
    # Swarm: never active here
    Route(GET, "/swarm", PASS, "no_swarm"),
    *(
        Route(method, f"/{noun}/**", DENY, "denied")
        for noun in ("swarm", "services", "nodes", "tasks", "secrets", "configs")
        for method in (GET, POST, DELETE)
    ),
)
