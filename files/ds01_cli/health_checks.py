# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The checks of ``ds01 health``: each asks the host about one part, and hands what it heard to a verdict of the core.

A check that raises says so itself, as a finding of its part; none depends on another, because this is for when parts are down.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ds01 import devices_snapshot, host_health, json_state
from ds01.cgroup_fs import CgroupFs
from ds01.claim_store import ClaimStore
from ds01.core import health_claims, health_host, health_services
from ds01.core.claim_reconcile import ContainerState
from ds01.core.devices_json import SnapshotError
from ds01.core.health import Finding, Level
from ds01.core.policy_check import check
from ds01.core.policy_problems import PolicyError
from ds01.docker_upstream import DockerClient, label_filter
from ds01.event_log import EVENT_LOG
from ds01.gpu_use import INVENTORY
from ds01.host_health import NoAnswer
from ds01.policy_file import POLICY_PATH, parse_json

from .failure import Failure
from .gate_client import ask

_DISKS = ("/", "/home", "/var", "/var/log", "/var/lib/docker", "/var/lib/ds01", "/run", "/tmp", "/scratch", "/data")
_CLOSED_SLICES = ("ds01-nogpu.slice", "ds01-build.slice")
_UNWRITTEN = re.compile(rb"^ds01_events_unwritten_total(?:\{[^}]*\})? ([0-9.e+]+)$", re.MULTILINE)


@dataclass(frozen=True)
class Places:
    """Where the parts are found on a server."""

    docker: str = "/run/docker-root/docker.sock"
    release: str = "/opt/ds01/current"
    claims: str = "/run/cdi"
    claims_lock: str = "/run/ds01/claims.lock"
    devices: str = str(devices_snapshot.DEVICES)
    inventory: str = INVENTORY
    policy: str = POLICY_PATH
    fence: str = "/etc/ds01/fence.json"
    mig: str = "/etc/ds01/mig.json"
    events: str = EVENT_LOG
    guard: str = "/etc/ds01/guard.json"
    cgroups: str = "/sys/fs/cgroup"
    metrics: str = "http://127.0.0.1:9101/metrics"
    prometheus: str = "http://127.0.0.1:9090"
    alertmanager: str = "http://127.0.0.1:9093"
    disks: tuple[str, ...] = _DISKS
    owner: int = 0


Check = Callable[[], list[Finding]]


