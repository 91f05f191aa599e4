# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""What an exec may bring: the words of a command are no capability, and a file that cannot be judged starts nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ds01_guard import main, reporting

from ds01.core.oci_facts import DEFAULT_CAPABILITIES
from ds01.core.oci_rules import exec_violations

SETS = ("bounding", "effective", "inheritable", "permitted", "ambient")


def _process(**more: Any) -> dict[str, Any]:
    usual = sorted(DEFAULT_CAPABILITIES)
    return {"args": ["sh"], "env": ["PATH=/bin"], "capabilities": {"bounding": usual, "effective": usual, "permitted": usual}, **more}


@pytest.mark.parametrize(
    "process",
    [
        _process(),
        _process(args=["echo", "CAP_SYS_ADMIN"]),
        _process(env=['X="CAP_SYS_ADMIN"']),
        _process(args=["sh", "-c", '{"capabilities": {"bounding": ["CAP_SYS_ADMIN"]}}']),
        _process(capabilities={}),
        _process(capabilities=None),
    ],
)
def test_an_ordinary_exec_goes_on(process: dict[str, Any]) -> None:
    assert exec_violations(process) == []


@pytest.mark.parametrize("name", SETS)
def test_each_set_is_looked_at(name: str) -> None:
    assert [v.where for v in exec_violations(_process(capabilities={name: ["CAP_CHOWN", "CAP_SYS_ADMIN"]}))] == [
        f"process.capabilities.{name}"
    ]


@pytest.mark.parametrize(
    "process", [None, [], "x", _process(Capabilities={}), {"capabilitie\u017f": {}}, _process(capabilities={"new": []})]
)
def test_what_containerd_does_not_write_is_refused(process: object) -> None:
    assert exec_violations(process)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """What clients were told; the journal is not written."""
    lines: list[str] = []
    monkeypatch.setattr(main, "SETTINGS", str(tmp_path / "guard.json"))
    monkeypatch.setattr(reporting, "to_client", lambda message, log: lines.append(message))
    monkeypatch.setattr(reporting, "to_journal", lambda event: None)
    return lines


def test_refusals_say_why_and_what_next(told: list[str], tmp_path: Path) -> None:
    process = tmp_path / "process.json"
    arguments = ["/usr/bin/runc", "exec", "--process", str(process), "box"]
    process.write_text(json.dumps(_process(capabilities={"bounding": ["CAP_SYS_ADMIN"]})))
    assert main.exec_refused(str(process), arguments)
    assert "CAP_SYS_ADMIN" in told[0] and "docker exec without --privileged" in told[0]
    (tmp_path / "guard.json").write_text('{"mode": "observe"}')
    assert not main.exec_refused(str(process), arguments)
    process.write_text(json.dumps(_process(args=["echo", "CAP_SYS_ADMIN"])))
    assert not main.exec_refused(str(process), arguments)


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "{",
        "[]",
        '{"capabilities": 7}',
        '{"capabilities": {"bounding": 7}}',
        '{"capabilities": {"bounding": [{}]}}',
        "[" * 100_000,
    ],
)
def test_a_file_that_cannot_be_judged_starts_nothing(told: list[str], tmp_path: Path, text: str | None) -> None:
    process = tmp_path / "process.json"
    if text is not None:
        process.write_text(text)
    assert main.exec_refused(str(process), ["/usr/bin/runc", "exec", "--process", str(process), "box"])
    assert "exec refused" in told[0]
