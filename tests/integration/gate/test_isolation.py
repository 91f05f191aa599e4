# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Attacks on other people's things with a real daemon behind the gate: whatever alice asks of bob's is as if it did not exist."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import pytest

from ds01.docker_upstream import DockerClient
from tests.integration.gate.people import Desk

V = "/v1.45"
READS = ["json", "logs?stdout=1", "top", "stats?stream=0", "changes", "export", "archive?path=/etc"]
ACTIONS = ["start", "stop", "kill", "restart", "pause", "unpause", "rename?name=stolen", "wait", "attach?stream=1"]


@pytest.fixture
def foreign(bob: Desk) -> Iterator[str]:
    """bob's running container, which must be running, and his, when the attack is over."""
    identity = bob.must("run", "-d", "--name", "foreign", "-v", "treasure:/t", "busybox", "sleep", "600")
    yield identity
    assert bob.must("inspect", "-f", '{{.Name}} {{.State.Status}} {{index .Config.Labels "ds01.user"}}', identity) == "/foreign running bob"


def names_of(identity: str) -> list[str]:
    """Every way to name that container."""
    return [identity, identity[:12], identity[:4], "foreign"]


@pytest.mark.both
def test_reading_is_as_if_absent(alice: Desk, foreign: str) -> None:
    for name in names_of(foreign):
        for read in READS:
            reply = alice.ask("GET", f"{V}/containers/{name}/{read}")
            assert (reply.status, reply.message) == (404, f"No such container: {name}"), read
    absent = alice.ask("GET", f"{V}/containers/nowhere/json")
    assert (absent.status, absent.message) == (404, "No such container: nowhere")
    assert alice.ask("HEAD", f"{V}/containers/{foreign}/archive?path=/etc").status == 404


@pytest.mark.both
def test_acting_is_as_if_absent(alice: Desk, foreign: str) -> None:
    for name in names_of(foreign):
        for action in ACTIONS:
            assert alice.ask("POST", f"{V}/containers/{name}/{action}").status == 404, action
        assert alice.ask("POST", f"{V}/containers/{name}/update", {"Memory": 1 << 26}).status == 404
        assert alice.ask("POST", f"{V}/containers/{name}/exec", {"Cmd": ["id"]}).status == 404
        assert alice.ask("PUT", f"{V}/containers/{name}/archive?path=/", b"\0" * 1024, Content_Type="application/x-tar").status == 404
        assert alice.ask("DELETE", f"{V}/containers/{name}?force=1").status == 404


def test_an_exec_belongs_to_its_container(alice: Desk, bob: Desk, foreign: str) -> None:
    exec_id = bob.ask("POST", f"{V}/containers/{foreign}/exec", {"Cmd": ["cat"], "AttachStdin": True}).json["Id"]
    assert bob.ask("GET", f"{V}/exec/{exec_id}/json").status == 200
    assert alice.ask("GET", f"{V}/exec/{exec_id}/json").status == 404
    assert alice.ask("POST", f"{V}/exec/{exec_id}/start", {"Detach": True}).status == 404
    assert alice.ask("POST", f"{V}/exec/{exec_id}/resize?h=1&w=1").status == 404


@pytest.mark.parametrize(
    "host_config",
    [
        {"VolumesFrom": ["foreign"]},
        {"NetworkMode": "container:foreign"},
        {"PidMode": "container:foreign"},
        {"IpcMode": "container:foreign"},
        {"Links": ["foreign:x"]},
        {"Binds": ["treasure:/mine"]},
        {"Mounts": [{"Type": "volume", "Source": "treasure", "Target": "/mine"}]},
    ],
)
def test_no_container_joins_a_foreign_one(alice: Desk, foreign: str, host_config: dict[str, object]) -> None:
    reply = alice.ask("POST", f"{V}/containers/create", {"Image": "busybox", "HostConfig": host_config})
    assert reply.status in (403, 404, 409), reply.body


@pytest.mark.parametrize("length", [12, 64])
def test_no_container_is_named_like_an_id(alice: Desk, foreign: str, length: int) -> None:
    assert alice.ask("POST", f"{V}/containers/create?name={foreign[:length]}", {"Image": "busybox"}).status == 400


@pytest.mark.both
def test_lists_cannot_be_widened(alice: Desk, bob: Desk, foreign: str) -> None:
    for filters in ('{"label":["ds01.user=bob"]}', '{"label":{"ds01.user=bob":true}}', '{"name":["foreign"]}', f'{{"id":["{foreign}"]}}'):
        reply = alice.ask("GET", f"{V}/containers/json?all=1&filters={quote(filters)}")
        assert (reply.status, reply.json) == (200, []), filters
    assert alice.ask("GET", f"{V}/containers/json?all=1&filters=%7B%7D&filters=%7B%7D").status == 400
    assert alice.ask("GET", f"{V}/containers/json?filters=nonsense").status == 400
    assert alice.ask("GET", f"{V}/volumes").json["Volumes"] in (None, [])


@pytest.mark.both
def test_volumes_and_networks_of_others(alice: Desk, bob: Desk, foreign: str) -> None:
    network = bob.must("network", "create", "theirlan")
    assert alice.ask("GET", f"{V}/volumes/treasure").status == 404
    assert alice.ask("DELETE", f"{V}/volumes/treasure?force=1").status == 404
    assert alice.ask("POST", f"{V}/volumes/create", {"Name": "treasure"}).status == 409
    for name in ("theirlan", network):
        assert alice.ask("GET", f"{V}/networks/{name}").status == 404
        assert alice.ask("DELETE", f"{V}/networks/{name}").status == 404
        assert alice.ask("POST", f"{V}/networks/{name}/connect", {"Container": "foreign"}).status == 404
    alice.must("network", "create", "ourlan")
    assert alice.ask("POST", f"{V}/networks/ourlan/connect", {"Container": "foreign"}).status == 404
    assert alice.ask("POST", f"{V}/networks/ourlan/disconnect", {"Container": "foreign", "Force": True}).status == 404
    reply = alice.ask("POST", f"{V}/containers/create", {"Image": "busybox", "NetworkingConfig": {"EndpointsConfig": {"theirlan": {}}}})
    assert reply.status == 404


