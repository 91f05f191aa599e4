# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""What the unit of role processes does to a real /proc, in a pid namespace of its own: who sees whose command line. Needs root."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import jinja2
import pytest

TEMPLATE = Path(__file__).resolve().parents[3] / "roles/processes/templates/ds01-proc.service.j2"
ALICE, BOB, SEER = 54331, 54332, 54333

# Below a /proc of its own: runs the commands of argv[1], starts a process of ALICE with a secret in its command line, and prints
# whether each of the (uid, groups) in argv[2] finds it.
LOOK = """
import json, os, subprocess, sys
for argv in json.loads(sys.argv[1]):
    subprocess.run(argv, check=True)
alice, watchers = json.loads(sys.argv[2])
secret = subprocess.Popen(["sleep", "1000.4242"], user=alice, group=alice, extra_groups=[])

def finds():
    for name in os.listdir("/proc"):
        try:
            if "sleep\\0" + "1000.4242" in open(f"/proc/{name}/cmdline").read():
                return True
        except (OSError, ValueError):
            continue
    return False

seen = []
for uid, groups in watchers:
    child = os.fork()
    if child == 0:
        os.setgroups(groups)
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
        os._exit(0 if finds() else 42)
    seen.append({0: True, 42: False}[os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])])
secret.kill()
print(json.dumps(seen))
"""


def command(key: str) -> list[str]:
    unit = jinja2.Template(TEMPLATE.read_text(encoding="utf-8")).render(__processes_gid=str(SEER))
    [line] = [line for line in unit.splitlines() if line.startswith(f"{key}=")]
    return line.partition("=")[2].split()


def who_sees(commands: list[list[str]]) -> dict[str, bool]:
    assert os.geteuid() == 0, "these tests mount /proc and act for several people: run them as root"
    watchers = {"root": (0, []), "alice": (ALICE, []), "bob": (BOB, []), "in the group": (BOB, [SEER])}
    inside = [sys.executable, "-c", LOOK, json.dumps(commands), json.dumps([ALICE, list(watchers.values())])]
    done = subprocess.run(["unshare", "--mount", "--pid", "--fork", "--mount-proc", *inside], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return dict(zip(watchers, json.loads(done.stdout), strict=True))


def test_people_see_their_own_processes_and_root_and_the_group_all() -> None:
    assert who_sees([command("ExecStart")]) == {"root": True, "alice": True, "bob": False, "in the group": True}


def test_stopping_the_unit_takes_it_back() -> None:
    assert who_sees([command("ExecStart"), command("ExecStop")])["bob"]


def test_without_the_unit_everybody_sees_everything() -> None:
    assert who_sees([])["bob"], "the host of the tests hides processes already: these tests would prove nothing"


@pytest.mark.parametrize("key", ["ExecStart", "ExecStop"])
def test_what_systemd_mounts_proc_with_is_kept(key: str) -> None:
    assert {"nosuid", "nodev", "noexec"} <= set(command(key)[2].split(","))
