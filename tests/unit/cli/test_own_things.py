# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""What lies in a person's home and on their screen: definitions that may be anything, tables that fit, counters that may be missing."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import pytest
from ds01_cli import image_changes, image_store, questions, ssh_keys
from ds01_cli.container_stats import Look, parse_look, render, uses
from ds01_cli.docker_calls import container_target, query
from ds01_cli.failure import Failure
from ds01_cli.own_containers import OwnContainer
from ds01_cli.screen import table

from ds01.core.image_definition import define


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    return tmp_path


WORK = define("My Work", framework="python", packages=["numpy"], description='"quoted"')


def test_a_definition_is_written_whole_and_read_back(home: Path) -> None:
    path = image_store.write(WORK)
    assert path == home / ".config/ds01/images/my-work.json"
    assert image_store.read("my-work") == WORK
    assert image_store.slugs() == ["my-work"]
    assert [entry.name for entry in path.parent.iterdir()] == ["my-work.json"]
    assert image_store.remove("my-work")
    assert not image_store.remove("my-work")
    assert image_store.read("my-work") is None


def test_a_definition_that_can_not_be_written_leaves_the_old_one(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = image_store.write(WORK)

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Failure, match="No space left"):
        image_store.write(define("My Work", framework="jax"))
    assert image_store.read("my-work") == WORK
    assert [entry.name for entry in path.parent.iterdir()] == ["my-work.json"]


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"version": 1}', "\x00", "[" * 100_000, '{"version": 1, "name": "other", "base": "x"}', "x" * 600_000],
    ids=lambda text: text[:12],
)
def test_a_broken_definition_is_a_message(home: Path, text: str) -> None:
    path = image_store.path_of("my-work")
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with pytest.raises(Failure):
        image_store.read("my-work")


def test_what_is_no_ordinary_file_is_not_read(home: Path) -> None:
    fifo = home / "fifo"
    os.mkfifo(fifo)
    for path in (fifo, Path("/dev/zero"), home, home / "missing"):
        with pytest.raises(Failure):
            image_store.read_text(path, 100)
    (home / "latin").write_bytes(b"\xff\xfe")
    with pytest.raises(Failure, match="UTF-8"):
        image_store.read_text(home / "latin", 100)


def changes(**given: Any) -> argparse.Namespace:
    nothing: dict[str, Any] = dict.fromkeys(("base", "framework", "preset", "requirements", "description"))
    return argparse.Namespace(**{**nothing, "add": [], "remove": [], "add_system": [], "remove_system": [], **given})


def test_changes_replace_versions_and_refuse_what_is_not_there() -> None:
    after = image_changes.changed(WORK, changes(add=["NumPy>=2", "scipy"], add_system=["git"], description="new"))
    assert (after.packages, after.system, after.description, after.base) == (("NumPy>=2", "scipy"), ("git",), "new", WORK.base)
    assert image_changes.changed(after, changes(remove=["numpy"], remove_system=["git"])).packages == ("scipy",)
    with pytest.raises(Failure, match="'pandas' is not among"):
        image_changes.changed(WORK, changes(remove=["pandas"]))
    with pytest.raises(Failure, match="not the name of a Python package"):
        image_changes.changed(WORK, changes(add=["--index-url=x"]))
    assert image_changes.changed(WORK, changes(base="debian:13")).framework is None


def test_the_editor_is_no_shell_and_a_mistake_changes_nothing(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_changes, "interactive", lambda: True)
    editor = home / "my editor"
    editor.write_text('#!/bin/sh\nsed -i "s/numpy/pandas/" "$2"\n')
    editor.chmod(0o755)
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", f"'{editor}' '--wait;touch {home}/owned'")
    assert image_changes.edited(WORK).packages == ("pandas",)
    assert not (home / "owned").exists()
    editor.write_text('#!/bin/sh\necho "{" > "$2"\n')
    with pytest.raises(Failure, match="what you wrote"):
        image_changes.edited(WORK)
    monkeypatch.setenv("EDITOR", "/nowhere/editor")
    with pytest.raises(Failure, match="can't be started"):
        image_changes.edited(WORK)


@pytest.mark.parametrize("name", ["", "a/b", "../images/json", "/"])
def test_no_name_leads_to_another_route(name: str) -> None:
    with pytest.raises(Failure):
        container_target(name, "stop")


def test_names_and_parameters_are_encoded() -> None:
    assert container_target("a?b#c d", "stop", t=5) == "/containers/a%3Fb%23c%20d/stop?t=5"
    assert query(a=True, b=False, c=None, d={"x": ["y&z"]}, e=["1", "2"]) == "a=1&d=%7B%22x%22%3A+%5B%22y%26z%22%5D%7D&e=1&e=2"


