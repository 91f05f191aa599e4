# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The gate's own settings: where things are and how long it waits. What people may do stands in the policy, not here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

SETTINGS_PATH = Path("/etc/ds01/gate.json")


class SettingsError(Exception):
    """A settings file that can't be used: which key, what it says, what would be right."""


@dataclass(frozen=True)
class Settings:
    """Paths, and times in seconds. ``listen`` is only used when systemd passes no socket.

    ``slices``: ``systemd`` makes the slices over D-Bus, ``none`` leaves the cgroup parents to dockerd (a host without systemd).
    ``buildkit``: the runtime guard stands below BuildKit, so that builds may be let through. ``host_cpus`` 0: as many as the host has.
    ``workers``: connections at once over all people. ``body_seconds``: between two pieces of a body that is read for the judge.
    ``orphan_seconds``: how long a process may outlive its container before it is killed.
    """

    listen: str = "/run/docker.sock"
    docker: str = "/run/docker-root/docker.sock"
    splice: str = "/run/ds01/splice.sock"
    policy: str = "/etc/ds01/policy.json"
    image_tags: str = "/var/lib/ds01/image-tags.json"
    claims: str = "/run/cdi"
    claims_lock: str = "/run/ds01/claims.lock"
    devices: str = "/run/ds01/devices.json"
    cdi_base: str = "/run/ds01/cdi-base.json"
    reservations: str = "/etc/ds01/reservations.json"
    queue: str = "/var/lib/ds01/queue.json"
    inventory: str = "/run/ds01/inventory.json"
    measures: str = "/run/ds01/gate-measures.json"
    events: str = "/var/log/ds01/events.jsonl"
    maintenance: str = "/etc/ds01/maintenance.json"
    slices: str = "systemd"
    buildkit: bool = False
    host_cpus: int = 0
    networks_per_user: int = 16
    workers: int = 8192
    head_seconds: int = 10
    body_seconds: int = 30
    idle_seconds: int = 3600
    drain_seconds: int = 15
    reconcile_seconds: int = 30
    orphan_seconds: int = 20


_CHOICES: Mapping[str, tuple[str, ...]] = {"slices": ("systemd", "none")}
_MAY_BE_ZERO = frozenset({"host_cpus", "drain_seconds", "networks_per_user"})


def parse(document: object, where: str) -> Settings:
    """The settings in a document; raises SettingsError."""
    if not isinstance(document, dict):
        raise SettingsError(f"{where}: expected an object of settings")
    known = {field.name: type(field.default) for field in fields(Settings)}
    values: dict[str, Any] = {}
    for key, value in document.items():
        if key not in known:
            raise SettingsError(f"{where}: {key}: there is no such setting; expected one of {', '.join(known)}")
        if type(value) is not known[key]:
            raise SettingsError(f"{where}: {key}: {value!r}; expected a value of type {known[key].__name__}")
        if key in _CHOICES and value not in _CHOICES[key]:
            raise SettingsError(f"{where}: {key}: {value!r}; expected one of {', '.join(_CHOICES[key])}")
        if isinstance(value, int) and not isinstance(value, bool) and (value < 0 or (value == 0 and key not in _MAY_BE_ZERO)):
            raise SettingsError(f"{where}: {key}: {value}; expected a positive number")
        if isinstance(value, str) and key not in _CHOICES and not value.startswith("/"):
            raise SettingsError(f"{where}: {key}: {value!r}; expected an absolute path")
        values[key] = value
    return Settings(**values)


def load(path: Path) -> Settings:
    """The settings in a file; an absent file means the defaults. Raises SettingsError."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Settings()
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path}: {error}; expected a JSON object of settings") from error
    return parse(document, str(path))
