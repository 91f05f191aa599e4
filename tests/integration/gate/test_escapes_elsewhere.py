# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Escapes by everything but a create, each tried as an ordinary user: the daemon shows that nothing of it came to be."""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from ds01.docker_upstream import DockerClient
from tests.integration.daemons import wait_until
from tests.integration.gate.people import Desk
from tests.integration.gate.probe import BOBS_CANARY, CANARY, V, Vault, wrong_containers

SLEEP = ("busybox", "sleep", "600")


def tar(**files: str) -> bytes:
    """An archive."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text.encode())
            archive.addfile(entry, io.BytesIO(text.encode()))
    return raw.getvalue()


@pytest.fixture
def bobs(bob: Desk, root: DockerClient) -> Iterator[str]:
    """bob's running container; that it is as it was is looked up when the attack is over."""
    identity = bob.must("run", "-d", "--name", "foreign", "-e", f"PASSWORD={BOBS_CANARY}", "-v", "treasure:/t", "--memory", "64m", *SLEEP)
    before = told_of(root, identity)
    yield identity
    assert told_of(root, identity) == before
    assert bob.must("exec", identity, "ls", "/t") == ""


def told_of(root: DockerClient, identity: str) -> dict[str, Any]:
    """What an attack could change about a container."""
    told = root.call("GET", f"/containers/{identity}/json")
    state = {key: told["State"][key] for key in ("Running", "Paused", "Pid")}
    networks = sorted(told["NetworkSettings"]["Networks"])
    return {key: told[key] for key in ("Name", "Config", "HostConfig", "RestartCount")} | {"State": state, "networks": networks}


@pytest.mark.both
def test_exec_gives_no_more_than_the_container_has(alice: Desk, root: DockerClient, bobs: str) -> None:
    own = alice.must("run", "-d", *SLEEP)
    for extra in ({"Privileged": True}, {"privileged": 1}, {"PRIVILEGED": "true"}, {"Privileged": False, "privileged": True}):
        alice.ask("POST", f"{V}/containers/{own}/exec", {"Cmd": ["touch", "/pwned"], **extra})
    for name in (bobs, bobs[:6], "foreign"):
        alice.ask("POST", f"{V}/containers/{name}/exec", {"Cmd": ["touch", "/t/pwned"], "Container": own})
    assert root.call("GET", f"/containers/{own}/json")["ExecIDs"] is None
    assert root.call("GET", f"/containers/{bobs}/json")["ExecIDs"] is None
    free = alice.ask("POST", f"{V}/containers/{own}/exec", {"Cmd": ["cat", "/proc/self/status"], "User": "0", "AttachStdout": True}).json[
        "Id"
    ]
    assert b"CapEff:\t00000000a80425fb" in alice.ask("POST", f"{V}/exec/{free}/start", {}).body


def test_archives_stay_in_the_own_container(alice: Desk, bobs: str) -> None:
    vault = Vault(alice.lab.path / "vault")
    alice.must("run", "--name", "linked", "busybox", "ln", "-s", str(vault.path), "/out")
    packed = tar(pwned="x")
    for target in ("foreign", f"{bobs[:5]}", "linked%2f..%2fforeign", "linked"):
        for path in ("/t", "/out", "/proc/1/root/t", "/../../../.." + str(vault.path)):
            alice.ask("PUT", f"{V}/containers/{target}/archive?path={quote(path)}", packed, Content_Type="application/x-tar")
            assert CANARY.encode() not in alice.ask("GET", f"{V}/containers/{target}/archive?path={quote(path)}/secret").body
    assert vault.untouched()


def test_updates_stay_within_the_limits(alice: Desk, root: DockerClient, bobs: str) -> None:
    own = alice.must("run", "-d", "--memory", "64m", *SLEEP)
    for body in (
        {"PidsLimit": -1, "NanoCpus": 10**12},
        {"memory": 1 << 45, "MEMORYSWAP": -1},
        {"MemorySwap": -1},
        {"Privileged": True, "Devices": [{"PathOnHost": "/dev/kmsg"}]},
        {"CpusetCpus": "0", "OomKillDisable": True},
        {"CgroupParent": "/", "PidsLimit": 0},
    ):
        for name in (own, bobs):
            alice.ask("POST", f"{V}/containers/{name}/update", body)
    assert wrong_containers(alice, root) == []
    assert root.call("GET", f"/containers/{own}/json")["HostConfig"]["Memory"] <= 1 << 30


def test_a_start_takes_no_host_config(alice: Desk, root: DockerClient) -> None:
    own = alice.must("create", *SLEEP)
    for version in ("/v1.23", "/v1.18", V, ""):
        alice.ask("POST", f"{version}/containers/{own}/start", {"Privileged": True, "Binds": ["/:/h"], "PidMode": "host"})
    alice.ask("POST", f"{V}/containers/{own}/start?checkpoint=x&checkpoint-dir=/")
    told = root.call("GET", f"/containers/{own}/json")
    assert told["State"]["Status"] == "created"
    assert wrong_containers(alice, root) == []