def container(name: str = "one", state: str = "running", **more: Any) -> OwnContainer:
    base = {
        "id": name * 3,
        "name": name,
        "user": "alice",
        "image": "x",
        "state": state,
        "status": "Up",
        "created": 0.0,
        "project": "",
        "devices": (),
    }
    return OwnContainer(**{**base, **more})


STATS = {
    "read": "2026-01-01T00:00:01.123456789Z",
    "cpu_stats": {"cpu_usage": {"total_usage": 5_000_000_000}},
    "memory_stats": {"usage": 300, "stats": {"inactive_file": 100}, "limit": 1000},
    "pids_stats": {"current": 4},
}


def test_use_is_the_difference_of_two_looks() -> None:
    now = parse_look(STATS)
    assert now is not None
    assert (now.memory, now.memory_limit, now.pids) == (200, 1000, 4)
    before = Look(now.at - 2, now.cpu_ns - 3_000_000_000, 0, None, 0)
    one = container()
    (found,) = uses([one], {one.id: before}, {one.id: now}, {one.id: 5})
    assert found.cpu_percent == pytest.approx(150)
    assert found.gpu_memory == 5
    assert uses([one], {one.id: now}, {one.id: before}, {})[0].cpu_percent is None  # restarted: the counter began anew
    assert uses([one], {}, {}, {})[0].memory is None


@pytest.mark.parametrize(
    "answer", [{}, {"memory_stats": {}}, {"memory_stats": {"usage": 1}, "cpu_stats": {}}, {"memory_stats": None, "cpu_stats": None}]
)
def test_a_container_that_has_just_ended_tells_nothing(answer: dict[str, Any]) -> None:
    assert parse_look(answer) is None


def test_the_table_is_made_to_fit_and_harmless() -> None:
    found = uses([container("n" * 90, devices=(("GPU-1", None),)), container("evil\x1b[2J")], {}, {}, {})
    text = render(found, width=80)
    assert all(len(line) <= 80 for line in text.splitlines())
    assert "~" in text
    assert "full GPU" in text
    assert "\x1b" not in text
    assert "n" * 90 in render(found)


def test_narrowing_takes_from_the_widest_column_first() -> None:
    lines = table(("A", "B"), [("a" * 50, "b" * 10)], width=40).splitlines()
    assert lines[1] == f"{'a' * 27}~  {'b' * 10}"
    assert table(("A", "B"), [("a" * 5, "b")], width=3).splitlines()[1] == "aaaaa  b"


def test_nobody_is_asked_where_nobody_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(questions, "interactive", lambda: False)
    with pytest.raises(Failure, match="not a terminal"):
        questions.confirmed("Sure?", yes=False)
    assert questions.confirmed("Sure?", yes=True)


def test_answers_are_asked_for_until_one_is_right(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    reading, writing = os.pipe()
    with open(reading, encoding="utf-8") as answers:
        monkeypatch.setattr("sys.stdin", answers)
        os.write(writing, "0\n9\n-1\nx\n²\n2\n".encode())
        # A terminal gives one line at a time; a pipe gives them all, so that what was read ahead is not waited for.
        monkeypatch.setattr(questions.select, "select", lambda *_waits: ([answers], [], []))
        assert questions.chosen("Which", [("a", "first"), ("b", "second")]) == 1
        assert capsys.readouterr().out.count("Not possible:") == 5
        os.close(writing)
        with pytest.raises(KeyboardInterrupt):
            questions.asked("Name", "x", str)


def test_ssh_state_and_keys(home: Path) -> None:
    assert ssh_keys.look(home) == ssh_keys.SshState(None, 0, ())
    public = ssh_keys.make_key(home, "alice; $(id)")
    assert public.read_text().endswith("alice; $(id)\n")
    (home / ".ssh" / "authorized_keys").write_text("# none\n\nssh-ed25519 AAAA x\n")
    (home / ".ssh" / "authorized_keys").chmod(0o666)
    state = ssh_keys.look(home)
    assert (state.own, state.accepted, state.loose) == (public, 1, (home / ".ssh" / "authorized_keys",))
    ssh_keys.tighten(state.loose)
    assert ssh_keys.look(home).loose == ()
    public.unlink()
    with pytest.raises(Failure, match="no key could be made"):
        ssh_keys.make_key(home, "again")  # the private half is there: never overwritten
