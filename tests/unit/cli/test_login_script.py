# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The script in /etc/profile.d: a login comes before a greeting, whatever ``ds01`` does."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[3] / "roles/lifecycle/templates/ds01-greeting.sh.j2"


def login(tmp_path: Path, command: str, *, interactive: bool = True, shell: str = "/bin/sh") -> tuple[str, float]:
    """What a login shell prints, and the seconds that it took until its own first command is done."""
    program, script = tmp_path / "ds01", tmp_path / "greeting.sh"
    program.write_text(f"#!/bin/sh\n{command}\n")
    program.chmod(0o755)
    text = SCRIPT.read_text()
    assert "{{" not in text and "{%" not in text, "the script has become a template: render it here"
    script.write_text(text.replace("/usr/local/bin/ds01", str(program)))
    master, slave = pty.openpty()
    before = time.monotonic()
    flags = ["-i"] if interactive else []
    process = subprocess.Popen(
        [shell, *flags, "-c", f". {script}; echo LOGGED-IN-$?"],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
    )
    os.close(slave)
    said = b""
    while select.select([master], [], [], 20)[0]:
        try:
            piece = os.read(master, 4096)
        except OSError:
            break
        said += piece
        if not piece or b"LOGGED-IN" in said:
            break
    took = time.monotonic() - before
    process.wait(20)
    os.close(master)
    return said.decode(errors="replace"), took


@pytest.mark.parametrize("shell", ["/bin/sh", "/bin/bash"])
def test_a_person_at_a_terminal_is_greeted(tmp_path: Path, shell: str) -> None:
    said, _ = login(tmp_path, "echo hello $1", shell=shell)
    assert "hello greeting" in said and "LOGGED-IN-0" in said


def test_a_program_that_hangs_fails_or_shouts_does_not_break_the_login(tmp_path: Path) -> None:
    said, took = login(tmp_path, "exec sleep 60")
    assert "no greeting today" in said and "LOGGED-IN-0" in said
    assert took < 8
    said, _ = login(tmp_path, "echo Traceback >&2; exit 1")
    assert "Traceback" not in said and "no greeting today" in said and "LOGGED-IN-0" in said


def test_a_shell_that_is_not_interactive_hears_nothing(tmp_path: Path) -> None:
    said, _ = login(tmp_path, "echo hello", interactive=False)
    assert said.strip() == "LOGGED-IN-0"
