# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Escapes by a create, each tried as an ordinary user against a real daemon. Not the answer counts, but what the host looks like then."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ds01.docker_upstream import DockerClient
from tests.integration.gate.people import Desk
from tests.integration.gate.probe import BOBS_CANARY, CANARY, SCRIPT, V, Vault, containers_of, run, seen, wrong_containers


@pytest.fixture
def vault(alice: Desk) -> Vault:
    """The host's secret."""
    return Vault(alice.lab.path / "vault")


@pytest.fixture
def foreign(bob: Desk) -> Iterator[str]:
    """bob's container with a volume and a home that hold a secret; it must be as it was when the attack is over."""
    assert bob.person is not None
    (bob.person.home / "secret").write_text(BOBS_CANARY)
    identity = bob.must(
        "run", "-d", "--name", "foreign", "-v", "treasure:/t", "busybox", "sh", "-c", f"echo {BOBS_CANARY} >/t/secret; exec sleep 600"
    )
    yield identity
    assert bob.must("exec", identity, "sh", "-c", "ls /t; ls / | grep -c pwned; hostname") == f"secret\n0\n{identity[:12]}"


def nothing_came_of_it(desk: Desk, root: DockerClient, vault: Vault, output: str | None) -> None:
    """The host, the daemon, and what the container said if it ran."""
    assert vault.untouched()
    assert output is None or list(seen(output)) == [], output
    assert wrong_containers(desk, root) == []


def bind(path: Path | str, target: str = "/m") -> dict[str, Any]:
    """A mount of type bind."""
    return {"Type": "bind", "Source": str(path), "Target": target}


def attacks(vault: Path, home: Path, bobs: str) -> dict[str, dict[str, Any]]:
    """HostConfigs by what they try."""
    local = {"Name": "local", "Options": {"type": "none", "o": "bind", "device": str(vault)}}
    return {
        "privileged": {"Privileged": True},
        "all capabilities": {"CapAdd": ["ALL"]},
        "one capability": {"CapAdd": ["SYS_ADMIN"], "SecurityOpt": ["no-new-privileges"]},
        "bind": {"Binds": [f"{vault}:/m"]},
        "bind of everything": {"Binds": ["/:/h:rw,rslave"]},
        "bind by dots": {"Binds": [f"{home}/../../vault:/m"]},
        "bind of bob's home": {"Binds": [f"{home.parent / 'bob'}:/m"]},
        "mount": {"Mounts": [bind(vault)]},
        "mount that is made": {"Mounts": [{**bind(vault / "pwned"), "BindOptions": {"CreateMountpoint": True}}]},
        "volume with options": {"Mounts": [{"Type": "volume", "Source": "evil", "Target": "/m", "VolumeOptions": {"DriverConfig": local}}]},
        "volume of bob": {"Binds": ["treasure:/m"]},
        "volumes of bob's container": {"VolumesFrom": [bobs]},
        "process namespace of the host": {"PidMode": "host"},
        "process namespace of bob's": {"PidMode": f"container:{bobs[:9]}"},
        "network of the host": {"NetworkMode": "host"},
        "memory of the host": {"IpcMode": "host"},
        "name of the host": {"UTSMode": "host"},
        "users of the host": {"UsernsMode": "host"},
        "control groups of the host": {"CgroupnsMode": "host"},
        "kernel log": {"Devices": [{"PathOnHost": "/dev/kmsg", "PathInContainer": "/dev/kmsg", "CgroupPermissions": "rwm"}]},
        "every device by rule": {"DeviceCgroupRules": ["a *:* rwm"]},
        "no seccomp": {"SecurityOpt": ["seccomp=unconfined"]},
        "open /proc": {"SecurityOpt": ["systempaths=unconfined"], "MaskedPaths": [], "ReadonlyPaths": []},
        "unmasked": {"MaskedPaths": []},
        "writable": {"ReadonlyPaths": []},
        "another slice": {"CgroupParent": "/"},
        "a slice by annotation": {"Annotations": {"org.systemd.property.Slice": "'system.slice'"}},
        "another runtime": {"Runtime": "runc"},
        "kernel setting": {"Sysctls": {"kernel.domainname": "pwned"}},
        "group of root": {"GroupAdd": ["0", "docker"]},
        "saved from the OOM killer": {"OomScoreAdj": -1000},
        "without limits": {"Memory": -1, "MemorySwap": -1, "PidsLimit": -1, "NanoCpus": 10**12, "ShmSize": 1 << 50},
        "a device of CDI": {"DeviceRequests": [{"Driver": "cdi", "DeviceIDs": ["nvidia.com/gpu=all", "evil/x=y"]}]},
    }


