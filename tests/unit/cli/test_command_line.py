# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The whole command line: every command has examples that parse and ``--json``, docs/cli.md says the same, and bash completes it."""

from __future__ import annotations

import itertools
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from ds01_cli.__main__ import main, parser
from ds01_cli.command_tree import Node, tree
from ds01_cli.completion_script import bash_script

ROOT = Path(__file__).resolve().parents[3]
LEAVES = [node for node in tree(parser()) if not node.children]
# What has no document to print: terminals, a wizard, scripts, what is JSON anyway.
NO_JSON = {"greeting", "container attach", "container exec", "container logs", "setup", "completion", "policy schema", "reserve remove"}


def examples_of(node: Node) -> list[str]:
    """The command lines in a command's epilog, without what is said about them."""
    lines = (node.parser.epilog or "").partition("examples:\n")[2].splitlines()
    return [re.split(r" {2,}", line.strip())[0] for line in lines if line.strip().removeprefix("sudo ").startswith("ds01 ")]


@pytest.mark.parametrize("node", LEAVES, ids=lambda node: node.path)
def test_every_command_has_examples_and_they_parse(node: Node) -> None:
    found = examples_of(node)
    assert found, f"ds01 {node.path}: no examples"
    assert (node.parser.epilog or "").count("examples:") == 1
    for line in found:
        words = list(itertools.takewhile(lambda word: word not in (">", "|"), shlex.split(line.removeprefix("sudo "))))[1:]
        assert parser().parse_args(words).run, line


@pytest.mark.parametrize("node", [node for node in LEAVES if node.path not in NO_JSON], ids=lambda node: node.path)
def test_every_command_has_json(node: Node) -> None:
    assert any("--json" in action.option_strings for action in node.parser._actions)


@pytest.mark.parametrize(
    "node", [node for node in tree(parser()) if node.path.split(" ")[0] in ("container", "image", "setup", "devcontainer")]
)
def test_help_fits_eighty_columns(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for line in node.parser.format_help().splitlines():
        assert len(line) <= 80 or line.strip().startswith("ds01 "), line


def test_the_reference_is_what_the_command_line_says() -> None:
    written = subprocess.run(
        [sys.executable, "-c", "import write_cli_docs as d, sys; sys.stdout.write(d.text())"],
        cwd=ROOT / "dev",
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert (ROOT / "docs" / "cli.md").read_text(encoding="utf-8") == written, "run: python dev/write_cli_docs.py"
    headings = set(re.findall(r"^## ds01 (.+)$", written, re.MULTILINE))
    assert headings == {node.path for node in LEAVES if not node.path.startswith("admin ")} - {"quota"}


def test_exit_codes(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DS01_GATE_SOCKET", str(tmp_path / "nothing"))
    assert main(["container", "list"]) == 1
    assert "does not answer" in capsys.readouterr().err
    with pytest.raises(SystemExit) as caught:
        main(["container", "dance"])
    assert caught.value.code == 2


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the script, and a ds01 that knows containers with ugly names."""
    place = tmp_path_factory.mktemp("completion")
    (place / "ds01.bash").write_text(bash_script(parser()))
    program = place / "ds01"
    names = "train-1 train-2 web '$(touch owned)' '`touch owned`'"
    program.write_text(f"#!/bin/sh\ncase $2 in containers) printf '%s\\n' {names} ;; images) echo work ;; esac\n")
    program.chmod(0o755)
    (place / "notes.txt").touch()
    return place


def complete(place: Path, *words: str) -> list[str]:
    """What bash offers for the last word."""
    script = (
        'source ds01.bash; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _ds01; ((${#COMPREPLY[@]})) && printf "%s\\n" "${COMPREPLY[@]}"; true'
    )
    command = ["bash", "--norc", "--noprofile", "-c", script, "bash", "./ds01", *words]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=True, env={"PATH": os.environ["PATH"]})
    assert done.stderr == ""
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("cont",), ["container"]),
        (("container", "st"), ["stats", "start", "stop"]),
        (("container", "stats", "--w"), ["--watch"]),
        (("container", "stop", "tr"), ["train-1", "train-2"]),
        (("container", "stop", "train-1", "w"), ["web"]),
        (("image", "update", ""), ["work"]),
        (("image", "build", "x", "--preset", ""), ["ml", "cv", "nlp", "llm"]),
        (("image", "build", "x", "--requirements", "no"), ["notes.txt"]),
        (("queue", "j"), ["join"]),
        (("policy", "check", "no"), ["notes.txt"]),
        (("image", "build", "x", "--description", ""), []),
        (("nonsense", "x"), []),
    ],
)
def test_bash_completes(shell: Path, words: tuple[str, ...], expected: list[str]) -> None:
    assert complete(shell, *words) == expected


def test_names_are_data_to_the_shell(shell: Path) -> None:
    assert complete(shell, "container", "remove", "$") == ["$(touch owned)"]
    assert complete(shell, "container", "remove", "`") == ["`touch owned`"]
    assert not (shell / "owned").exists()


def test_what_the_role_installs_takes_the_script_of_the_release_in_force(shell: Path) -> None:
    program = shell / "release"
    program.write_text(f'#!/bin/sh\n[ "$*" = "completion bash" ] && exec cat {shell}/ds01.bash\n')
    program.chmod(0o755)
    text = (ROOT / "roles/runtime/files/ds01.bash").read_text(encoding="utf-8").replace("/usr/local/bin/ds01", str(program))
    done = subprocess.run(["bash", "--norc", "-c", f"{text}\ncomplete -p ds01"], capture_output=True, text=True, check=True)
    assert done.stdout == "complete -F _ds01 ds01\n"


def test_the_script_completes_all_commands(shell: Path) -> None:
    top = next(iter(tree(parser())))
    assert complete(shell, "") == list(top.children)
