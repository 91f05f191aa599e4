# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""What the role bare_metal tells the fence: ``/etc/ds01/fence.json``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

SETTINGS = Path("/etc/ds01/fence.json")


class SettingsError(Exception):
    """The settings can't be used; says which key and what it should be."""


@dataclass(frozen=True)
class Settings:
    """``services`` run people's code and are fenced too; ``home_roots`` are where homes are. Not ``enforced``: everybody may."""

    services: tuple[str, ...] = ()
    home_roots: tuple[str, ...] = ("/home",)
    enforced: bool = True


def load(path: Path = SETTINGS) -> Settings:
    """The settings; raises SettingsError."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path}: {error}; the role bare_metal writes it") from error
    values: dict[str, tuple[str, ...]] = {}
    for key in ("services", "home_roots"):
        value = data.get(key) if isinstance(data, dict) else None
        if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
            raise SettingsError(f"{path}: {key} is {value!r}, expected a list of text")
        values[key] = tuple(value)
    enforced = data.get("enforced")
    if not isinstance(enforced, bool):
        raise SettingsError(f"{path}: enforced is {enforced!r}, expected true or false")
    return Settings(values["services"], values["home_roots"], enforced)
