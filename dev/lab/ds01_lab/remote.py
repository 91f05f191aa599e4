# SPDX-License-Identifier: MIT
"""ssh and scp to a server, over one shared connection a person."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from .failure import LabError
from .keys import HOST_ALIAS, KNOWN_HOSTS
from .places import IDENTITY
from .process import say


def options(directory: Path, *, shared: bool = True) -> list[str]:
    """ssh options for a server whose state lies in directory."""
    settings = {
        "IdentityFile": str(IDENTITY),
        "IdentitiesOnly": "yes",
        "UserKnownHostsFile": str(KNOWN_HOSTS),
        "HostKeyAlias": HOST_ALIAS,
        "StrictHostKeyChecking": "yes",
        "LogLevel": "ERROR",
        "ConnectTimeout": "20",
        "ServerAliveInterval": "15",
    }
    if shared:
        settings |= {"ControlMaster": "auto", "ControlPersist": "300", "ControlPath": str(directory / "ssh-%r")[:90]}
    return [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]


def ssh_argv(directory: Path, port: int, user: str, command: Sequence[str], *, shared: bool = True) -> list[str]:
    """The command line of ssh; command goes to the remote shell as it is."""
    return ["ssh", *options(directory, shared=shared), "-p", str(port), "-l", user, "127.0.0.1", *command]


def scp_argv(directory: Path, port: int, paths: Sequence[str]) -> list[str]:
    """The command line of scp; remote paths are written USER@lab:PATH or lab:PATH (root)."""
    translated = []
    for path in paths:
        user, found, rest = path.partition("lab:")
        translated.append(f"{user or 'root@'}127.0.0.1:{rest}" if found and (not user or user.endswith("@")) else path)
    return ["scp", "-q", "-r", *options(directory), "-P", str(port), *translated]


def wait_ready(directory: Path, port: int, command: str, limit_s: float, alive: Callable[[], bool]) -> str:
    """Tries a command as root until it succeeds; returns its output. LabError when QEMU ended or time is up."""
    started = time.monotonic()
    said = started
    last = ""
    while time.monotonic() - started < limit_s:
        if not alive():
            raise LabError(f"QEMU ended; the end of {directory / 'serial.log'}:\n{serial_tail(directory)}")
        try:
            done = subprocess.run(
                ssh_argv(directory, port, "root", [command], shared=False), capture_output=True, text=True, timeout=60, check=False
            )
            if done.returncode == 0:
                return done.stdout
            last = done.stderr.strip() or f"exit {done.returncode}"
        except subprocess.TimeoutExpired:
            last = "no answer within 60 s"
        if time.monotonic() - said > 15:
            said = time.monotonic()
            say(f"waiting for {directory.name}, {said - started:.0f} of at most {limit_s:.0f} s: {last}")
        time.sleep(0.3)
    raise LabError(f"{directory.name}: not ready within {limit_s:.0f} s ({last}); the end of the console:\n{serial_tail(directory)}")


def serial_tail(directory: Path, lines: int = 15) -> str:
    """The end of the server's console."""
    try:
        return "\n".join((directory / "serial.log").read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])
    except OSError:
        return "(no console output)"


def close_shared(directory: Path, port: int) -> None:
    """Ends the shared connections, so that a saved memory holds no session of theirs."""
    for control in directory.glob("ssh-*"):
        user = control.name.removeprefix("ssh-")
        subprocess.run(
            ["ssh", "-o", f"ControlPath={control}", "-O", "exit", "-p", str(port), "-l", user, "127.0.0.1"],
            capture_output=True,
            check=False,
        )
        control.unlink(missing_ok=True)
