# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Containers of podman and of containerd's other namespaces, laid out as these engines lay them out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ds01_watch.foreign_feed import ForeignFeed

from ds01.core.workload_kind import Kind, container_kind
from ds01.foreign_containers import ForeignEngines

ID = "ab" * 32
OTHER = "cd" * 32
ALLOW = {"allow": True, "type": "c", "major": 195, "minor": 1, "access": "rwm"}
SPEC = {"linux": {"resources": {"devices": [{"allow": False, "access": "rwm"}, ALLOW]}}}


class Host:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.engines = ForeignEngines(str(path / "tasks"), str(path / "run"), str(path / "state"), str(path / "proc"))

    def write(self, name: str, text: str) -> None:
        (self.path / name).parent.mkdir(parents=True, exist_ok=True)
        (self.path / name).write_text(text)

    def podman(self, container_id: str, pid: int, cgroup: str, spec: object = SPEC) -> None:
        self.write(f"run/{container_id}/userdata/pidfile", str(pid))
        self.write(f"state/{container_id}/userdata/config.json", json.dumps(spec))
        self.write("state/containers.json", json.dumps([{"id": container_id, "names": ["train"]}]))
        self.write(f"proc/{pid}/cgroup", f"0::{cgroup}\n")

    def containerd(self, namespace: str, name: str, pid: int, cgroup: str) -> None:
        self.write(f"tasks/{namespace}/{name}/init.pid", str(pid))
        self.write(f"tasks/{namespace}/{name}/config.json", json.dumps({**SPEC, "annotations": {"nerdctl/name": "job"}}))
        self.write(f"proc/{pid}/cgroup", f"0::{cgroup}\n")


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_both_engines_with_what_they_open(host: Host) -> None:
    host.podman(ID, 77, f"/machine.slice/libpod-{ID}.scope/container")
    host.containerd("default", "job", 78, "/default/job")
    host.containerd("moby", OTHER, 79, f"/system.slice/docker-{OTHER}.scope")
    said: list[int] = []
    feed = ForeignFeed(host.engines, lambda: said.append(1))
    feed.look()
    feed.look()
    found = [(one.engine, one.name, sorted(one.gpu_minors), one.access_by, container_kind(one)) for one in feed.containers()]
    assert found == [("containerd", "job", [1], "devices", Kind.OTHER_ENGINE), ("podman", "train", [1], "devices", Kind.OTHER_ENGINE)]
    assert said == [1]


def test_one_that_ended_leaves_files_and_is_gone(host: Host) -> None:
    host.podman(ID, 77, f"/machine.slice/libpod-{ID}.scope")
    assert len(host.engines.running()) == 1
    host.write("proc/77/cgroup", "0::/system.slice/cron.service\n")
    assert host.engines.running() == (), "its pid is another's by now"


@pytest.mark.parametrize("spec", ["no json", "[]", '{"linux": 3}', '{"linux": {"resources": {"devices": [7]}}}'])
def test_files_of_another_shape_break_nothing(host: Host, spec: str) -> None:
    host.podman(ID, 77, f"/machine.slice/libpod-{ID}.scope")
    host.write(f"state/{ID}/userdata/config.json", spec)
    feed = ForeignFeed(host.engines, lambda: None)
    feed.look()
    assert feed.containers() == ()


def test_a_host_without_other_engines_has_none(host: Host) -> None:
    assert host.engines.running() == ()