def test_a_name_hands_nothing_over(alice: Desk, bob: Desk, root: DockerClient, bobs: str) -> None:
    own = alice.must("create", "--name", "own", *SLEEP)
    for name in ("foreign", bobs, bobs[:12], "x._.5002", "%2Fforeign", "..%2Fforeign"):
        alice.ask("POST", f"{V}/containers/{own}/rename?name={name}")
        alice.ask("POST", f"{V}/containers/foreign/rename?name=mine1")
    assert root.call("GET", f"/containers/{own}/json")["Config"]["Labels"]["ds01.user"] == "alice"
    assert bob.must("ps", "-aq", "--no-trunc") == bobs


def test_networks_reach_nobody_else(alice: Desk, bob: Desk, root: DockerClient, bobs: str) -> None:
    theirs = bob.must("network", "create", "theirlan")
    ours = alice.must("network", "create", "ourlan")
    own = alice.must("run", "-d", *SLEEP)
    before = told_of(root, own)["networks"]
    for network, container in ((ours, bobs), (theirs, own), ("theirlan", bobs), ("host", own), (theirs[:8], own)):
        alice.ask("POST", f"{V}/networks/{network}/connect", {"Container": container})
        alice.ask("POST", f"{V}/networks/{network}/disconnect", {"Container": container, "Force": True})
    for extra in (
        {"Options": {"com.docker.network.bridge.name": "evil0"}},
        {"Driver": "macvlan", "Options": {"parent": "lo"}},
        {"IPAM": {"Config": [{"Subnet": "203.0.113.0/24"}]}},
        {"Labels": {"ds01.user": "bob"}, "Ingress": True},
    ):
        alice.ask("POST", f"{V}/networks/create", {"Name": "evil", **extra})
    alice.ask("DELETE", f"{V}/networks/{theirs}")
    alice.ask("POST", f"{V}/networks/prune?filters={quote(json.dumps({'label!': ['ds01.user=alice']}))}")
    assert told_of(root, own)["networks"] == before
    assert {one["Name"] for one in root.call("GET", "/networks")} >= {"theirlan"}
    assert "evil" not in {one["Name"] for one in root.call("GET", "/networks")}


def test_volumes_are_directories_of_dockerd_or_own_roots(alice: Desk, bob: Desk, root: DockerClient, bobs: str) -> None:
    for options in (
        {"type": "none", "o": "bind", "device": "/"},
        {"type": "overlay", "o": "lowerdir=/etc:/usr", "device": "overlay"},
        {"type": "proc", "device": "proc"},
        {"type": "tmpfs", "device": "tmpfs", "o": "suid"},
    ):
        for key in ("DriverOpts", "driveropts", "Opts"):
            alice.ask("POST", f"{V}/volumes/create", {"Name": "evil", key: options})
    alice.ask("DELETE", f"{V}/volumes/treasure?force=1")
    alice.ask("POST", f"{V}/volumes/prune?filters={quote(json.dumps({'all': ['true'], 'label': ['ds01.user=bob']}))}")
    volumes = {one["Name"]: one for one in root.call("GET", "/volumes")["Volumes"]}
    assert "treasure" in volumes
    assert all(not one["Options"] for name, one in volumes.items() if not name.startswith("ds01.root."))


def test_shared_images_stay_what_they_are(alice: Desk, root: DockerClient) -> None:
    before = root.call("GET", "/images/busybox/json")["Id"]
    own = alice.must("run", "-d", *SLEEP)
    packed = tar(Dockerfile="FROM busybox\nLABEL a=b\n")
    for tag in ("busybox", "docker.io/library/busybox:latest", "index.docker.io/library/busybox", "library/busybox"):
        alice.ask("POST", f"{V}/build?t={quote(tag)}", packed, Content_Type="application/x-tar")
        alice.ask("POST", f"{V}/commit?container={own}&repo={quote(tag)}")
        alice.ask("POST", f"{V}/images/create?fromSrc=-&repo={quote(tag)}", packed, Content_Type="application/x-tar")
        alice.ask("DELETE", f"{V}/images/{tag}?force=1")
    alice.ask("DELETE", f"{V}/images/{before}?force=1")
    alice.ask("POST", f"{V}/images/prune?filters=" + quote('{"dangling":["false"]}'))
    assert root.call("GET", "/images/busybox/json")["Id"] == before