def test_prune_cannot_be_widened(alice: Desk, bob: Desk) -> None:
    bob.must("run", "--name", "ended", "busybox", "true")
    filters = quote('{"label":["ds01.user=bob"]}')
    form = f"filters={filters}".encode()
    reply = alice.ask("POST", f"{V}/containers/prune", form, Content_Type="application/x-www-form-urlencoded")
    assert reply.status == 415
    assert alice.ask("POST", f"{V}/containers/prune?filters={filters}").status == 200
    assert bob.must("ps", "-aq") != ""


@pytest.mark.parametrize("target", ["/swarm/init", "/plugins/pull?remote=x", "/nowhere"])
def test_what_is_the_servers(alice: Desk, target: str) -> None:
    assert alice.ask("POST", V + target, {}).status == 403


def test_images_of_others(alice: Desk, bob: Desk) -> None:
    bob.must("tag", "busybox", "bob/tool:1")
    assert alice.ask("DELETE", f"{V}/images/bob/tool:1?force=1").status == 403
    assert alice.ask("POST", f"{V}/images/busybox/tag?repo=bob/tool&tag=1").status == 403
    assert alice.ask("POST", f"{V}/images/busybox/tag?repo=pytorch&tag=latest").status == 403
    assert alice.ask("POST", f"{V}/commit?container=nowhere&repo=pytorch").status in (403, 404)
    bob.must("rmi", "bob/tool:1")


def test_commit_of_a_foreign_container(alice: Desk, foreign: str) -> None:
    assert alice.ask("POST", f"{V}/commit?container={foreign}&repo=alice/x").status == 404


def test_deleting_by_name_while_names_change_hands(alice: Desk, bob: Desk) -> None:
    """bob moves his container onto alice's name and back all the time: alice deletes by that name and never hits his."""
    stop = threading.Event()
    victim = bob.ask("POST", f"{V}/containers/create?name=moving", {"Image": "busybox"}).json["Id"]

    def rename() -> int:
        moved = 0
        while not stop.is_set():
            moved += bob.ask("POST", f"{V}/containers/{victim}/rename?name=shared").status == 204
            bob.ask("POST", f"{V}/containers/{victim}/rename?name=moving")
        return moved

    with ThreadPoolExecutor(1) as pool:
        mover = pool.submit(rename)
        try:
            made = [alice.ask("POST", f"{V}/containers/create?name=shared", {"Image": "busybox"}).status for _ in _deleting(alice, 60)]
        finally:
            stop.set()
        assert mover.result(30) > 0
    assert 201 in made
    assert bob.ask("GET", f"{V}/containers/{victim}/json").status == 200


def _deleting(desk: Desk, rounds: int) -> Iterator[None]:
    """``rounds`` times: whatever the body of the loop does, then the end of what is called ``shared`` for that person."""
    for _ in range(rounds):
        yield
        assert desk.ask("DELETE", f"{V}/containers/shared?force=1").status in (204, 404, 409)


@pytest.mark.both
def test_a_swapped_link_never_reaches_the_host(alice: Desk, root: DockerClient) -> None:
    """Case 94: the directory becomes a link to /etc between create and start; dockerd resolves inside the volume and refuses."""
    assert alice.person is not None
    work = alice.person.home / "swap"
    for attempt in range(4):
        work.mkdir()
        name = f"swap{attempt}"
        alice.must("create", "--name", name, "-v", f"{work}:/w", "busybox", "ls", "/w")
        work.rmdir()
        work.symlink_to("/etc" if attempt % 2 else "../../../../etc")
        started = alice.docker("start", "-a", name)
        assert "passwd" not in started.stdout
        assert started.returncode != 0
        work.unlink()


def test_binds_outside_the_own_home(alice: Desk) -> None:
    assert alice.person is not None
    (alice.person.home / "out").unlink(missing_ok=True)
    (alice.person.home / "out").symlink_to("/etc")
    bob_home = alice.lab.people["bob"].home
    for source in ("/", "/etc", str(bob_home), f"{alice.person.home}/../bob", f"{alice.person.home}/out", "/var/run/docker.sock", "/proc"):
        done = alice.docker("run", "--rm", "-v", f"{source}:/m", "busybox", "ls", "/m")
        assert done.returncode == 125, source
        assert "passwd" not in done.stdout


def test_a_bind_is_writable_and_its_directory_is_made_as_the_person(alice: Desk) -> None:
    assert alice.person is not None
    alice.must("run", "--rm", "-v", f"{alice.person.home}/new/deep:/w", "-w", "/w", "busybox", "touch", "here")
    made = alice.person.home / "new" / "deep"
    assert (made / "here").exists()
    assert made.stat().st_uid == alice.person.uid


@pytest.mark.both
def test_planted_setuid_files_are_harmless(alice: Desk) -> None:
    """Case 95: container root may plant them, the host's mount does not honour them."""
    assert alice.person is not None
    alice.must(
        "run",
        "--rm",
        "-v",
        f"{alice.person.home}:/w",
        "busybox",
        "sh",
        "-c",
        "mkdir -p /w/planted; cp /bin/busybox /w/planted; chmod 4755 /w/planted/busybox",
    )
    command = alice.lab.as_person(alice.person, str(alice.person.home / "planted" / "busybox"), "id", "-u")
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "5001\n"
