# Copyright (c) ds01.infra contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter from people and the policy to the slices that hold them to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.ds01.infra.plugins.module_utils.core.limits import Limits
from ansible_collections.ds01.infra.plugins.module_utils.core.policy_check import load
from ansible_collections.ds01.infra.plugins.module_utils.core.policy_problems import PolicyError
from ansible_collections.ds01.infra.plugins.module_utils.core.policy_resolve import resolve
from ansible_collections.ds01.infra.plugins.module_utils.core.slice_names import user_slice


def people_slices(people: Any, policy: Any, passwd: Any = None, io_paths: Any = ()) -> list[dict[str, Any]]:
    """The entries of ``cgroup_slice`` for people whose uid is known, by their own word or by the user database of the server."""
    try:
        checked = load(policy, "ds01_policy")
    except PolicyError as error:
        raise AnsibleFilterError(str(error)) from error
    known = passwd if isinstance(passwd, Mapping) else {}
    now = datetime.now(timezone.utc)
    found: dict[int, dict[str, Any]] = {}
    for person in people:
        if not isinstance(person, Mapping) or not isinstance(person.get("name"), str):
            raise AnsibleFilterError(f"people_slices: {person!r} is not a person; expected a mapping with name")
        uid = _uid(person, known)
        if person.get("state", "present") == "absent" or uid is None or uid == 0:
            continue
        name = str(person["name"])
        if uid in found:
            raise AnsibleFilterError(f"people_slices: {name} has the uid {uid} of another person; expected one uid a person")
        limits = resolve(checked, name, now=now, uid=uid, linux_groups=_groups(person))
        found[uid] = _entry(uid, limits, [str(path) for path in io_paths])
    return [found[uid] for uid in sorted(found)]


def _uid(person: Mapping[str, Any], passwd: Mapping[str, Any]) -> int | None:
    if person.get("uid") is not None:
        return int(person["uid"])
    entry = passwd.get(person["name"])
    return int(entry[1]) if isinstance(entry, Sequence) and len(entry) > 1 else None


def _groups(person: Mapping[str, Any]) -> tuple[str, ...]:
    own = [person["group"]] if person.get("group") else []
    return tuple(str(g) for g in (*own, *(person.get("groups") or ()), *(person.get("linux_groups") or ())))


def _entry(uid: int, limits: Limits, io_paths: list[str]) -> dict[str, Any]:
    aggregate = limits.aggregate
    bandwidth = aggregate.io_read_bps is not None or aggregate.io_write_bps is not None
    values = {
        "cpus": aggregate.cpus,
        "memory_high": aggregate.memory_high,
        "memory_max": aggregate.memory_max,
        "tasks": aggregate.tasks,
        "io_read_bps": aggregate.io_read_bps,
        "io_write_bps": aggregate.io_write_bps,
    }
    return {
        "name": user_slice(uid),
        "description": f"Containers of uid {uid}",
        "io_weight": aggregate.io_weight,
        "io_paths": io_paths if bandwidth else [],
        "device_filter": "open",
        **{key: value for key, value in values.items() if value is not None},
    }


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Any]:
        """Name → function."""
        return {"people_slices": people_slices}