@pytest.mark.both
def test_no_host_config_reaches_the_host(alice: Desk, root: DockerClient, vault: Vault, foreign: str) -> None:
    assert alice.person is not None
    for what, host in attacks(vault.path, alice.person.home, foreign).items():
        output = run(alice, {"HostConfig": host, "Env": ["NVIDIA_VISIBLE_DEVICES=none"]})
        try:
            nothing_came_of_it(alice, root, vault, output)
        except AssertionError as error:
            raise AssertionError(f"{what}: {error}") from error
    assert all(not one["Name"].startswith("evil") for one in root.call("GET", "/volumes")["Volumes"])


def test_the_probe_sees_an_escape(alice: Desk, root: DockerClient, vault: Vault) -> None:
    """The same probe in containers that root made: otherwise it proves nothing."""
    for what, host in {"CapEff": {"Privileged": True}, CANARY: {"Binds": [f"{vault.path}:/m"]}, "processes": {"PidMode": "host"}}.items():
        body = {"Image": "busybox", "Cmd": ["sh", "-c", SCRIPT], "Tty": True, "HostConfig": host}
        identity = root.call("POST", f"{V}/containers/create", body)["Id"]
        root.call("POST", f"/containers/{identity}/start")
        root.call("POST", f"/containers/{identity}/wait")
        output = Desk(alice.gate, None).lab.run(alice.gate.daemon.socket, None, "logs", identity).stdout
        found = " ".join(seen(output))
        assert ("capabilities" if what == "CapEff" else what) in found, output
    assert not vault.untouched()
    (vault.path / "pwned").unlink()


@pytest.mark.both
def test_no_spelling_of_a_body_reaches_the_host(alice: Desk, root: DockerClient, vault: Vault) -> None:
    rest = f'"Image":"busybox","Tty":true,"Env":["NVIDIA_VISIBLE_DEVICES=none"],"Cmd":["sh","-c",{json.dumps(SCRIPT)}]'
    mount = f'{{"Type":"bind","Source":"{vault.path}","Target":"/m"}}'
    for text in (
        f'{{{rest},"Privileged":true,"Binds":["{vault.path}:/m"],"PidMode":"host"}}',
        f'{{{rest},"hostconfig":{{"PRIVILEGED":true}}}}',
        f'{{{rest},"Ho\u017ftConfig":{{"Privileged":true}}}}',
        f'{{{rest},"HostConfig":{{"\\u0050rivileged":true,"Binds":["{vault.path}:/m"]}}}}',
        f'{{{rest},"HostConfig":{{"Privileged":true}},"HostConfig":{{"Memory":0}}}}',
        f'{{{rest},"HostConfig":{{"Privileged":true,"Privileged":null}}}}',
        f'{{{rest},"HostConfig":{{"Mounts":[{mount}],"Mounts":[{{"Target":"/h"}}]}}}}',
        f'{{{rest},"HostConfig":{{"Networ\u212aMode":"host","PidMode":"host"}}}}',
        f'{{{rest}}}{{{rest},"HostConfig":{{"Privileged":true}}}}',
    ):
        nothing_came_of_it(alice, root, vault, run(alice, text.encode()))


