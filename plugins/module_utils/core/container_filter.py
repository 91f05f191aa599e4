# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Filters over a person's containers, as ``ds01 container list`` and ``stats`` take them: ``name=train*``, ``gpu=1g.10gb``.

Several values of one key are alternatives, several keys must all hold, as with ``docker ps --filter``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

STATES = ("created", "running", "paused", "restarting", "removing", "exited", "dead")
KEYS = {
    "name": "its name, a part of it, or a pattern such as train*",
    "state": "created, running, paused, exited, dead; stopped: not running",
    "image": "the image, with or without its tag, a part of it, or a pattern",
    "gpu": "yes, no, a profile such as 1g.10gb, full, or the begin of a UUID",
    "project": "the compose project or the folder of the dev container",
}
_STOPPED = frozenset(("created", "exited", "dead"))


class BadFilter(ValueError):
    """A filter that can't be understood; ``instead`` says what would be right."""

    def __init__(self, why: str, instead: str) -> None:
        super().__init__(why)
        self.instead = instead


@dataclass(frozen=True)
class Subject:
    """What a filter looks at. ``gpus`` are (UUID, profile or None for a whole GPU); ``project`` is empty where there is none."""

    name: str
    state: str
    image: str
    gpus: tuple[tuple[str, str | None], ...] = ()
    project: str = ""


@dataclass(frozen=True)
class Filters:
    """What was asked for, by key."""

    wanted: tuple[tuple[str, tuple[str, ...]], ...] = ()

    def __contains__(self, key: object) -> bool:
        return any(key == known for known, _ in self.wanted)

    def match(self, subject: Subject) -> bool:
        """Whether the container is wanted."""
        return all(any(_holds(key, value, subject) for value in values) for key, values in self.wanted)


def parse_filters(texts: Iterable[str]) -> Filters:
    """Filters of the command line; raises BadFilter."""
    found: dict[str, list[str]] = {}
    for text in texts:
        key, separator, value = text.partition("=")
        key, value = key.strip().lower(), value.strip()
        if key == "status":
            key = "state"
        if not separator or key not in KEYS or not value:
            raise BadFilter(f"{text!r} is no filter", f"expected KEY=VALUE with a key of {', '.join(KEYS)}")
        if key == "state" and value.lower() not in (*STATES, "stopped"):
            raise BadFilter(f"{text!r}: there is no such state", f"states are {', '.join(STATES)} and stopped")
        found.setdefault(key, []).append(value)
    return Filters(tuple((key, tuple(values)) for key, values in found.items()))


def _text(value: str, text: str) -> bool:
    value, text = value.lower(), text.lower()
    return fnmatchcase(text, value) if any(sign in value for sign in "*?[") else value in text


def _gpu(value: str, gpus: Iterable[tuple[str, str | None]]) -> bool:
    asked, held = value.lower(), tuple(gpus)
    if asked in ("yes", "any", "all", "true"):
        return bool(held)
    if asked in ("no", "none", "false"):
        return not held
    return any(asked == (profile or "full").lower() or uuid.lower().startswith(asked) for uuid, profile in held)


def _holds(key: str, value: str, subject: Subject) -> bool:
    if key == "state":
        return subject.state in _STOPPED if value.lower() == "stopped" else subject.state == value.lower()
    if key == "gpu":
        return _gpu(value, subject.gpus)
    if key == "project":
        return bool(subject.project) and _text(value, subject.project)
    return _text(value, subject.name if key == "name" else subject.image)
