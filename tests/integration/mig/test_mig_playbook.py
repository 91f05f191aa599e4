# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""mig_partition as Ansible carries it to a host: packed, run by another interpreter, with the binding found by its name."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.mig_simulator import ROOT, Simulator, load_library

RUNS = ("check", "real", "again", "check_again")


def playbook(sim: Simulator, answer: Path) -> list[dict[str, Any]]:
    """Check, real, again and check again in one play, which leaves all results in a file."""
    options = {
        "gpus": [{"gpu": 0, "mode": "off"}, {"gpu": "all", "layout": "all-balanced"}],
        "purge": True,
        "paths": {
            "lock": str(sim.paths.lock),
            "devices": str(sim.paths.devices),
            "cdi_base": str(sim.paths.cdi_base),
            "claims": str(sim.directory / "claims"),
            "claims_lock": str(sim.directory / "claims.lock"),
        },
    }
    tasks: list[dict[str, Any]] = [
        {"ds01.infra.mig_partition": options, "check_mode": name.startswith("check"), "diff": True, "register": f"run_{name}"}
        for name in RUNS
    ]
    content = "{{ [" + ", ".join(f"run_{name}" for name in RUNS) + "] | to_json }}"
    tasks.append({"ansible.builtin.copy": {"content": content, "dest": str(answer), "mode": "0600"}})
    return [{"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": tasks}]


@pytest.mark.slow
def test_check_real_again(sim: Simulator) -> None:
    sim.write("gpu 0 model=a100-40gb mig_mode=1 mig_pending=1", "gpu 1 model=h100-80gb")
    book, answer = sim.directory / "play.json", sim.directory / "answer.json"
    book.write_text(json.dumps(playbook(sim, answer)))
    environment = os.environ | {
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".cache" / "collections"),
        "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
        "LD_LIBRARY_PATH": str(load_library()),
    }
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "--inventory=localhost,", str(book)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    check, real, again, check_again = json.loads(answer.read_text())
    assert [r["changed"] for r in (check, real, again, check_again)] == [True, True, False, False]
    assert (check["actions"], check["gpus"], check["diff"]) == (real["actions"], real["gpus"], real["diff"])
    assert (sim.mode(0), len(sim.standing(1))) == (("0", "0"), 4)