class Checks:
    """The checks by the name of the part. ``everybody`` are those that need no rights."""

    everybody = ("gate", "disk", "clock")

    def __init__(self, places: Places = Places()) -> None:
        self._at = places

    def all(self) -> Mapping[str, Check]:
        """In the order in which they are shown."""
        return {
            "gate": self.gate,
            "guard": self.guard,
            "splice": self.splice,
            "watcher": self.watcher,
            "slices": self.slices,
            "fence": self.fence,
            "lifecycle": self.lifecycle,
            "claims": self.claims,
            "GPUs": self.gpu_use,
            "MIG": self.mig,
            "policy": self.policy,
            "event log": self.event_log,
            "prometheus": self.prometheus,
            "alertmanager": self.alertmanager,
            "clock": lambda: health_host.clock(host_health.clock_synchronised()),
            "disk": lambda: health_host.disks(host_health.file_systems(self._at.disks)),
            "units": lambda: health_services.failed_units(host_health.unit_names("--state=failed")),
        }

    def gate(self) -> list[Finding]:
        """The gate's units, and whether it answers on the socket that everybody has."""
        units = host_health.units(["ds01-gate.socket", "ds01-gate.service", "ds01-direct.socket"])
        begun, wrong = time.monotonic(), None
        try:
            ask("me")
        except Failure as failure:
            wrong = failure.why
        return health_services.gate(
            units["ds01-gate.socket"],
            units["ds01-gate.service"],
            units["ds01-direct.socket"],
            wrong,
            None if wrong else time.monotonic() - begun,
            self._installed_at(),
        )

    def guard(self) -> list[Finding]:
        """The runtime that dockerd uses for everything."""
        guard = f"{self._at.release}/lib/ds01_guard/oci-runtime.sh"
        settings = json_state.read(self._at.guard) or {}
        return health_services.guard(self._docker().call("GET", "/info"), guard, settings.get("mode", "enforce") == "observe")

    def splice(self) -> list[Finding]:
        """The carrier of terminals."""
        units = host_health.units(["ds01-splice.socket", "ds01-splice.service"])
        return health_services.splice(units["ds01-splice.socket"], units["ds01-splice.service"])

    def watcher(self) -> list[Finding]:
        """The watcher and what it published last."""
        unit = host_health.units(["ds01-watch.service"])["ds01-watch.service"]
        return health_services.watcher(unit, self._inventory(), time.clock_gettime(time.CLOCK_BOOTTIME), self._installed_at())

    def slices(self) -> list[Finding]:
        """The slices that must not open a GPU, as systemd has them in force."""
        return health_services.slices(list(host_health.units(_CLOSED_SLICES).values()))

    def fence(self) -> list[Finding]:
        """The fence, and every session that there is."""
        settings = json_state.read(self._at.fence)
        if settings is None:
            return [Finding("fence", Level.ABSENT, "this server has no fence around GPUs outside containers")]
        live = host_health.unit_names("--type=slice", "user-*.slice")
        units = host_health.units(["ds01-fence.service", *live])
        exempt = [int(one["uid"]) for one in json.loads(host_health.output(f"{self._at.release}/bin/ds01-fence", "list", "--json"))]
        return health_services.fence(
            units["ds01-fence.service"], [units[name] for name in live], exempt, bool(settings.get("enforced", True))
        )

    def lifecycle(self) -> list[Finding]:
        """The timer that looks after idle containers."""
        units = host_health.units(["ds01-lifecycle.timer", "ds01-lifecycle.service"])
        return health_services.lifecycle(units["ds01-lifecycle.timer"], units["ds01-lifecycle.service"])

    def claims(self) -> list[Finding]:
        """The claims against containers, slices and devices."""
        table = ClaimStore(Path(self._at.claims), Path(self._at.claims_lock)).read()
        listed = self._docker().call("GET", f"/containers/json?all=1&{label_filter('ds01.claim')}")
        alive = ("running", "paused", "restarting")
        containers = [ContainerState(one["Id"], one["State"] in alive, one["Labels"].get("ds01.claim")) for one in listed]
        try:
            devices = devices_snapshot.load(self._at.devices)
        except SnapshotError:
            devices = None
        slices = CgroupFs(Path(self._at.cgroups)).claim_slices()
        return health_claims.claims(table.claims, [str(one.path) for one in table.corrupt], containers, slices, devices, time.time())

    def gpu_use(self) -> list[Finding]:
        """What NVML sees."""
        return health_claims.gpu_use(self._inventory())

    def mig(self) -> list[Finding]:
        """The partitioning as declared against the partitioning as it stands."""
        if not os.path.exists(self._at.mig):
            return [Finding("MIG", Level.ABSENT, "no layout is declared")]
        try:
            plan = json.loads(host_health.output(f"{self._at.release}/bin/ds01-mig", "plan", "--json", "--layout", self._at.mig))
        except NoAnswer as error:
            return health_claims.mig_layout(None, str(error))
        return health_claims.mig_layout(list(plan["actions"]), None)

    def policy(self) -> list[Finding]:
        """The policy file in place."""
        try:
            with open(self._at.policy, "rb") as stream:
                checked = check(parse_json(stream.read(), self._at.policy), now=datetime.now(timezone.utc))
        except OSError as error:
            return health_host.policy([f"{self._at.policy}: {error.strerror}"], [])
        except PolicyError as error:
            return health_host.policy([str(error)], [])
        said: dict[bool, list[str]] = {True: [], False: []}
        for problem in checked.problems:
            said[problem.warning].append(f"{problem.key}: {problem.message}")
        return health_host.policy(said[False], said[True])

    def event_log(self) -> list[Finding]:
        """Whether events are kept."""
        try:
            lost = [int(float(number)) for number in _UNWRITTEN.findall(host_health.fetch(self._at.metrics))]
        except NoAnswer:
            lost = []
        return health_host.event_log(host_health.event_log(self._at.events, sum(lost) if lost else None, self._at.owner))

    def prometheus(self) -> list[Finding]:
        """Its targets, rules and alerts."""
        if not host_health.units(["prometheus.service"])["prometheus.service"].loaded:
            return health_host.prometheus(False, None, (), "")
        try:
            targets = host_health.fetch_json(f"{self._at.prometheus}/api/v1/targets?state=active")["data"]["activeTargets"]
            groups = host_health.fetch_json(f"{self._at.prometheus}/api/v1/rules")["data"]["groups"]
        except NoAnswer as error:
            return health_host.prometheus(True, None, (), str(error))
        return health_host.prometheus(True, targets, [rule for group in groups for rule in group["rules"]], "")

    def alertmanager(self) -> list[Finding]:
        """Whether it is there and knows whom to tell."""
        if not host_health.units(["prometheus-alertmanager.service"])["prometheus-alertmanager.service"].loaded:
            return health_host.alertmanager(False, None, "")
        try:
            return health_host.alertmanager(True, host_health.fetch_json(f"{self._at.alertmanager}/api/v2/status"), "")
        except NoAnswer as error:
            return health_host.alertmanager(True, None, str(error))

    def _docker(self) -> DockerClient:
        return DockerClient(self._at.docker)

    def _inventory(self) -> dict[str, Any] | None:
        found = json_state.read(self._at.inventory)
        return found if isinstance(found, dict) else None

    def _installed_at(self) -> float | None:
        try:
            return os.lstat(self._at.release).st_mtime
        except OSError:
            return None
