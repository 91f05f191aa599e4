# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""ds01-watch: sees every GPU workload on the host, says so, and serves the metrics.

Needs root: it reads dockerd's own socket, /proc of everybody, and NVML for all processes.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
import time
from pathlib import Path

from ds01.bare_metal_grants import GRANTS
from ds01.cgroup_fs import CgroupFs
from ds01.claim_store import ClaimStore
from ds01.container_reader import BUNDLE_ROOTS
from ds01.docker_upstream import DockerClient
from ds01.event_log import EVENT_LOG, EventLog
from ds01.foreign_containers import ForeignEngines
from ds01.policy_file import POLICY_PATH
from ds01.queue_file import QUEUE
from ds01.service_manager import notify, watchdog_seconds

from . import memory
from .docker_feed import DockerFeed
from .exposition import readers, registry, text
from .foreign_feed import ForeignFeed
from .gpu_feed import GpuFeed
from .journal import Journal
from .log_counts import LogCounts
from .metrics_server import MetricsServer
from .oom_feed import OomFeed
from .permits import PermitFiles
from .picture import Painter
from .watcher import Watcher

LOOK_OVERDUE_S = 45.0
"""A watcher whose looks do not come any more is stuck: it gives no sign of life, and systemd starts another."""


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="ds01-watch", description="Watch GPU workloads: inventory, events, metrics.")
    parser.add_argument("--docker", default="/run/docker-root/docker.sock", help="dockerd's own socket (%(default)s)")
    parser.add_argument(
        "--bundles",
        action="append",
        metavar="DIRECTORY",
        help=f"where the OCI bundles of dockerd's containers lie; may be given several times ({', '.join(BUNDLE_ROOTS)})",
    )
    parser.add_argument("--claims", type=Path, default=Path("/run/cdi"), help="directory of the claims (%(default)s)")
    parser.add_argument("--claims-lock", type=Path, default=Path("/run/ds01/claims.lock"), help="their lock (%(default)s)")
    parser.add_argument("--inventory", default="/run/ds01/inventory.json", help="where the inventory is published (%(default)s)")
    parser.add_argument("--memory", default="/run/ds01/watch.json", help="what the watcher after this one needs (%(default)s)")
    parser.add_argument("--devices", default="/run/ds01/devices.json", help="the devices as published last (%(default)s)")
    parser.add_argument("--reservations", type=Path, default=Path("/etc/ds01/reservations.json"), help="reserved devices (%(default)s)")
    parser.add_argument("--grants", type=Path, default=GRANTS, help="directory of grants outside containers (%(default)s)")
    parser.add_argument("--events", default=EVENT_LOG, help="the event log (%(default)s)")
    parser.add_argument("--gpu-interval", type=float, default=5.0, help="seconds between looks at the GPUs (%(default)s)")
    parser.add_argument("--listen", default="127.0.0.1:9101", help="address:port of the metrics (%(default)s)")
    parser.add_argument(
        "--reader",
        action="append",
        metavar="ACCOUNT",
        help="who besides root may read the metrics; may be given several times (prometheus)",
    )
    parser.add_argument("--policy", default=POLICY_PATH, help="the policy in force (%(default)s)")
    parser.add_argument("--queue", default=QUEUE, help="the gate's queue (%(default)s)")
    parser.add_argument("--gate", default="/run/ds01/gate-measures.json", help="what the gate counts (%(default)s)")
    parser.add_argument("--cgroups", type=Path, default=Path("/sys/fs/cgroup"), help="the cgroup v2 tree (%(default)s)")
    return parser.parse_args(given)


def release() -> str:
    """The release that this program lies in: its directory's name."""
    return Path(os.path.realpath(__file__)).parents[2].name


def main(given: list[str] | None = None) -> int:
    """Run until SIGTERM."""
    options = arguments(given)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    wake = threading.Event()
    left = memory.load(options.memory)
    foreign = ForeignFeed(ForeignEngines(), lambda: watcher.woken.set())
    gpu = GpuFeed(options.gpu_interval, lambda: watcher.woken.set(), devices=str(options.devices))
    docker = DockerFeed(
        DockerClient(options.docker),
        lambda *event: watcher.container_event(*event),
        lambda: watcher.woken.set(),
        tuple(options.bundles or BUNDLE_ROOTS),
        left.heard_nano,
    )
    log = LogCounts(options.events)
    painter = Painter(docker, gpu, foreign, ClaimStore(options.claims, options.claims_lock))
    permits = PermitFiles(options.reservations, options.grants)
    watcher = Watcher(
        painter, docker, Journal(EventLog(options.events)), log, permits.now, left, str(options.inventory), str(options.memory)
    )
    paths = {"policy": options.policy, "queue": options.queue, "gate": options.gate}
    found = registry(watcher, log, CgroupFs(options.cgroups), paths, release())
    address, _, port = options.listen.rpartition(":")
    server = MetricsServer((address, int(port)), text(found), readers(options.reader or ["prometheus"]))
    server.start()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: wake.set())
    docker.start()
    gpu.start()
    foreign.start()
    OomFeed(watcher.oom_kill).start()
    loop = threading.Thread(target=watcher.run, name="watcher", daemon=True)
    loop.start()
    notify("READY=1")
    while not wake.wait(watchdog_seconds() or 3600.0):
        if time.monotonic() - watcher.looked_at < LOOK_OVERDUE_S:
            notify("WATCHDOG=1")
    notify("STOPPING=1")
    watcher.ended.set()
    watcher.woken.set()
    loop.join(5)
    return 0


if __name__ == "__main__":
    sys.exit(main())
