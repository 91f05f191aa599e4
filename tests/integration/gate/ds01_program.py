# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The command ds01 as an ordinary person runs it: copied to where they may read it, with pipes or at a terminal, at the gate's socket."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.integration.gate.people import Desk
from tests.integration.gate.terminal import Terminal, at_terminal

REPOSITORY = Path(__file__).resolve().parents[3]
PYTHON = "/usr/bin/python3"
"""What servers run it with; not the environment's, which may lie where only root may read."""


def install(place: Path, client: Path) -> Path:
    """Copy the programs, and a docker program that people find on their PATH; the directory."""
    installed = place / "ds01"
    if not installed.exists():
        shutil.copytree(REPOSITORY / "plugins" / "module_utils", installed / "lib" / "ds01", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copytree(REPOSITORY / "files" / "ds01_cli", installed / "lib" / "ds01_cli", ignore=shutil.ignore_patterns("__pycache__"))
        (installed / "bin").mkdir()
        _program(installed / "bin" / "docker", f'exec {client}/ld.so --library-path {client} {client}/docker "$@"')
        _program(installed / "bin" / "ds01", f'exec env PYTHONPATH={installed}/lib {PYTHON} -B -m ds01_cli "$@"')
        subprocess.run(["chmod", "-R", "a+rX", str(installed)], check=True)
    return installed


def _program(path: Path, line: str) -> None:
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)


@dataclass
class Program:
    """ds01 for one person at one gate."""

    desk: Desk
    installed: Path

    def command(self, *arguments: str) -> list[str]:
        """The command line."""
        lab = self.desk.lab
        return lab.with_accounts(*lab.as_person(self.desk.person, str(self.installed / "bin" / "ds01"), *arguments))

    @property
    def home(self) -> Path:
        """The person's home."""
        assert self.desk.person is not None
        return self.desk.person.home

    def environment(self, **more: str) -> dict[str, str]:
        """What is set for it."""
        plain = self.desk.lab.environment(self.desk.person)
        path = f"{self.installed / 'bin'}:{plain['PATH']}"
        return {**plain, "PATH": path, "DS01_GATE_SOCKET": str(self.desk.gate.socket), "TERM": "xterm", "COLUMNS": "80", **more}

    def __call__(self, *arguments: str, stdin: str = "", **more: str) -> subprocess.CompletedProcess[str]:
        """Run it with pipes."""
        return subprocess.run(
            self.command(*arguments),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=120,
            env=self.environment(**more),
            cwd=self.home,
            check=False,
        )

    def must(self, *arguments: str) -> str:
        """Run it; it must succeed. Its output."""
        done = self(*arguments)
        assert done.returncode == 0, f"ds01 {' '.join(arguments)}: {done.stdout}{done.stderr}"
        return done.stdout

    def json(self, *arguments: str) -> Any:
        """Run it with --json; it must succeed. The document."""
        return json.loads(self.must(*arguments, "--json"))

    def refused(self, *arguments: str) -> str:
        """Run it; it must fail with a message that is no traceback. The message."""
        done = self(*arguments)
        assert done.returncode == 1, f"ds01 {' '.join(arguments)}: status {done.returncode}: {done.stdout}{done.stderr}"
        assert "Traceback" not in done.stderr
        return done.stderr

    @contextlib.contextmanager
    def terminal(self, *arguments: str, **more: str) -> Iterator[Terminal]:
        """Run it at a terminal."""
        with at_terminal(self.command(*arguments), self.environment(**more), self.home) as opened:
            yield opened
