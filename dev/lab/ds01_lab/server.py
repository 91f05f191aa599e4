# SPDX-License-Identifier: MIT
"""A server's life: up, reset, snapshot, down.

What a server is now stands in servers/<name>/server.json: image, level, port, accelerator, and the ssh settings that others
(the inventory, the tests) use.
"""

from __future__ import annotations

import json
import shutil
import socket
import time
import uuid
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path

from . import levels
from .accelerator import choose
from .disks import DISKS, overlay
from .failure import LabError
from .image import BARE, BASE, build
from .keys import HOST_ALIAS, KNOWN_HOSTS
from .levels import Level
from .locks import alone
from .machine import Machine, memory_key
from .places import IDENTITY, IMAGES, SERVERS, make_directories
from .process import say
from .qmp import Qmp
from .remote import close_shared, wait_ready

# An idle machine needs 60 s emulated; one that builds and tests besides has been seen to need ten times that.
BOOT_LIMIT_S = 1200.0
RESUME_LIMIT_S = 300.0
MEMORY_LIMIT_S = 600.0
NO_LIMIT_BYTES_S = 10 * 1024**3
IMAGE_LEVELS = (BARE, BASE)


@dataclass(frozen=True)
class State:
    """The content of server.json."""

    name: str
    level: str
    level_id: str
    image: str
    accelerator: str
    port: int
    host: str = "127.0.0.1"
    identity: str = str(IDENTITY)
    known_hosts: str = str(KNOWN_HOSTS)
    host_alias: str = HOST_ALIAS


def directory(name: str) -> Path:
    """Where the server of that name lives."""
    if not name.replace("-", "").isalnum():
        raise LabError(f"{name!r} is no name for a server; use letters, digits and -")
    return SERVERS / name


