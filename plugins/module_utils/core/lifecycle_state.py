# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The sweeps' memory as JSON: what holds within one boot, and what outlives a reboot.

Within a boot everything is kept. After a reboot the seconds since boot of the other one mean nothing: what stays is how long a container
has run in its life and how long it has stood still, so that neither ``docker restart`` nor a reboot starts those anew, and every warning
is given again with its full lead.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from .activity import Activity, Sample
from .lifecycle_history import Asked, History, Promise
from .lifecycle_reason import Reason
from .queue_notices import Watched

VERSION = 2
NOTHING_WATCHED = Watched()


def volatile(histories: Mapping[str, History], boot: str) -> dict[str, Any]:
    """The document of ``/run/ds01/lifecycle.json``; ``boot`` is the kernel's boot id."""
    return {"v": VERSION, "boot": boot, "containers": {key: _to_dict(one) for key, one in sorted(histories.items())}}


def lasting(
    histories: Mapping[str, History], told: Mapping[int, frozenset[str]], boot: str, queue: Watched = NOTHING_WATCHED
) -> dict[str, Any]:
    """The document of ``/var/lib/ds01/lifecycle.json``; ``told``: by uid, of which quotas the person has been told that they are near."""
    return {
        "v": VERSION,
        "boot": boot,
        "containers": {
            key: {"run_s": one.run_s, "still_s": one.still_s, "run": one.run, "since_start_s": one.since_start_s}
            for key, one in sorted(histories.items())
        },
        "told": {str(uid): sorted(names) for uid, names in sorted(told.items()) if names},
        "turns": sorted(queue.told),
        "waiting_starts": dict(sorted(queue.starts.items())),
    }


def histories_of(now: object, kept: object, boot: str) -> dict[str, History]:
    """The histories in the two documents (None: no file). Damaged entries are as good as none: a container then begins anew."""
    found: dict[str, History] = {}
    for key, entry in _containers(kept):
        run_s, still_s = _number(entry.get("run_s")), _number(entry.get("still_s"))
        found[key] = History(run_s=run_s or 0.0, still_s=still_s or 0.0)
        if isinstance(kept, Mapping) and kept.get("boot") == boot:  # the other file was lost: what of run_s is the present start's is known
            found[key] = replace(found[key], run=str(entry.get("run", "")), since_start_s=_number(entry.get("since_start_s")) or 0.0)
    if isinstance(now, Mapping) and now.get("boot") == boot:
        for key, entry in _containers(now):
            try:
                found[key] = _from_dict(entry)
            except (KeyError, TypeError, ValueError, AttributeError):
                continue
    return found


def told_of(kept: object) -> dict[int, frozenset[str]]:
    """Of what each uid has been told, in the lasting document."""
    entries = kept.get("told") if isinstance(kept, Mapping) else None
    if not isinstance(entries, Mapping):
        return {}
    return {int(uid): frozenset(map(str, names)) for uid, names in entries.items() if str(uid).isdigit() and isinstance(names, list)}


def watched_of(kept: object) -> Watched:
    """What was last seen of the queue, in the lasting document."""
    document = kept if isinstance(kept, Mapping) else {}
    told, starts = document.get("turns"), document.get("waiting_starts")
    return Watched(
        frozenset(map(str, told)) if isinstance(told, list) else frozenset(),
        {str(entry): str(container) for entry, container in starts.items()} if isinstance(starts, Mapping) else {},
    )


def _containers(document: object) -> list[tuple[str, Mapping[str, Any]]]:
    entries = document.get("containers") if isinstance(document, Mapping) else None
    if not isinstance(entries, Mapping):
        return []
    return [(str(key), entry) for key, entry in entries.items() if isinstance(entry, Mapping)]


def _number(value: object) -> float | None:
    good = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 1e12
    return float(value) if good else None  # type: ignore[arg-type]


def _to_dict(one: History) -> dict[str, Any]:
    return {
        "last": None if one.last is None else asdict(one.last),
        "last_activity": one.last_activity.value,
        "idle_s": one.idle_s,
        "run_s": one.run_s,
        "since_start_s": one.since_start_s,
        "warned": {reason.value: asdict(promise) for reason, promise in one.warned.items()},
        "still_s": one.still_s,
        "still_at": one.still_at,
        "run": one.run,
        "asked": None if one.asked is None else {**asdict(one.asked), "reason": one.asked.reason.value},
        "unknown_s": one.unknown_s,
        "unknown_told": one.unknown_told,
    }


def _from_dict(entry: Mapping[str, Any]) -> History:
    asked = entry["asked"]
    return History(
        last=None if entry["last"] is None else Sample(**entry["last"]),
        last_activity=Activity(entry["last_activity"]),
        idle_s=float(entry["idle_s"]),
        run_s=float(entry["run_s"]),
        since_start_s=float(entry["since_start_s"]),
        warned={Reason(reason): _promise(promise) for reason, promise in entry["warned"].items()},
        still_s=float(entry["still_s"]),
        still_at=None if entry["still_at"] is None else float(entry["still_at"]),
        run=str(entry["run"]),
        asked=None if asked is None else Asked(**{**asked, "reason": Reason(asked["reason"])}),
        unknown_s=float(entry["unknown_s"]),
        unknown_told=bool(entry["unknown_told"]),
    )


def _promise(entry: Mapping[str, Any]) -> Promise:
    return Promise(float(entry["at"]), float(entry["until"]))