def test_a_dockerfile_that_names_anothers_claim_ends_nothing(alice: Desk, bob: Desk) -> None:
    """The classic builder gives the labels of a Dockerfile to its containers, which end: the claim that they name is not theirs."""
    busy = bob.must("run", "-d", "--gpus", "1", *SLEEP)
    claim = bob.must("inspect", "-f", '{{index .Config.Labels "ds01.claim"}}', busy)
    spec = alice.gate.daemon.cdi_dir / f"ds01-{claim}.json"
    text = f"FROM busybox\nLABEL ds01.claim={claim} ds01.user=bob ds01.uid=5002 ds01.gpu.request=count=1\nRUN echo built\n"
    reply = alice.ask("POST", f"{V}/build?t=alice/forged", tar(Dockerfile=text), Content_Type="application/x-tar")
    assert b"built" in reply.body, "the attack did not take place"
    # A claim of alice's own that ends afterwards: by then the gate has seen the builder's containers end.
    alice.must("run", "--rm", "--gpus", "1", "busybox", "true")
    wait_until(lambda: len(list(alice.gate.daemon.cdi_dir.glob("ds01-*.json"))) <= 1, 15, "the end of alice's claim")
    assert spec.exists()
    assert alice.must("run", "--rm", "alice/forged", "sh", "-c", "ls /dev/nvidia* 2>/dev/null | wc -l") == "0"
    alice.ask("DELETE", f"{V}/images/alice/forged")


def test_nobody_learns_of_anothers_processes_and_claims(alice: Desk, bob: Desk, bobs: str) -> None:
    busy = bob.must("run", "-d", "--gpus", "1", *SLEEP)
    claim = bob.must("inspect", "-f", '{{index .Config.Labels "ds01.claim"}}', busy)
    own = alice.must("run", "-d", *SLEEP)
    for arguments in ("axe -o uid=X\tPID -o args", "-eo tty=PID,args", "axewww", "-ef"):
        assert BOBS_CANARY.encode() not in alice.ask("GET", f"{V}/containers/{own}/top?ps_args={quote(arguments)}").body
    for target in ("/info", "/containers/json?all=1", "/volumes", "/networks", "/networks/bridge", "/images/json", "/ds01/v1/status"):
        answer = alice.ask(
            "GET", target if target.startswith("/ds01") else V.replace("45", "51" if bob.gate.daemon.release == "sid" else "45") + target
        )
        assert answer.status == 200
        for secret in (claim, bobs, bobs[:12], BOBS_CANARY, "treasure", "foreign"):
            assert secret.encode() not in answer.body, f"{secret} in {target}"


def test_prunes_and_smuggled_requests_leave_what_is_bobs(alice: Desk, bob: Desk, bobs: str) -> None:
    bob.must("run", "--name", "ended", "busybox", "true")
    delete = b"DELETE /v1.45/containers/foreign?force=1 HTTP/1.1\r\nHost: d\r\n\r\n"
    head = b"POST /v1.45/containers/prune HTTP/1.1\r\nHost: d\r\n"
    for raw in (
        head + b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" % 5 + delete,
        head + b"Transfer-Encoding: chunked\r\n\r\n0;x=1\r\n\r\n" + delete,
        head + b"Content-Length: 0\r\n\r\n" + delete,
        head + b'Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 41\r\n\r\nfilters={"label":["ds01.user=bob"]}&x=yz',
        b"GET /_ping HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n" + delete,
        b"POST /v1.45/containers/foreign%2f..%2fended/kill HTTP/1.1\r\nHost: d\r\n\r\n",
        b"DELETE http://d/v1.45/containers/foreign?force=1 HTTP/1.1\r\nHost: d\r\n\r\n",
        b"GET /_ping HTTP/1.1\r\nHost: d\r\nContent-Length: %d\r\n\r\n" % len(delete) + delete,
    ):
        wire = alice.wire()
        wire.send(raw)
        wire.socket.shutdown(1)
        wire.rest()
        wire.close()
    assert len(bob.must("ps", "-aq").split()) == 2


def test_device_nodes_planted_in_a_bind_open_nothing(alice: Desk) -> None:
    """Case 96: container root makes one in the home, and the host's mount does not honour it."""
    assert alice.person is not None
    plant = "rm -f /w/zero; mknod -m 666 /w/zero c 1 5"
    alice.must("run", "--rm", "-v", f"{alice.person.home}:/w", "busybox", "sh", "-c", plant)
    node = alice.person.home / "zero"
    assert node.is_char_device()
    done = subprocess.run(alice.lab.as_person(alice.person, "head", "-c", "1", str(node)), capture_output=True, check=False)
    assert (done.stdout, b"Permission denied" in done.stderr) == (b"", True)
    node.unlink()


def test_root_of_a_user_namespace_is_its_person(alice: Desk, root: DockerClient, bobs: str) -> None:
    """Case 118: who is uid 0 in a namespace of their own is who they are outside of it."""
    assert alice.person is not None
    client = alice.lab.docker(alice.gate.socket, None, "create", "busybox")
    command = alice.lab.as_person(alice.person, "unshare", "--user", "--map-root-user", *client)
    environment = alice.lab.environment(alice.person)
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd="/")
    assert done.returncode == 0, done.stderr
    assert root.call("GET", f"/containers/{done.stdout.strip()}/json")["Config"]["Labels"]["ds01.user"] == "alice"
