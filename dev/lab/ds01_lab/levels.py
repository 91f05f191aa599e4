# SPDX-License-Identifier: MIT
"""Levels: named states that a server can be put into within seconds.

A level is a directory of frozen disks, each over the frozen disk before it, and the memory of the running server at that moment.
Nothing frozen is ever written again, so any number of servers can start from one level at a time. A name can be given to a newer
state; the old one is removed when no name, no server and no later state needs it. Whoever finds, stores or removes holds `store_lock`.
"""

from __future__ import annotations

import json
import shutil
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path

from .disks import DISKS
from .failure import LabError
from .locks import alone
from .places import LEVELS, SERVERS, STORED


@dataclass(frozen=True)
class Level:
    """A stored state. Image is the directory name below images/; parent the stored state below it ("" for the image itself);
    memory_key fits machine.memory_key ("" when only disks were kept)."""

    identifier: str
    image: str
    parent: str
    memory_key: str

    @property
    def directory(self) -> Path:
        return STORED / self.identifier

    @property
    def memory(self) -> Path:
        return self.directory / "memory"


def store_lock() -> AbstractContextManager[None]:
    """The lock of the store."""
    return alone(STORED / ".lock")


def making(name: str) -> AbstractContextManager[None]:
    """Held while a level is made from its image: a second server waits for it instead of booting as well."""
    return alone(LEVELS.parent / f".making-{name}")


def find(name: str) -> Level | None:
    """The level of that name, or None."""
    try:
        identifier = (LEVELS / name).read_text(encoding="utf-8").strip()
        return Level(**json.loads((STORED / identifier / "level.json").read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None


def names() -> list[str]:
    """All level names, sorted."""
    return sorted(path.name for path in LEVELS.iterdir()) if LEVELS.is_dir() else []


def store(name: str, level: Level, disks_from: Path) -> None:
    """Moves a stopped server's disks into the level's directory (where its memory may lie already) and gives it the name."""
    if not name.replace("-", "").replace("_", "").isalnum():
        raise LabError(f"{name!r} is no name for a level; use letters, digits, - and _")
    level.directory.mkdir(parents=True, exist_ok=True)
    for disk in DISKS:
        frozen = level.directory / disk.file
        (disks_from / disk.file).rename(frozen)
        frozen.chmod(0o444)
    (level.directory / "level.json").write_text(json.dumps(asdict(level)), encoding="utf-8")
    pointer = LEVELS / f".{name}.new"
    pointer.write_text(level.identifier, encoding="utf-8")
    pointer.rename(LEVELS / name)


def forget(name: str) -> None:
    """Removes a level's name, and what nothing else needs; LabError when there is no such level."""
    with store_lock():
        if name not in names():
            raise LabError(f"no level {name!r}; there are: {', '.join(names()) or 'none'}")
        (LEVELS / name).unlink()
        remove_unused()


def remove_unused() -> None:
    """Removes stored states that no name, no server and no later state stands on."""
    needed = {(LEVELS / name).read_text(encoding="utf-8").strip() for name in names()}
    for state in SERVERS.glob("*/server.json"):
        needed.add(json.loads(state.read_text(encoding="utf-8")).get("level_id", ""))
    parents = {path.parent.name: json.loads(path.read_text(encoding="utf-8"))["parent"] for path in STORED.glob("*/level.json")}
    waiting = list(needed)
    while waiting:
        parent = parents.get(waiting.pop(), "")
        if parent and parent not in needed:
            needed.add(parent)
            waiting.append(parent)
    for identifier in parents:
        if identifier not in needed:
            shutil.rmtree(STORED / identifier)
