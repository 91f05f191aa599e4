# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Policies for the tests: a small good one, and changed copies of it."""

from __future__ import annotations

import copy
from typing import Any

GOOD: dict[str, Any] = {
    "version": 1,
    "default_group": "student",
    "defaults": {"aggregate": {"memory_high": "60G", "memory_max": "64G"}, "container": {"memory": "32G"}},
    "groups": {
        "student": {"priority": 10, "match": [r"[0-9]{6}@example\.org"]},
        "researcher": {
            "linux_groups": ["researchers"],
            "members": ["r.first"],
            "match": [r"r\.[a-z]+"],
            "limits": {
                "gpu": {"equivalents": 4, "full_gpu": True},
                "aggregate": {"memory_high": "300G", "memory_max": "320G"},
                "lifecycle": {"idle": None},
            },
        },
        "admin": {"admin": True, "members": ["root2"], "priority": 100},
    },
    "users": {"alice": {"group": "researcher", "limits": {"gpu": {"equivalents": 1}}}},
    "kinds": {"batch": {"lifecycle": {"idle": None, "runtime": "90h"}}},
    "exemptions": [],
}


def changed(path: str, value: Any) -> dict[str, Any]:
    """A copy of GOOD with the value at a path (keys separated by slashes) set; missing mappings are made."""
    document = copy.deepcopy(GOOD)
    *parents, last = path.split("/")
    place: Any = document
    for key in parents:
        place = place[int(key)] if isinstance(place, list) else place.setdefault(key, {})
    place[last] = value
    return document


def without(path: str) -> dict[str, Any]:
    """A copy of GOOD without the key at a path."""
    document = copy.deepcopy(GOOD)
    *parents, last = path.split("/")
    place: Any = document
    for key in parents:
        place = place[key]
    del place[last]
    return document
