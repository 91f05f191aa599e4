# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Lists, events and prunes: dockerd itself filters them by the owner's label, together with what the client asked for."""

from __future__ import annotations

from dataclasses import replace

from ..refusal import Refusal
from .body_fields import check_count
from .case import Case
from .facts import ContainerFact
from .identity import INTERNAL_LABEL
from .list_filters import BadFilters, check_keys, own_only
from .ownership import no_container, own_container
from .path import is_name
from .rebuild import forward
from .verdict import Answer, Forward, ResponseRule, Stop, SweepImages

_CONTAINERS = frozenset(
    [
        "ancestor",
        "before",
        "exited",
        "expose",
        "health",
        "id",
        "isolation",
        "is-task",
        "label",
        "name",
        "network",
        "publish",
        "since",
        "status",
        "volume",
    ]
)
_VOLUMES = frozenset(["dangling", "driver", "label", "name"])
_NETWORKS = frozenset(["dangling", "driver", "id", "label", "name", "scope", "type"])
_EVENTS = frozenset(
    [
        "config",
        "container",
        "daemon",
        "event",
        "image",
        "label",
        "network",
        "node",
        "plugin",
        "scope",
        "secret",
        "service",
        "type",
        "volume",
    ]
)
_IMAGES = frozenset(["before", "dangling", "label", "reference", "since", "until"])
_PRUNE = frozenset(["label", "label!", "until"])
_PRUNE_IMAGES = frozenset(["dangling", "label", "label!", "until"])
_NO = frozenset(["false", "0", "f"])
_YES_NO = _NO | {"true", "1", "t"}
_PRUNE_VOLUMES = frozenset(["label", "label!", "all"])
_MOST_NAMED = 16


def _filters(case: Case, allowed: frozenset[str]) -> dict[str, list[str]]:
    filters: dict[str, list[str]] = case.request.query.get("filters") or {}
    try:
        check_keys(filters, allowed)
    except BadFilters as error:
        raise Stop(400, str(error), "filters") from None
    return filters


def _own(case: Case, allowed: frozenset[str]) -> Forward:
    return forward(case, params={**case.request.query, "filters": own_only(_filters(case, allowed), case.identity)})


def list_containers(case: Case) -> Forward:
    """The caller's containers. Sizes are for admins: dockerd walks every file for them."""
    if case.request.query.get("size") and not case.identity.admin:
        raise Refusal(
            "docker ps --size is refused", "the daemon reads every file of every container for it", "Leave --size out.", rule="list-size"
        )
    if case.identity.admin or not case.facts.legacy(case.identity.user, case.identity.uid):
        return forward(case, params={**case.request.query, "filters": own_only(_between_own(case), case.identity)})
    # dockerd can't filter by the marks of before the gate: this person's list is filtered here.
    query = case.request.query
    built = forward(case, params={**query, "filters": _between_own(case), "limit": None})
    most = query.get("limit") or 0
    return replace(built, response=ResponseRule.OWN_CONTAINERS, most=max(most, 0))


def _between_own(case: Case) -> dict[str, list[str]]:
    """The filters of a list of containers. ``before`` and ``since`` name a container of the caller's: dockerd looks among everybody's, and
    its 404 for a name that is nobody's would tell which names are somebody's."""
    filters = _filters(case, _CONTAINERS)
    if case.identity.admin:
        return filters
    named = {key: [ref.removeprefix("/") for ref in filters.get(key, ())] for key in ("before", "since")}
    refs = [ref for asked in named.values() for ref in asked]
    check_count(refs, _MOST_NAMED, "filters")
    case.facts.require(*(ContainerFact(ref) for ref in refs if is_name(ref)))
    return {**filters, **{key: [_own_id(case, ref) for ref in asked] for key, asked in named.items() if asked}}


def _own_id(case: Case, ref: str) -> str:
    if not is_name(ref):
        raise no_container(ref)
    return own_container(case, ref).id


def prune_containers(case: Case) -> Forward:
    """Stopped containers of the caller."""
    return _own(case, _PRUNE)


def events(case: Case) -> Forward:
    """Events of the caller's containers; exec events of others would show their command lines."""
    return _own(case, _EVENTS)


def list_volumes(case: Case) -> Forward:
    """The caller's volumes."""
    return _own(case, _VOLUMES)


def prune_volumes(case: Case) -> Forward:
    """Unused volumes of the caller; never those of the gate, which carry no owner's label."""
    return _own(case, _PRUNE_VOLUMES)


def list_networks(case: Case) -> Forward:
    """Networks; the answer is filtered, because the predefined ones have no label and clients need them."""
    return forward(case, params={"filters": _filters(case, _NETWORKS)})


def prune_networks(case: Case) -> Forward:
    """Unused networks of the caller, but for their default one, which stopped containers come back to."""
    filters = own_only(_filters(case, _PRUNE), case.identity)
    kept = [] if case.identity.admin else [f"{INTERNAL_LABEL}=default-network"]
    return forward(case, params={**case.request.query, "filters": {**filters, "label!": [*filters.get("label!", []), *kept]}})


def prune_images(case: Case) -> Forward | SweepImages:
    """Images that the caller made; an admin prunes everybody's."""
    filters = _filters(case, _PRUNE_IMAGES)
    if case.identity.admin:
        return forward(case, params={"filters": filters})
    dangling = filters.get("dangling", ["true"])
    if "label!" in filters or any(value.lower() not in _YES_NO for value in dangling):
        raise Stop(400, "images/prune takes the filters dangling (true or false), label and until here.", "filters")
    narrowed = {key: values for key, values in filters.items() if key in ("label", "until")}
    return SweepImages(case.identity.user, narrowed, tagged=bool(dangling) and all(value.lower() in _NO for value in dangling))


def prune_builds(case: Case) -> Forward | Answer:
    """The build cache is one for all, and nothing in it says whose it is: an admin prunes it, and so does dockerd when it grows.

    Anybody else is told that nothing was reclaimed, so that ``docker system prune`` goes on.
    """
    if case.identity.admin:
        return forward(case)
    return Answer(200, {"CachesDeleted": [], "SpaceReclaimed": 0}, "shared-build-cache")


def list_images(case: Case) -> Forward:
    """All images: the store is shared."""
    return forward(case, params={**case.request.query, "filters": _filters(case, _IMAGES)})
