# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""``ds01 policy``: what it prints, and how it exits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ds01_cli.__main__ import main

ROOT = Path(__file__).resolve().parents[3]
EXAMPLE = str(ROOT / "inventories/example/group_vars/all/policy.yml")
GOOD = '{"version": 1, "default_group": "all", "groups": {"all": {}}}'


def test_the_example_lab_is_good(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["policy", "check", EXAMPLE]) == 0
    assert capsys.readouterr().out == f"{EXAMPLE}: good; 4 groups, 2 single users\n"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("policy.json", GOOD),
        ("policy.yml", "version: 1\ndefault_group: all\ngroups:\n  all:\n"),
        ("all.yml", "other: 1\nds01_policy:\n  version: 1\n  default_group: all\n  groups: {all: {}}\n"),
        ("vars.json", f'{{"ds01_policy": {GOOD}}}'),
        ("merge.yml", "version: 1\ndefault_group: a\ngroups:\n  a: &a {priority: 1}\n  b:\n    <<: *a\n    priority: 2\n"),
    ],
)
def test_forms_of_a_policy(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    assert main(["policy", "check", str(tmp_path / name)]) == 0


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("a.yml", "version: 1\nversion: 1\n", "the key 'version' stands twice"),
        ("a.yml", "groups:\n  a: {}\n  b: {}\n  a: {}\n", "line 2: in the mapping that begins here, the key 'a' stands twice"),
        ("a.yml", "a: [", "is not YAML"),
        ("a.yml", "a: !!python/object/apply:os.system [id]\n", "is not YAML"),
        ("a.yml", "? [a]\n: 1\n", "is not YAML"),
        ("a.json", "{", "is not JSON"),
        ("a.json", '{"a": 1, "a": 2}', "stands twice"),
    ],
)
def test_what_is_no_document(tmp_path: Path, name: str, text: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / name).write_text(text)
    assert main(["policy", "check", str(tmp_path / name)]) == 1
    assert told in capsys.readouterr().err


def test_a_missing_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["policy", "check", "/nowhere/policy.yml"]) == 1
    assert "/nowhere/policy.yml: can't be read: No such file or directory" in capsys.readouterr().err


def test_every_mistake_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "policy.yml"
    path.write_text("version: 1\ndefault_group: all\ngroups: {all: {}}\ngate: {mode: off, build: 1}\ndefaults: {container: {memory: 5}}\n")
    assert main(["policy", "check", str(path)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" ")[1] for line in lines[:-1]] == ["defaults.container.memory", "gate.build:", "gate.mode"]
    assert lines[-1] == f"{path}: 3 mistakes"
    assert main(["policy", "check", "--json", str(path)]) == 1
    document = json.loads(capsys.readouterr().out)
    assert (document["good"], [p["key"] for p in document["problems"]]) == (False, ["defaults.container.memory", "gate.build", "gate.mode"])


def test_explain(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["policy", "explain", "h.baker@example.org", "--file", EXAMPLE, "--linux-group", "researchers"]) == 0
    captured = capsys.readouterr()
    rows = {line.split()[0]: line for line in captured.out.splitlines()[2:]}
    assert rows["group"].split(maxsplit=2)[1:] == ["researcher", "Linux group researchers"]
    assert rows["lifecycle.runtime"].split(maxsplit=2)[1:] == ["7d", "user h.baker@example.org"]
    assert rows["container.memory"].split(maxsplit=3)[1:] == ["64", "GiB", "group researcher"]
    assert rows["container.pids"].split(maxsplit=2)[1:] == ["4096", "defaults"]
    assert "not known on this machine" in captured.err
    assert "\x1b" not in captured.out
    # Aligned: the last column begins at one place in every row.
    heading = captured.out.splitlines()[2]
    assert {line[heading.index("SET BY") - 1] for line in captured.out.splitlines()[2:]} == {" "}


def test_explain_for_a_kind_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["policy", "explain", "root", "--file", EXAMPLE, "--kind", "devcontainer", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["uid"], document["safe_name"], document["kind"]) == (0, "root-u0", "devcontainer")
    settings = {row["key"]: row for row in document["settings"]}
    assert settings["lifecycle.idle"] == {"key": "lifecycle.idle", "value": None, "text": "never", "set_by": "kind devcontainer"}
    assert settings["container.memory"]["value"] == 32 * 2**30
    assert settings["gpu.profiles"]["value"] == ["1g.5gb", "2g.10gb"]


def test_explain_with_a_bad_policy_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "policy.json"
    path.write_text("{}")
    assert main(["policy", "explain", "root", "--file", str(path)]) == 1
    assert f"ds01 policy check {path}" in capsys.readouterr().err


def test_schema(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["policy", "schema"]) == 0
    assert capsys.readouterr().out == (ROOT / "docs/policy.schema.json").read_text()
    assert main(["policy", "schema", "--markdown"]) == 0
    assert (ROOT / "docs/policy.md").read_text().endswith(capsys.readouterr().out)
