# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""What the watcher costs and how fast it is: a scrape, its CPU when nothing happens, its memory, a query of the event log, detection.

    pytest -s tests/bench/bench_watch.py        (DS01_BENCH_SECONDS: how long CPU is measured, 30 if not given)

100 containers and 30 people are files and answers of a stand-in for dockerd that counts what it is asked; the watcher itself is the program
as it is installed, with simulated GPUs. Detection is measured against a real dockerd (tests/integration/watch).
"""

from __future__ import annotations

import json
import os
import shutil
import socketserver
import statistics
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from ds01.core.event import Event, line, timestamp
from ds01.core.event_query import EventQuery
from ds01.event_log import EventLog
from tests.simulated_gpu import simulated_gpus

CONTAINERS, PEOPLE, GPUS, PROCESSES = 100, 30, 8, 16
SECONDS = float(os.environ.get("DS01_BENCH_SECONDS", "30"))
ROOT = Path(__file__).resolve().parents[2]


class Dockerd(socketserver.ThreadingUnixStreamServer):
    """Lists and describes containers, streams no events, counts questions."""

    daemon_threads = True
    asked = 0


class _Handler(socketserver.StreamRequestHandler):
    server: Dockerd

    def handle(self) -> None:
        target = self.rfile.readline().decode().split()[1]
        while self.rfile.readline().strip():
            continue
        self.server.asked += 1
        if target.startswith("/events"):
            self.wfile.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
            threading.Event().wait()
        name = target.split("/")[2]
        body: object = [{"Id": f"{number:064x}"} for number in range(CONTAINERS)]
        if len(name) == 64:
            labels = {"ds01.uid": str(1001 + int(name, 16) % PEOPLE), "ds01.user": f"user{int(name, 16) % PEOPLE}", "ds01.kind": "docker"}
            body = {"Id": name, "Name": f"/c{int(name, 16)}", "Config": {"Labels": labels, "Image": "train"}, "State": {}, "Created": ""}
        data = json.dumps(body).encode()
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(data) + data)


def _slices(root: Path) -> None:
    for uid in range(1001, 1001 + PEOPLE):
        directory = root / "ds01.slice" / f"ds01-u{uid}.slice"
        directory.mkdir(parents=True)
        texts = {"cpu.stat": "usage_usec 1\n", "memory.current": "1\n", "pids.current": "1\n", "memory.events": "oom_kill 0\n"}
        texts["io.stat"] = "".join(f"259:{n} rbytes=1 wbytes=1 rios=1 wios=1 dbytes=0 dios=0\n" for n in range(4))
        pressure = "some avg10=0.00 avg60=0.00 avg300=0.00 total=1\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=1\n"
        for name, text in {**texts, **{f"{one}.pressure": pressure for one in ("cpu", "memory", "io")}}.items():
            (directory / name).write_text(text)


class Watch:
    """The program beside its world."""

    def __init__(self, directory: Path) -> None:
        self.dockerd = Dockerd(str(directory / "d.sock"), _Handler)
        threading.Thread(target=self.dockerd.serve_forever, daemon=True).start()
        _slices(directory / "cgroup")
        gpus = simulated_gpus(directory, ["a100-40gb"] * GPUS)
        self._sleepers = [subprocess.Popen(["sleep", "600"]) for _ in range(PROCESSES)]
        for number, sleeper in enumerate(self._sleepers):
            gpus.add_process(number % GPUS, sleeper.pid)
        self.log = directory / "events.jsonl"
        options = {
            **{name: directory / name for name in ("claims", "claims-lock", "inventory", "memory", "devices", "reservations", "grants")},
            "docker": directory / "d.sock",
            "policy": directory / "policy.json",
            "queue": directory / "queue.json",
            "gate": directory / "gate.json",
            "cgroups": directory / "cgroup",
            "events": self.log,
            "listen": "127.0.0.1:19101",
        }
        words = [f"--{name}={value}" for name, value in options.items()]
        lib, ignore = directory / "lib", shutil.ignore_patterns("__pycache__")  # laid out as a release is
        shutil.copytree(ROOT / "plugins" / "module_utils", lib / "ds01", ignore=ignore)
        shutil.copytree(ROOT / "files" / "ds01_watch", lib / "ds01_watch", ignore=ignore)
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(lib), **gpus.env}
        self.process = psutil.Popen([sys.executable, "-m", "ds01_watch", *words], env=environment, stdin=subprocess.DEVNULL)
        self.url = "http://127.0.0.1:19101/metrics"

    def scrape(self) -> str:
        """The metrics."""
        with urllib.request.urlopen(self.url, timeout=10) as answer:
            return str(answer.read().decode())

    def ready(self) -> bool:
        """Whether all of its world is in the metrics."""
        try:
            text = self.scrape()
        except OSError:
            return False
        return f'ds01_containers{{state="stopped"}} {CONTAINERS}.0' in text and text.count("ds01_gpu_healthy{") == GPUS

    def processes(self) -> list[psutil.Process]:
        """The watcher and its NVML worker."""
        return [self.process, *self.process.children(recursive=True)]

    def close(self) -> None:
        """End everything."""
        self.process.terminate()
        self.process.wait(10)
        self.dockerd.shutdown()
        for sleeper in self._sleepers:
            sleeper.kill()
            sleeper.wait()


@pytest.fixture(scope="module")
def watch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watch]:
    made = Watch(tmp_path_factory.mktemp("watch"))
    deadline = time.monotonic() + 60
    while not made.ready():
        assert time.monotonic() < deadline
        threading.Event().wait(0.2)
    yield made
    made.close()


def test_a_scrape(watch: Watch) -> None:
    before, taken = watch.dockerd.asked, []
    for _ in range(20):
        threading.Event().wait(1.05)  # the answer of less than a second ago would be given again
        begun = time.perf_counter()
        text = watch.scrape()
        taken.append((time.perf_counter() - begun) * 1e3)
    median = statistics.median(taken)
    print(f"\na scrape, {CONTAINERS} containers, {PEOPLE} people, {len(text.splitlines())} lines: median {median:.1f} ms, ", end="")
    print(f"worst of 20 {max(taken):.1f} ms (goal 100 ms); questions to dockerd: {watch.dockerd.asked - before}")
    assert watch.dockerd.asked == before
    assert statistics.median(taken) < 100


def test_cpu_and_memory_when_nothing_happens(watch: Watch) -> None:
    def seconds() -> list[float]:
        return [sum(one.cpu_times()[:2]) for one in watch.processes()]

    begun, before = time.monotonic(), seconds()
    threading.Event().wait(SECONDS)
    span = time.monotonic() - begun
    shares = [100 * (now - then) / span for now, then in zip(seconds(), before, strict=True)]
    memory = [one.memory_full_info() for one in watch.processes()]
    print(f"\nidle for {span:.0f} s: watcher {shares[0]:.2f} %, NVML worker {sum(shares[1:]):.2f} % of a core (goal together 1 %); memory: "
          + ", ".join(f"{found.uss / 2**20:.1f} MiB of its own, {found.rss / 2**20:.1f} MiB resident" for found in memory)
          + " (goal 60 MB)")  # fmt: skip
    assert sum(shares) < 1.0
    assert sum(found.pss for found in memory) < 60e6


def test_a_million_events_by_user(tmp_path: Path) -> None:
    log = EventLog(str(tmp_path / "events.jsonl"))
    with open(log.path, "wb") as stream:
        form = line(Event("container.start", 1.79e9, user="USER", uid=1, container="train", container_id="ID" * 32)).decode()
        before, after = form.split(timestamp(1.79e9))
        for number in range(1_000_000):
            rest = after.replace("USER", f"user{number % 30}").replace("ID" * 32, f"{number:064x}")
            stream.write(f"{before}{timestamp(1.79e9 + number)}{rest}".encode())
    size = os.path.getsize(log.path)

    def timed(query: EventQuery, last: int | None = None) -> tuple[int, float]:
        begun = time.process_time()
        found = len(log.last(query, last) if last else list(log.read(query)))
        return found, time.process_time() - begun

    begun = time.process_time()
    with open(log.path, "rb") as stream:
        parsed = sum(1 for raw in stream if json.loads(raw)["user"] == "user7")
    plain = time.process_time() - begun
    by_user = timed(EventQuery(user="user7"))
    day = timed(EventQuery(since=1.79e9 + 500_000, until=1.79e9 + 586_400))
    last = timed(EventQuery(user="user7"), 50)
    assert (by_user[0], last[0]) == (parsed, 50)
    print(
        f"\na million events, {size / 2**20:.0f} MiB: by user {by_user[1]:.2f} s ({by_user[0]} found), each line parsed {plain:.1f} s, ",
        end="",
    )
    print(f"ratio {plain / by_user[1]:.0f}; a day of them {day[1]:.2f} s ({day[0]} found); a person's last 50 {last[1] * 1e3:.0f} ms")
    assert by_user[1] < 5
