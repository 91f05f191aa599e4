# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""What the watcher must know after a day on which it and everything else was killed: who has which GPU, and how each container fared."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from ds01.docker_upstream import DockerClient
from tests.integration.daemons import Daemon
from tests.integration.gate.chaos_witness import claims
from tests.integration.watch.watch_process import WatchProcess

_BEGINS, _ENDS, _GOES = "container.start", "container.die", "container.remove"


def inventory_differs(watch: WatchProcess, daemon: Daemon) -> str:
    """How its inventory differs from dockerd's word and the claims; empty when they agree."""
    if not watch.source_answers("docker"):
        return "it does not hear dockerd"
    told = {one["container_id"]: one for one in watch.inventory()["workloads"]}
    running = running_now(daemon)
    held = {claim["container_id"]: {device["gpu_uuid"] for device in claim["devices"]} for claim in claims(daemon.cdi_dir).values()}
    said = {identity: {gpu["uuid"] for gpu in one["gpus"]} for identity, one in told.items()}
    if said != held:
        return f"it says {said}, claims say {held}"
    still = {identity for identity, one in told.items() if one["running"]}
    return "" if still == held.keys() & running else f"it says that {still} run, dockerd says {held.keys() & running}"


class Story:
    """The event log, container by container."""

    def __init__(self, watch: WatchProcess) -> None:
        self._told: dict[str, list[str]] = {}
        for event in watch.events():
            if event["kind"] in (_BEGINS, _ENDS, _GOES):
                self._told.setdefault(event["container_id"], []).append(event["kind"])

    def false_ends(self, running: Collection[str]) -> dict[str, list[str]]:
        """Of containers that run: what was told of those that have ended by the log."""
        return {one: told for one in running if (told := self._told.get(one, []))[-1:] in ([_ENDS], [_GOES])}

    def ever_ended(self, containers: Collection[str]) -> dict[str, list[str]]:
        """Of containers that never ended: what was told of those that did by the log."""
        return {one: told for one in containers if {_ENDS, _GOES} & set(told := self._told.get(one, []))}

    def incomplete(self, gone: Collection[str]) -> dict[str, list[str]]:
        """Of containers that were started and are removed: what was told where beginning, end or removal is missing."""
        return {one: told for one in gone if not {_BEGINS, _ENDS, _GOES} <= set(told := self._told.get(one, []))}


def running_now(daemon: Daemon) -> set[str]:
    """The containers that run by dockerd's word."""
    found: list[dict[str, Any]] = DockerClient(str(daemon.socket)).call("GET", "/containers/json")
    return {one["Id"] for one in found}
