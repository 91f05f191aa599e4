# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The ports of the monitoring on loopback, in a network of the test's own: the kernel asks whose the connection is."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.monitoring.role import ROLE, render

PROMETHEUS, READER, STUDENT = 64001, 64002, 64003
PORTS = (9090, 9093, 9100, 9101, 9400)
OTHER_PORT = 8000
# Listens on the ports as root, then tries each as each person. One argument: the commands that load the rules, one or more times.
SCRIPT = """
import json, os, socket, subprocess, sys
loads, uids, ports = json.loads(sys.argv[1])
"a".encode("idna")  # while the codec can be read: Python may lie where nobody else can look
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
for command in loads:
    subprocess.run(command, check=True)
listeners = []
for port in ports:
    listener = socket.create_server(("127.0.0.1", port))
    listeners.append(listener)
def attempt(uid, port):
    child = os.fork()
    if child == 0:
        os.setgroups([]); os.setgid(uid); os.setuid(uid)
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
        except ConnectionRefusedError:
            os._exit(1)
        except OSError:
            os._exit(2)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
print(json.dumps({uid: [port for port in ports if attempt(uid, port) == 0] for uid in uids}))
"""


def reached(tree: Path, directory: Path, *, loads: int) -> dict[int, list[int]]:
    """The ports that each uid gets through to, after the rules were loaded so many times."""
    listed = re.search(r"^__monitoring_ports: \[(.+)\]$", (ROLE / "vars" / "main.yml").read_text(), re.MULTILINE)
    assert listed
    ports = [int(word) if word.isdigit() else 9101 for word in listed.group(1).split(", ")]
    text = render("fence.nft.j2", __monitoring_ports=ports, monitoring_readers=["grafana"])
    for name, uid in (("root", 0), ("prometheus", PROMETHEUS), ("grafana", READER)):  # this machine has no such accounts
        assert f"{name}," in text or f"{name} }}" in text
        text = text.replace(f"{name},", f"{uid},").replace(f"{name} }}", f"{uid} }}")
    rules = directory / "fence.nft"
    rules.write_text(text)
    loader = next((tree / "usr").glob("lib*/ld-linux-*.so.*"))
    libraries = next((tree / "usr" / "lib").glob("*-linux-gnu"))
    nft = [str(loader), "--library-path", str(libraries), str(tree / "usr" / "sbin" / "nft"), "-f", str(rules)]
    argument = json.dumps([[nft] * loads, [0, PROMETHEUS, READER, STUDENT], [*PORTS, OTHER_PORT]])
    done = subprocess.run(
        ["unshare", "--net", sys.executable, "-c", SCRIPT, argument], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return {int(uid): found for uid, found in json.loads(done.stdout).items()}


@pytest.mark.parametrize("loads", [1, 2], ids=["loaded", "loaded again"])
def test_only_root_prometheus_and_the_readers_get_through(tree: Path, tmp_path: Path, loads: int) -> None:
    everything = [*PORTS, OTHER_PORT]
    assert reached(tree, tmp_path, loads=loads) == {0: everything, PROMETHEUS: everything, READER: everything, STUDENT: [OTHER_PORT]}


def test_without_the_rules_everybody_would(tree: Path, tmp_path: Path) -> None:
    assert reached(tree, tmp_path, loads=0)[STUDENT] == [*PORTS, OTHER_PORT]
