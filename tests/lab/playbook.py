# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Runs the playbooks against the lab server and tells what they did and what that cost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.lab.server_access import ROOT


@dataclass(frozen=True)
class Run:
    """One run of a playbook: exit status, everything it printed, the tasks that changed something, and the number of module runs."""

    code: int
    text: str
    changed: tuple[str, ...]
    module_runs: int
    seconds: float
    dearest: tuple[tuple[str, float], ...]


def play(name: str, *arguments: str, playbook: str = "site.yml", limit_s: float = 1800) -> Run:
    """Run a playbook against the server ``name``; ``arguments`` are ansible-playbook's."""
    inventory = Path(os.environ.get("DS01_LAB_INVENTORY", ROOT / "inventories" / "lab"))
    with tempfile.TemporaryDirectory(prefix="ds01-play-") as directory:
        cost = Path(directory) / "cost.json"
        environment = {
            **os.environ,
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".cache" / "collections"),
            "ANSIBLE_CALLBACK_PLUGINS": str(ROOT / "dev" / "callback_plugins"),
            "ANSIBLE_CALLBACKS_ENABLED": "task_cost",
            "TASK_COST_FILE": str(cost),
        }
        command = [
            str(Path(sys.executable).with_name("ansible-playbook")),
            "-i",
            str(inventory),
            "--limit",
            name,
            str(ROOT / "playbooks" / playbook),
            *arguments,
        ]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT, timeout=limit_s, check=False)
        figures = json.loads(cost.read_text()) if cost.exists() else {"changed": [], "module_runs": 0, "seconds": 0, "tasks": []}
    dearest = tuple((task["task"], task["seconds"]) for task in figures["tasks"][:8])
    return Run(done.returncode, done.stdout + done.stderr, tuple(figures["changed"]), figures["module_runs"], figures["seconds"], dearest)
