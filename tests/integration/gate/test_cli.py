# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Ordinary work with the real docker CLI through the gate."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from ds01.docker_upstream import DockerClient
from tests.integration.daemons import wait_until
from tests.integration.gate.people import Desk

SLEEP = ("busybox", "sleep", "600")


def test_run_gives_output_and_exit_status(alice: Desk) -> None:
    done = alice.docker("run", "--rm", "busybox", "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (done.returncode, done.stdout, done.stderr) == (7, "out\n", "err\n")


def test_run_without_input_still_gets_all_output(alice: Desk) -> None:
    """The CLI closes its writing side at once when there is no input, and wants every byte all the same."""
    assert len(alice.must("run", "--rm", "busybox", "sh", "-c", "sleep 0.3; seq 1 200000")) == 1288894


@pytest.mark.both
def test_run_with_input_passes_a_megabyte_both_ways(alice: Desk) -> None:
    data = "0123456789abcde\n" * 65536
    assert alice.must("run", "--rm", "-i", "busybox", "cat", stdin=data) == data.rstrip("\n")


def test_a_terminal_has_a_size_and_echoes(alice: Desk) -> None:
    assert "38400 baud" in alice.must("run", "--rm", "-t", "busybox", "stty", "-a")


@pytest.mark.both
def test_exec_inspect_and_top(alice: Desk) -> None:
    alice.must("run", "-d", "--name", "work", *SLEEP)
    done = alice.docker("exec", "-i", "work", "sh", "-c", "cat; exit 3", stdin="typed")
    assert (done.returncode, done.stdout) == (3, "typed")
    assert alice.must("inspect", "-f", '{{index .Config.Labels "ds01.user"}} {{.HostConfig.CgroupParent}}', "work").startswith(
        "alice ds01-u5001"
    )
    assert "sleep 600" in alice.must("top", "work")


def test_attach_to_a_running_container(alice: Desk) -> None:
    alice.must("run", "-d", "-i", "--name", "talk", "busybox", "sh", "-c", "read line; echo got $line")
    attached = alice.start("attach", "talk")
    assert attached.stdin is not None
    assert attached.stdout is not None
    attached.stdin.write(b"hello\n")
    attached.stdin.flush()
    assert attached.stdout.readline() == b"got hello\n"
    assert attached.wait(20) == 0


def test_logs_follow_until_the_end(alice: Desk) -> None:
    alice.must("run", "-d", "--name", "talker", "busybox", "sh", "-c", "for i in 1 2 3; do echo $i; sleep 0.2; done")
    started = time.monotonic()
    assert alice.must("logs", "-f", "talker") == "1\n2\n3"
    assert time.monotonic() - started < 15


def test_logs_come_at_once(alice: Desk) -> None:
    alice.must("run", "-d", "--name", "talker", "busybox", "sh", "-c", "echo first; sleep 600")
    follower = alice.start("logs", "-f", "talker")
    assert follower.stdout is not None
    assert follower.stdout.readline() == b"first\n"
    follower.kill()
    follower.wait()


def test_copy_in_and_out(alice: Desk) -> None:
    alice.must("run", "-d", "--name", "box", *SLEEP)
    assert alice.person is not None
    source = alice.person.home / "big"
    source.write_bytes(bytes(range(256)) * 40960)
    alice.must("cp", str(source), "box:/tmp/big")
    assert (
        alice.must("exec", "box", "md5sum", "/tmp/big").split()[0] == alice.must("exec", "box", "sh", "-c", "md5sum < /tmp/big").split()[0]
    )
    target = alice.person.home / "back"
    target.unlink(missing_ok=True)
    alice.must("cp", "box:/tmp/big", str(target))
    assert target.read_bytes() == source.read_bytes()
    assert alice.docker("cp", "box:/nowhere", str(target)).returncode == 1


@pytest.mark.both
def test_stop_start_restart_kill_pause_rename_update_remove(alice: Desk) -> None:
    alice.must("run", "-d", "--name", "one", "busybox", "sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.1; done")
    for step in (("pause", "one"), ("unpause", "one"), ("stop", "one"), ("start", "one"), ("restart", "one"), ("rename", "one", "two")):
        alice.must(*step)
    alice.must("update", "--memory", "64m", "--memory-swap", "64m", "two")
    assert alice.must("inspect", "-f", "{{.HostConfig.Memory}}", "two") == str(64 << 20)
    alice.must("kill", "two")
    assert alice.must("wait", "two") == "137"
    assert "/tmp" not in alice.must("diff", "two")
    alice.must("rm", "two")
    assert alice.must("ps", "-aq") == ""


@pytest.mark.both
def test_stats_ps_and_events(alice: Desk, bob: Desk) -> None:
    watcher = alice.start("events", "--format", "{{.Action}} {{.Actor.Attributes.name}}")
    bob.must("run", "-d", "--name", "foreign", *SLEEP)
    alice.must("run", "-d", "--name", "mine", *SLEEP)
    assert "mine" in alice.must("stats", "--no-stream", "--format", "{{.Name}}")
    alice.must("exec", "mine", "true")
    bob.must("exec", "foreign", "echo", "secret")
    alice.must("rm", "-f", "mine")
    assert watcher.stdout is not None
    seen = []
    while not seen or not seen[-1].startswith("destroy"):
        seen.append(watcher.stdout.readline().decode().strip())
    watcher.kill()
    watcher.wait()
    assert {"create mine", "start mine", "die mine", "destroy mine"} <= set(seen)
    assert not [line for line in seen if "foreign" in line or "secret" in line]


def test_everybody_sees_their_own_containers(alice: Desk, bob: Desk, boss: Desk) -> None:
    alice.must("run", "-d", "--name", "ours", *SLEEP)
    bob.must("run", "-d", "--name", "theirs", *SLEEP)
    assert alice.must("ps", "--format", "{{.Names}}") == "ours"
    assert bob.must("ps", "--format", "{{.Names}}") == "theirs"
    assert set(boss.must("ps", "--format", "{{.Names}}").split()) == {"ours", "theirs"}
    assert alice.docker("inspect", "theirs").returncode == 1
    assert bob.docker("rm", "-f", "ours").stdout == ""
    assert alice.must("ps", "-q") != ""


@pytest.mark.both
def test_prune_removes_only_ones_own(alice: Desk, bob: Desk) -> None:
    for desk, name in ((alice, "ours"), (bob, "theirs")):
        desk.must("run", "--name", name, "busybox", "true")
        desk.must("volume", "create", f"vol{name}")
        desk.must("network", "create", f"net{name}")
    alice.must("container", "prune", "-f")
    alice.must("volume", "prune", "-af")
    alice.must("network", "prune", "-f")
    assert alice.must("ps", "-aq") == ""
    assert bob.must("ps", "-a", "--format", "{{.Names}}") == "theirs"
    assert bob.must("volume", "ls", "-q") == "voltheirs"
    assert "nettheirs" in bob.must("network", "ls", "--format", "{{.Name}}")
    assert "netours" not in alice.must("network", "ls", "--format", "{{.Name}}")


def test_volumes_keep_data_between_containers(alice: Desk, bob: Desk) -> None:
    alice.must("run", "--rm", "-v", "data:/d", "busybox", "sh", "-c", "echo kept > /d/f")
    assert alice.must("run", "--rm", "-v", "data:/d", "busybox", "cat", "/d/f") == "kept"
    assert alice.must("volume", "ls", "-q") == "data"
    assert bob.must("volume", "ls", "-q") == ""
    assert bob.docker("run", "--rm", "-v", "data:/d", "busybox", "cat", "/d/f").returncode == 125
    alice.must("volume", "rm", "data")


def test_containers_of_one_network_find_each_other(alice: Desk, bob: Desk) -> None:
    alice.must("network", "create", "lan")
    alice.must("run", "-d", "--name", "server", "--network", "lan", *SLEEP)
    assert "server" in alice.must("run", "--rm", "--network", "lan", "busybox", "nslookup", "server")
    assert "lan" not in bob.must("network", "ls", "--format", "{{.Name}}")
    assert bob.docker("run", "--rm", "--network", "lan", "busybox", "true").returncode == 125
    alice.must("run", "-d", "--name", "late", *SLEEP)
    alice.must("network", "connect", "lan", "late")
    alice.must("network", "disconnect", "lan", "late")


def test_detached_run_leaves_no_connection_behind(alice: Desk, root: DockerClient) -> None:
    """``run -d`` opens a wait and goes away; the gate must let go of its connection to dockerd, or one leaks for the container's life."""
    before = _upstream_connections(alice)
    for n in range(3):
        alice.must("run", "-d", "--name", f"c{n}", *SLEEP)
    wait_until(lambda: _upstream_connections(alice) <= before, 5, "closing of the connections to dockerd")


def _upstream_connections(desk: Desk) -> int:
    """Established connections that end at dockerd's socket."""
    lines = [line.split() for line in Path("/proc/net/unix").read_text(encoding="ascii").splitlines()]
    return sum(line[-1] == str(desk.gate.daemon.socket) and line[5] == "03" for line in lines)


def test_images(alice: Desk, bob: Desk) -> None:
    assert "busybox" in alice.must("images", "--format", "{{.Repository}}")
    alice.must("tag", "busybox", "alice/tool:1")
    assert alice.docker("tag", "busybox", "pytorch:latest").returncode == 1
    assert bob.docker("rmi", "alice/tool:1").returncode == 1
    alice.must("rmi", "alice/tool:1")
    assert json.loads(alice.must("inspect", "busybox"))[0]["RepoTags"] == ["busybox:latest"]


@pytest.mark.both
def test_commit_save_and_load(alice: Desk) -> None:
    assert alice.person is not None
    alice.must("run", "--name", "base", "busybox", "sh", "-c", "echo made > /made")
    alice.must("commit", "base", "alice/made")
    assert alice.must("run", "--rm", "alice/made", "cat", "/made") == "made"
    archive = alice.person.home / "made.tar"
    archive.unlink(missing_ok=True)
    alice.must("save", "-o", str(archive), "alice/made")
    assert archive.stat().st_size > 500_000
    alice.must("rmi", "-f", "alice/made")


@pytest.mark.both
def test_version_is_capped_at_what_the_gate_understands(alice: Desk) -> None:
    version = alice.must("version", "-f", "{{.Server.APIVersion}}")
    assert (1, 45) <= tuple(int(part) for part in version.split(".")) <= (1, 51)
    assert alice.must("info", "-f", "{{.ServerVersion}}")