def test_no_log_driver_reaches_a_socket_of_the_host(alice: Desk, root: DockerClient, vault: Vault) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        address = alice.lab.path / "syslog.sock"
        listener.bind(str(address))
        listener.setblocking(False)
        for scheme in ("unixgram", "unix"):
            body = {"HostConfig": {"LogConfig": {"Type": "syslog", "Config": {"syslog-address": f"{scheme}://{address}"}}}}
            assert run(alice, {**body, "Cmd": ["echo", "into the host's log"]}) is None
        with pytest.raises(BlockingIOError):
            listener.recv(1)
    address.unlink()
    assert wrong_containers(alice, root) == []


def test_links_that_a_container_plants_lead_nowhere(alice: Desk, root: DockerClient, vault: Vault) -> None:
    """In a volume, by its subpath; in the container, by docker cp both ways; in a bind, by another container."""
    assert alice.person is not None
    plant = f"ln -s {vault.path} /v/link; ln -s {vault.path} /link; ln -s {vault.path} /b/link; ln -s /proc/1/root /v/root"
    alice.must("run", "--name", "planter", "-v", "garden:/v", "-v", f"{alice.person.home}:/b", "busybox", "sh", "-c", plant)
    for subpath in ("link", "root", "link/secret"):
        mount = {"Type": "volume", "Source": "garden", "Target": "/m", "VolumeOptions": {"Subpath": subpath, "NoCopy": True}}
        nothing_came_of_it(alice, root, vault, run(alice, {"HostConfig": {"Mounts": [mount]}}))
    nothing_came_of_it(alice, root, vault, run(alice, {"HostConfig": {"Binds": [f"{alice.person.home}/link:/m"]}}))
    nothing_came_of_it(alice, root, vault, run(alice, {"HostConfig": {"VolumesFrom": ["planter"]}}))
    for path in ("/link/secret", "/b/link/secret", "/v/link/secret", "/v/root/secret"):
        assert CANARY.encode() not in alice.ask("GET", f"{V}/containers/planter/archive?path={path}").body
        alice.ask("PUT", f"{V}/containers/planter/archive?path={path.rpartition('/')[0]}", b"\0" * 1024, Content_Type="application/x-tar")
        assert alice.docker("cp", "/etc/hostname", f"planter:{path.rpartition('/')[0]}/pwned").returncode in (0, 1)
    assert vault.untouched()
    (alice.person.home / "link").unlink()


def test_forged_labels_move_nothing(alice: Desk, bob: Desk, root: DockerClient) -> None:
    for labels in (
        {"ds01.user": "bob", "ds01.uid": "5002"},
        {"aime.mlc.USER": "bob", "ds01.claim": "c0123456789ab"},
        {"ds01.user=bob": "x"},
    ):
        run(alice, {"Labels": labels, "Cmd": ["true"]}, name="x._.5002" if "aime.mlc.USER" in labels else "")
    assert bob.must("ps", "-aq") == ""
    assert len(containers_of(root, "alice")) == 2
    assert wrong_containers(alice, root) == []


def test_ports_are_published_on_this_machine_only(alice: Desk, root: DockerClient) -> None:
    for host in ({"PublishAllPorts": True}, {"PortBindings": {"8080/tcp": [{"HostIp": "0.0.0.0"}], "9090/udp": [{}]}}):
        body = {"Image": "busybox", "ExposedPorts": {"8080/tcp": {}, "9090/udp": {}}, "HostConfig": host}
        identity = alice.ask("POST", f"{V}/containers/create", body).json["Id"]
        told = root.call("GET", f"/containers/{identity}/json")["HostConfig"]
        assert told["PublishAllPorts"] is False
        local = [{"HostIp": "127.0.0.1", "HostPort": ""}]
        assert told["PortBindings"] == {"8080/tcp": local, "9090/udp": local}
