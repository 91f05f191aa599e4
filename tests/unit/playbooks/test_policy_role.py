# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Role policy, as a play: a bad policy is refused before anything is written, and check mode promises what a run does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.ds01.infra.tests.unit.core.policy_documents import GOOD, changed

ROOT = Path(__file__).resolve().parents[3]


WRITES = "TASK [ds01.infra.policy : Write the policy]"
NEXT = "TASK [What would come next]"


def play(tmp_path: Path, document: dict[str, Any], *, tasks_from: str = "main") -> tuple[int, str]:
    """Run the role in check mode against this machine; the exit code and what the admin reads."""
    site = [
        {
            "name": "Policy",
            "hosts": "localhost",
            "connection": "local",
            "gather_facts": False,
            "vars": {"ds01_policy": document, "ansible_python_interpreter": sys.executable},
            "tasks": [
                {"name": "Role", "ansible.builtin.include_role": {"name": "ds01.infra.policy", "tasks_from": tasks_from}},
                {"name": "What would come next", "ansible.builtin.debug": {"msg": "next"}},
            ],
        }
    ]
    (tmp_path / "site.yml").write_text(json.dumps(site))
    (tmp_path / "ansible.cfg").touch()
    environment = {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".cache/collections"),
        "ANSIBLE_LOCAL_TEMP": str(tmp_path / "local"),
        "ANSIBLE_REMOTE_TEMP": str(tmp_path / "remote"),
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_CONFIG": str(tmp_path / "ansible.cfg"),
    }
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "--check", "--diff", "-i", "localhost,", str(tmp_path / "site.yml")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, done.stdout + done.stderr


def test_a_good_policy_on_a_bare_host(tmp_path: Path) -> None:
    code, text = play(tmp_path, GOOD)
    assert code == 0, text
    assert WRITES in text
    assert '"default_group": "student"' in text
    assert NEXT in text


@pytest.mark.parametrize("tasks_from", ["main", "check"])
def test_a_bad_policy_stops_the_play_before_anything_is_written(tmp_path: Path, tasks_from: str) -> None:
    bad = changed("defaults/container/memory", 32)
    bad["gate"] = {"mode": "off"}
    code, text = play(tmp_path, bad, tasks_from=tasks_from)
    assert code == 2, text
    assert "The policy has mistakes; nothing was changed." in text
    assert "ds01_policy: defaults.container.memory = 32: expected a size with a unit" in text
    assert "gate.mode" in text
    assert WRITES not in text
    assert NEXT not in text


def test_a_check_alone_writes_nothing_and_shows_warnings(tmp_path: Path) -> None:
    expired = {"user": "a", "from": ["idle"], "reason": "r", "granted_by": "b", "expires": "2001-01-01"}
    code, text = play(tmp_path, changed("exemptions", [expired]), tasks_from="check")
    assert code == 0, text
    assert "has passed, so the exemption has no effect" in text
    assert WRITES not in text
    assert NEXT in text


def test_a_policy_that_is_no_mapping_is_refused_by_the_argument_specification(tmp_path: Path) -> None:
    code, text = play(tmp_path, "nothing")  # type: ignore[arg-type]
    assert code == 2, text
    assert "policy_document" in text
    assert NEXT not in text
