# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Looks on while others work and programs die: no device is ever in two claims, nor in two running containers as the kernel sees them."""

from __future__ import annotations

import contextlib
import json
import re
import threading
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from ds01.docker_upstream import DaemonRefused, DaemonUnavailable, DockerClient
from tests.integration.daemons import Daemon

_CONTAINER = re.compile(r"/([0-9a-f]{64})(?:\.scope)?(?:/|$)", re.MULTILINE)
_EVERY_S = 0.25


def claims(cdi_dir: Path) -> dict[str, dict[str, Any]]:
    """Claim id → the claim as written, with its ``nodes``. Files are read one after the other, not as of one moment."""
    found = {}
    for path in cdi_dir.glob("ds01-*.json"):
        with contextlib.suppress(FileNotFoundError):
            spec = json.loads(path.read_text())
            claim = json.loads(next(iter(spec["annotations"].values())))
            edits = spec["devices"][0]["containerEdits"]
            found[claim["id"]] = {**claim, "nodes": frozenset(node["path"] for node in edits["deviceNodes"])}
    return found


def containers_on_disk(daemon: Daemon) -> set[str]:
    """The ids of the containers that this daemon has."""
    with contextlib.suppress(FileNotFoundError):
        return {entry.name for entry in (daemon.state / "data" / "containers").iterdir()}
    return set()


def running_nodes(daemon: Daemon, removed: Collection[str] = ()) -> dict[str, frozenset[str]]:
    """Container id → GPU nodes in its /dev, of every container of this daemon that has a process now, and of those ``removed``."""
    with contextlib.suppress(FileNotFoundError):
        known = containers_on_disk(daemon).union(removed)
        found: dict[str, frozenset[str]] = {}
        for process in Path("/proc").iterdir():
            if not process.name.isdigit():
                continue
            with contextlib.suppress(OSError):
                match = _CONTAINER.search((process / "cgroup").read_text())
                if match is None or match.group(1) not in known or (process / "exe").readlink().name != "busybox":
                    continue
                nodes = frozenset(f"/dev/{node.name}" for node in (process / "root/dev").iterdir() if node.name.startswith("nvidia"))
                found[match.group(1)] = found.get(match.group(1), frozenset()) | nodes
        return found
    return {}


def shared(holders: Mapping[str, frozenset[str]]) -> dict[str, set[str]]:
    """Device → who has it, of every device that more than one has."""
    counts = Counter(node for nodes in holders.values() for node in nodes)
    return {node: {who for who, nodes in holders.items() if node in nodes} for node, count in counts.items() if count > 1}


class Witness(threading.Thread):
    """Looks until ``stop``; ``doubles`` says what was seen twice, ``seen`` every claim that was there once."""

    def __init__(self, daemon: Daemon) -> None:
        super().__init__(name="witness", daemon=True)
        self._daemon = daemon
        self._ending = threading.Event()
        self.doubles: list[str] = []
        self.seen: set[str] = set()
        self._containers: set[str] = set()
        self.looks = 0
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            while not self._ending.wait(_EVERY_S):
                self._look()
        except BaseException as error:
            self.failure = error

    def stop(self) -> None:
        """End, after a last look."""
        self._ending.set()
        self.join()
        self._look()

    def _look(self) -> None:
        self.looks += 1
        table = claims(self._daemon.cdi_dir)
        self.seen |= set(table)
        for device, holders in shared({one: claim["nodes"] for one, claim in table.items()}).items():
            again = claims(self._daemon.cdi_dir)
            # Files are read one by one: only what is unchanged at a second look was there at the same time.
            if all(again.get(one, {}).get("generation") == table[one]["generation"] for one in holders):
                self.doubles.append(f"claims {sorted(holders)} share {device}")
        # A process may outlive its container's removal.
        self._containers |= containers_on_disk(self._daemon) | {claim["container_id"] for claim in table.values()}
        for device, holders in shared(running_nodes(self._daemon, self._containers)).items():
            again_running = running_nodes(self._daemon, self._containers)
            if all(device in again_running.get(one, ()) for one in holders):
                self.doubles.append(f"{device} is in {', '.join(self._described(one, table) for one in sorted(holders))}")

    def _described(self, identity: str, table: Mapping[str, Any]) -> str:
        """A container as dockerd knows it and as the claims do."""
        said = "is away"
        with contextlib.suppress(DaemonUnavailable, DaemonRefused):
            found = DockerClient(str(self._daemon.socket)).find(f"/containers/{identity}/json")
            said = "knows it not" if found is None else f"says {found['State']['Status']}"
        held = [one for one, claim in table.items() if claim["container_id"] == identity]
        return f"{identity[:12]} (dockerd {said}, claims {held})"
