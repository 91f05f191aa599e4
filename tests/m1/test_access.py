# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""ACCESS: GPUs outside containers, other people's containers, other people's files and processes."""

from __future__ import annotations

import shlex

import pytest

from tests.lab.server_access import wait_until
from tests.m1.row import Row
from tests.m1.world import ALLOWED, DENIED, World


@pytest.mark.requirement("ACCESS-01")
def test_no_gpu_outside_a_container(world: World, row: Row) -> None:
    row.did("student1 opens /dev/nvidia0 in a login session and through sudo-less tricks; then asks for a GPU in a container")
    session = world.person("student1").run("cat /dev/nvidia0; cp /dev/nvidia0 /tmp/x; python3 -c 'open(\"/dev/nvidiactl\")'")
    assert DENIED in session.err and ALLOWED not in session.err, session.text
    inside = world.run("student1", "--rm --gpus all", "sh -c 'cat /dev/nvidia[0-9]*; true'")
    assert ALLOWED in inside.err and DENIED not in inside.err, inside.text
    row.saw("EPERM from the kernel on the host; in the container the device opens (ENXIO: there is no hardware behind the simulated node)")


@pytest.mark.requirement("ACCESS-02")
def test_an_exemption_that_ends_by_itself(world: World, row: Row) -> None:
    row.did("an admin grants researcher1 30 seconds; researcher2 is exempt by policy")
    researcher = world.person("researcher1")
    assert DENIED in researcher.run("cat /dev/nvidia0").err
    world.person("admin1").must("sudo ds01-fence grant researcher1 --for 30s --reason profiling")
    wait_until("the grant works", lambda: ALLOWED in researcher.run("cat /dev/nvidia0").err, 30)
    wait_until("the grant has ended", lambda: DENIED in researcher.run("cat /dev/nvidia0").err, 120)
    assert ALLOWED in world.person("researcher2").run("cat /dev/nvidia0").err
    kinds = world.kinds("--kind 'grant.*' --since 10m")
    row.saw(f"it opened, and closed by itself with no converge; the policy's exemption holds on; events: {', '.join(kinds) or 'none'}")


@pytest.mark.requirement("ACCESS-03")
def test_others_containers_are_not_there(world: World, row: Row) -> None:
    row.did("student2 has a container; student1 looks for it by ps, filters, inspect, compose, events, stats and the raw API")
    secret = world.start("student2", "secret-project")
    attacker = world.person("student1")
    raw = "import socket; s = socket.socket(socket.AF_UNIX); s.connect('/run/docker.sock');"
    raw += " s.sendall(b'GET /containers/json?all=1 HTTP/1.1\\r\\nHost: d\\r\\nConnection: close\\r\\n\\r\\n'); print(s.recv(65536))"
    tries = [
        "docker ps -a --no-trunc",
        "docker ps -a --filter label=ds01.user=student2",
        f"docker inspect {secret[:12]}",
        "docker compose ls -a",
        "docker stats --no-stream",
        "docker system df -v",
        "docker events --since 10m --until 0s",
        f"python3 -c {shlex.quote(raw)}",
    ]
    for attempt in tries:
        result = attacker.run(attempt)
        assert "secret-project" not in result.out and secret[:12] not in result.out, f"{attempt}: {result.text}"
    assert "secret-project" in world.person("student2").must("docker ps")
    assert "secret-project" in world.person("admin1").must("docker ps")
    row.saw(f"not one of {len(tries)} ways shows it; student2 and the admin see it")