def read_state(name: str) -> State | None:
    """The recorded state, or None when there is no such server."""
    try:
        return State(**json.loads((directory(name) / "server.json").read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None


def machine_of(state: State) -> Machine:
    """The QEMU machine that belongs to a state."""
    return Machine(directory(state.name), IMAGES / state.image, state.accelerator, state.port)


def running(name: str) -> State | None:
    """The state of a server whose QEMU runs, else None."""
    state = read_state(name)
    return state if state is not None and machine_of(state).pid() is not None else None


def need_running(name: str) -> State:
    """The state of a running server; LabError when it does not run."""
    state = running(name)
    if state is None:
        raise LabError(f"server {name} is not up; run `dev/lab/lab up --name {name}`")
    return state


def _alone(name: str) -> AbstractContextManager[None]:
    make_directories()
    return alone(SERVERS / f".{name}.lock")


def up(name: str, level: str) -> State:
    """Makes sure that the server runs; a running one is left as it is, whatever its level."""
    with _alone(name):
        state = running(name)
        return state if state is not None else _start(name, level)


def reset(name: str, level: str | None) -> State:
    """A fresh server from a level, by default the one that it was started from."""
    with _alone(name):
        state = read_state(name)
        _stop(name)
        return _start(name, level or (state.level if state else BASE))


def down(name: str) -> None:
    """Ends the server and forgets its changes."""
    with _alone(name):
        _stop(name)
        if directory(name).is_dir():
            shutil.rmtree(directory(name))
        with levels.store_lock():
            levels.remove_unused()


def snapshot(name: str, level_name: str) -> State:
    """Freezes the running server as a level and lets it go on from there."""
    if level_name in IMAGE_LEVELS:
        raise LabError(f"{level_name} is made from the image; choose another name")
    with _alone(name):
        return _freeze(need_running(name), level_name)


def reboot(name: str, *, hard: bool = False) -> None:
    """Restarts the running server and waits until its start is finished; with hard as by the reset button: nothing is written."""
    with _alone(name):
        state = need_running(name)
        machine = machine_of(state)
        before = _boot_id(state)
        close_shared(directory(name), state.port)
        if hard:
            with Qmp(machine.qmp) as qmp:
                qmp.command("system_reset")
        else:
            _as_root(state, "systemctl reboot", RESUME_LIMIT_S)
        started = time.monotonic()
        wait_ready(
            directory(name),
            state.port,
            f"test $(cat /proc/sys/kernel/random/boot_id) != {before}",
            BOOT_LIMIT_S,
            lambda: machine.pid() is not None,
        )
        _wait(state, BOOT_LIMIT_S)
        say(f"{name}: restarted in {time.monotonic() - started:.0f} s")


def _boot_id(state: State) -> str:
    return _as_root(state, "cat /proc/sys/kernel/random/boot_id", RESUME_LIMIT_S).strip()


def _as_root(state: State, command: str, limit_s: float) -> str:
    machine = machine_of(state)
    return wait_ready(directory(state.name), state.port, command, limit_s, lambda: machine.pid() is not None)


def _stop(name: str) -> None:
    state = read_state(name)
    if state is not None:
        close_shared(directory(name), state.port)
        machine_of(state).kill()


def _start(name: str, level_name: str) -> State:
    if level_name in IMAGE_LEVELS:
        image = build(level_name)
        with levels.making(level_name):
            level = levels.find(level_name)
            if level is None or level.image != image.name:
                return _first_boot(name, level_name, image)
    else:
        level = levels.find(level_name)
    if level is None:
        raise LabError(f"no level {level_name!r}; there are: {', '.join(levels.names()) or 'none'}. `lab snapshot {level_name}` makes it")
    return _from_level(name, level_name, level)


def _first_boot(name: str, level_name: str, image: Path) -> State:
    state = _prepare(name, level_name, "", image, image)
    machine = machine_of(state)
    say(f"first boot of {image.name} with {state.accelerator} (about a minute when emulated)")
    started = time.monotonic()
    machine.start(incoming=False)
    _wait(state, BOOT_LIMIT_S)
    say(f"{name}: booted in {time.monotonic() - started:.0f} s")
    return _freeze(state, level_name)


def _from_level(name: str, level_name: str, level: Level) -> State:
    image = IMAGES / level.image
    if not image.is_dir():
        raise LabError(f"level {level_name}: its image {level.image} is no longer in the cache; make the level again")
    with levels.store_lock():
        if not (level.directory / "level.json").is_file():
            raise LabError(f"level {level_name} was replaced by a newer one in this moment; try again")
        state = _prepare(name, level_name, level.identifier, image, level.directory)
    machine = machine_of(state)
    with_memory = bool(level.memory_key) and level.memory_key == memory_key(image, state.accelerator) and level.memory.is_file()
    started = time.monotonic()
    machine.start(incoming=with_memory)
    if with_memory:
        _load_memory(machine, level.memory)
    _wait(state, RESUME_LIMIT_S if with_memory else BOOT_LIMIT_S)
    say(f"{name}: level {level_name} {'resumed' if with_memory else 'booted'} in {time.monotonic() - started:.1f} s")
    return state


def _prepare(name: str, level_name: str, level_id: str, image: Path, disks_in: Path) -> State:
    home = directory(name)
    home.mkdir(parents=True, exist_ok=True)
    for disk in DISKS:
        overlay(disks_in / disk.file, home / disk.file)
    state = State(name, level_name, level_id, image.name, choose(image), _free_port())
    (home / "server.json").write_text(json.dumps(asdict(state), indent=2), encoding="utf-8")
    return state


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(state: State, limit_s: float) -> None:
    machine = machine_of(state)
    # One command: is it reachable, is its start finished, and what time is it. `degraded` is a finished start too.
    command = (
        f"date -u -s @{{now}} >/dev/null; hostname {state.name}; "
        'state=$(systemctl is-system-running --wait || true); test "$state" = running -o "$state" = degraded && echo $state'
    )
    wait_ready(directory(state.name), state.port, command.format(now=int(time.time()) + 1), limit_s, lambda: machine.pid() is not None)


def _load_memory(machine: Machine, memory: Path) -> None:
    with Qmp(machine.qmp) as qmp:
        qmp.command("migrate-incoming", uri=f"exec:cat {memory}")
        qmp.wait_migration(MEMORY_LIMIT_S)
        qmp.command("cont")


def _freeze(state: State, level_name: str) -> State:
    machine = machine_of(state)
    home = directory(state.name)
    image = IMAGES / state.image
    level = Level(uuid.uuid4().hex[:12], state.image, state.level_id, memory_key(image, state.accelerator))
    started = time.monotonic()
    _as_root(state, "sync", RESUME_LIMIT_S)
    close_shared(home, state.port)
    level.directory.mkdir(parents=True)
    with Qmp(machine.qmp) as qmp:
        qmp.command("stop")
        qmp.command("migrate-set-parameters", **{"max-bandwidth": NO_LIMIT_BYTES_S})
        qmp.command("migrate", uri=f"exec:cat >{level.memory}")
        qmp.wait_migration(MEMORY_LIMIT_S)
        qmp.command("quit")
    _wait_gone(machine)
    with levels.store_lock():
        levels.store(level_name, level, home)
    fresh = _from_level(state.name, level_name, level)
    with levels.store_lock():
        levels.remove_unused()
    say(f"{state.name}: level {level_name} stored in {time.monotonic() - started:.0f} s")
    return fresh


def _wait_gone(machine: Machine) -> None:
    deadline = time.monotonic() + 20
    while machine.pid() is not None:
        if time.monotonic() > deadline:
            raise LabError(f"QEMU of {machine.directory.name} did not end after its memory was saved")
        time.sleep(0.05)
