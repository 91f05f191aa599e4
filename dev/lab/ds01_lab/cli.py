# SPDX-License-Identifier: MIT
"""The command line of the lab."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict

from . import levels, server
from .container_images import KINDS, image_tar
from .failure import LabError
from .image import BARE, BASE, build
from .machine import Machine
from .places import SERVERS
from .remote import scp_argv, ssh_argv


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lab", description="A virtual lab server in QEMU: Debian 13, systemd, Docker, users.")
    commands = parser.add_subparsers(dest="command", required=True)

    def add(name: str, text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        default = os.environ.get("DS01_LAB_NAME") or "lab1"
        sub.add_argument("--name", default=default, help="which server (default DS01_LAB_NAME, else lab1)")
        return sub

    add("build", "Install what the lab needs and build the image.").add_argument("--level", choices=(BARE, BASE), default=BASE)
    add("up", "Start the server if it does not run.").add_argument("--level", default=BASE, help="bare, base or a snapshot's name")
    add("reset", "Throw the server away and start a fresh one.").add_argument("--level", help="default: the level it was started from")
    add("down", "End the server and forget its changes.")
    add("snapshot", "Keep the running server as a level.").add_argument("level", metavar="NAME")
    add("forget", "Remove a level's name, and its files when nothing else needs them.").add_argument("level", metavar="NAME")
    ssh = add("ssh", "Log in, or run a command in a login session.")
    ssh.add_argument("user")
    ssh.add_argument("remote", nargs=argparse.REMAINDER, metavar="COMMAND")
    scp = add("scp", "Copy files; the server's paths are written USER@lab:PATH.")
    scp.add_argument("paths", nargs="+", metavar="PATH")
    add("image", "Make a container image for `docker import`; prints the tar file's path.").add_argument("kind", choices=KINDS)
    add("reboot", "Restart the server, and wait until it is up again.").add_argument(
        "--hard", action="store_true", help="like the reset button: nothing is told, nothing is written"
    )
    status = add("status", "Say which servers and levels there are.")
    status.add_argument("--json", action="store_true")
    return parser


def main(arguments: Sequence[str]) -> int:
    """Runs one subcommand; returns the exit status."""
    options = _parser().parse_args(arguments)
    try:
        return _run(options)
    except LabError as error:
        sys.stderr.write(f"lab: {error}\n")
        return 1


def _run(options: argparse.Namespace) -> int:
    if options.command == "build":
        print(build(options.level))
    elif options.command == "up":
        _announce(server.up(options.name, options.level))
    elif options.command == "reset":
        _announce(server.reset(options.name, options.level))
    elif options.command == "down":
        server.down(options.name)
    elif options.command == "snapshot":
        _announce(server.snapshot(options.name, options.level))
    elif options.command == "forget":
        levels.forget(options.level)
    elif options.command == "reboot":
        server.reboot(options.name, hard=options.hard)
    elif options.command == "image":
        print(image_tar(options.kind))
    elif options.command == "ssh":
        state = server.need_running(options.name)
        argv = ssh_argv(server.directory(options.name), state.port, options.user, options.remote)
        os.execvp(argv[0], argv)
    elif options.command == "scp":
        state = server.need_running(options.name)
        return subprocess.run(scp_argv(server.directory(options.name), state.port, options.paths), check=False).returncode
    else:
        _status(as_json=options.json)
    return 0


def _announce(state: server.State) -> None:
    print(f"{state.name}: level {state.level}, {state.accelerator}, ssh on {state.host}:{state.port}")


def _status(*, as_json: bool) -> None:
    states = [server.read_state(path.parent.name) for path in sorted(SERVERS.glob("*/server.json"))]
    rows = []
    for state in states:
        if state is not None:
            machine: Machine = server.machine_of(state)
            rows.append({**asdict(state), "pid": machine.pid(), "console": str(machine.serial)})
    if as_json:
        print(json.dumps({"servers": rows, "levels": levels.names()}, indent=2))
        return
    for row in rows:
        condition = "up" if row["pid"] else "not running"
        print(f"{row['name']}: {condition}, level {row['level']}, ssh port {row['port']}, console {row['console']}")
    print(f"levels: {', '.join(levels.names()) or 'none yet'}")
