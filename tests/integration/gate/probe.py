# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""What an attack is judged by: what its container saw of the host, and what the host and the daemon look like afterwards."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ds01.docker_upstream import DockerClient
from tests.fuzz.container_invariants import Rights, broken
from tests.integration.gate.people import Desk

V = "/v1.45"
CANARY = "canary-of-the-host-7f3a"
BOBS_CANARY = "canary-of-bob-91bc"
DEFAULT_CAPABILITIES = 0xA80425FB
"""CapEff of a container that asked for nothing (moby, oci/caps/defaults.go)."""
# Whatever was mounted and whichever namespaces were joined, this would tell, and leave a mark on the host.
SCRIPT = (
    "for d in /m /h /s /proc/1/root; do cat $d/secret $d/*/secret $d/*/*/secret; touch $d/pwned $d/vault/pwned; done 2>/dev/null; "
    "grep CapEff /proc/self/status; grep Seccomp: /proc/self/status; sed 's/^/Oom: /' /proc/self/oom_score_adj; "
    "echo Init: $(cat /proc/1/comm); echo Devices: $(ls /dev); "
    "mknod /tmp/kmsg c 1 11 2>/dev/null && head -c 1 /tmp/kmsg >/dev/null 2>&1 && echo READ KMSG; "
    "(: >>/proc/sys/kernel/domainname) 2>/dev/null && echo WRITABLE SYSCTL; (: >>/proc/sysrq-trigger) 2>/dev/null && echo WRITABLE SYSRQ; "
    "echo Kcore: $(head -c 1 /proc/kcore 2>/dev/null | wc -c); mount -t tmpfs x /mnt 2>/dev/null && echo MOUNTED; "
    "echo Nvidia: $NVIDIA_VISIBLE_DEVICES"
)
_KNOWN_DEVICES = {"console", "core", "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout"}
_KNOWN_DEVICES |= {"tty", "urandom", "zero"}


class Vault:
    """Something on the host that nobody but root reads or writes: a directory with a secret in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(exist_ok=True)
        path.chmod(0o700)
        (path / "pwned").unlink(missing_ok=True)
        (path / "secret").write_text(f"{CANARY}\n")
        (path / "secret").chmod(0o600)

    def untouched(self) -> bool:
        """Whether all is as it was."""
        return {entry.name: entry.read_text() for entry in self.path.iterdir()} == {"secret": f"{CANARY}\n"}


def rights(desk: Desk, root: DockerClient) -> Rights:
    """What that person may have: the limits of the lab's policy, and what is theirs by its labels now."""
    assert desk.person is not None
    name = desk.person.name
    mine: dict[str, set[str]] = {"containers": set(), "networks": {"default", "bridge", "none", ""}, "volumes": set()}
    for one in root.call("GET", "/containers/json?all=1"):
        if (one["Labels"] or {}).get("ds01.user") == name:
            mine["containers"].add(one["Id"])
    for one in root.call("GET", "/networks"):
        if (one["Labels"] or {}).get("ds01.user") == name:
            mine["networks"] |= {one["Id"], one["Name"]}
    for one in root.call("GET", "/volumes")["Volumes"] or ():
        if (one["Labels"] or {}).get("ds01.user") == name:
            mine["volumes"].add(one["Name"])
    return Rights(
        name, desk.person.uid, 1 << 30, 2 * 10**9, 256, 64 << 20, containers=frozenset(mine["containers"]),
        volumes=frozenset(mine["volumes"]), networks=frozenset(mine["networks"]), foreign=(BOBS_CANARY,),
    )  # fmt: skip


def run(desk: Desk, body: dict[str, Any] | bytes, name: str = "") -> str | None:
    """Create, start and await; what the container wrote. None when it was never made or never ran."""
    if isinstance(body, dict):
        body = json.dumps({"Image": "busybox", "Cmd": ["sh", "-c", SCRIPT], "Tty": True, **body}).encode()
    made = desk.ask("POST", f"{V}/containers/create{name and f'?name={name}'}", body)
    if made.status != 201:
        return None
    identity = made.json["Id"]
    if desk.ask("POST", f"{V}/containers/{identity}/start").status != 204:
        return None
    desk.ask("POST", f"{V}/containers/{identity}/wait")
    return desk.ask("GET", f"{V}/containers/{identity}/logs?stdout=1&stderr=1").body.decode(errors="replace")


def seen(output: str) -> Iterator[str]:
    """Everything in the output of ``SCRIPT`` that a container may not see or do."""
    if "CapEff" not in output:
        raise ValueError(f"the probe did not run to its end: {output!r}")
    facts = {key: value.strip() for key, _, value in (line.partition(":") for line in output.splitlines()) if value}
    for canary in (CANARY, BOBS_CANARY):
        if canary in output:
            yield canary
    for words in ("READ KMSG", "WRITABLE SYSCTL", "WRITABLE SYSRQ", "MOUNTED"):
        if words in output:
            yield words
    if int(facts["CapEff"], 16) & ~DEFAULT_CAPABILITIES:
        yield f"capabilities {facts['CapEff']}"
    if facts["Seccomp"] != "2":
        yield "no seccomp filter"
    if int(facts["Oom"]) < 0:
        yield f"OOM score {facts['Oom']}"
    if facts["Init"] != "sh":
        yield f"processes of {facts['Init']}"
    if int(facts["Kcore"]):
        yield "kernel memory"
    if set(facts["Devices"].split()) - _KNOWN_DEVICES:
        yield f"devices {facts['Devices']}"
    if facts.get("Nvidia") != "void":
        yield f"GPUs {facts.get('Nvidia')}"


def containers_of(root: DockerClient, person: str) -> list[dict[str, Any]]:
    """The inspected containers that carry that person's label, as a create body would say them."""
    found = []
    for one in root.call("GET", "/containers/json?all=1"):
        told = root.call("GET", f"/containers/{one['Id']}/json")
        if (told["Config"].get("Labels") or {}).get("ds01.user") == person:
            found.append({**told["Config"], "Id": told["Id"], "HostConfig": told["HostConfig"]})
    return found


def wrong_containers(desk: Desk, root: DockerClient) -> list[str]:
    """What is wrong with the containers that dockerd holds for that person."""
    mine = rights(desk, root)
    return [what for told in containers_of(root, mine.user) for what in broken(told, mine)]