@pytest.mark.requirement("ACCESS-04")
def test_others_containers_cannot_be_touched(world: World, row: Row) -> None:
    row.did("student1 tries exec, attach, cp, stop, kill, rm -f, rename, update, commit, export, pause on student2's container, by id")
    secret = world.start("student2", "untouched", command="sh -c 'echo mine > /f; sleep 100000'")
    attacker = world.person("student1")
    for words in (
        "exec {} touch /got",
        "attach {}",
        "cp {}:/f /tmp/got",
        "stop -t 0 {}",
        "kill {}",
        "rename {} x",
        "update -m 6m {}",
        "pause {}",
    ):
        assert not attacker.run("docker " + words.format(secret)).ok, words
    for words in ("commit {} stolen", "export -o /tmp/got {}", "logs {}", "top {}", "diff {}", "restart -t 0 {}"):
        assert not attacker.run("docker " + words.format(secret)).ok, words
    attacker.run(f"docker rm -f {secret}")
    assert world.running("untouched")
    assert world.as_root("exec untouched sh -c 'cat /f; ls /got 2>&1'" + " || true").startswith("mine")
    assert not attacker.run("ls /tmp/got").ok
    row.saw("15 attempts fail; the container runs, its files are as they were, nothing came out")


@pytest.mark.requirement("ACCESS-05")
def test_isolation_needs_no_plugin(world: World, row: Row) -> None:
    row.did("root looks for authorization plugins; student1 tries the daemon's socket, and ways out of a container")
    assert world.as_root("info -f '{{.Plugins.Authorization}}'") in ("[]", "<no value>")
    assert "denied" in world.person("student1").run("docker -H unix:///run/docker-root/docker.sock ps").err.lower()
    ways = ("--privileged", "-v /:/h", "--pid host", "--device /dev/vda", "--cap-add SYS_ADMIN", "-v /run/docker.sock:/s", "--network host")
    for way in ways:
        result = world.run("student1", f"--rm {way}", "echo escaped")
        assert not result.ok and "escaped" not in result.out, way
        assert "Traceback" not in result.text
    row.saw(f"no plugin; the daemon's socket is root's; {len(ways)} ways out are refused")


@pytest.mark.requirement("ACCESS-06")
def test_prunes_take_ones_own(world: World, row: Row) -> None:
    row.did("student1 and student2 each leave a stopped container, a volume and an untagged image; student1 prunes everything")
    for name in ("student1", "student2"):
        person = world.person(name)
        person.must(
            f"docker create --name left-{name} {world.image} true && docker volume create vol-{name} && docker network create net-{name}"
        )
        person.must(
            f"mkdir -p prune && printf 'FROM {world.image}\nRUN echo {name} > /x\n' > prune/Dockerfile && docker build -q prune",
            limit_s=300,
        )
    images = set(world.as_root("images -aq --no-trunc --filter dangling=true").split())
    for words in ("system prune -f --volumes", "container prune -f", "volume prune -af", "image prune -f", "network prune -f"):
        world.person("student1").must(f"docker {words}")
    left = world.as_root("ps -a --format '{{.Names}}'").split()
    assert "left-student2" in left and "left-student1" not in left
    volumes = world.as_root("volume ls -q")
    assert "vol-student2" in volumes and "vol-student1" not in volumes
    networks = world.as_root("network ls --format '{{.Name}}'")
    assert "net-student2" in networks and "net-student1" not in networks
    after = set(world.as_root("images -aq --no-trunc --filter dangling=true").split())
    world.as_root("volume rm vol-student2")
    world.as_root("network rm net-student2")
    assert len(images - after) < len(images), "every untagged image is gone, student2's too"
    row.saw(f"student1's are gone ({len(images - after)} of {len(images)} untagged images), student2's are all there")


@pytest.mark.requirement("ACCESS-07")
def test_homes_and_processes_are_private(world: World, row: Row) -> None:
    row.did("student2 runs a program with a secret on its command line and keeps a file; student1 looks for both")
    world.person("student2").must("echo secret > ~/file")
    running = world.person("student2").start("exec sleep 4242")
    try:
        wait_until("it runs", lambda: world.root.run("pgrep -u student2 -f 'sleep 4242'").ok, 20)
        assert "4242" not in world.person("student1").run("ps axww; cat /proc/*/cmdline 2>/dev/null | tr '\\0' ' '").out
        assert "4242" in world.person("student2").must("ps axww")
        assert not world.person("student1").run("ls /home/student2").ok
        assert not world.person("student1").run("cat /home/student2/file").ok
    finally:
        running.kill()
    row.saw("neither the process nor the home is visible to student1; student2 sees both")
