# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""``ds01 setup``: from a new account to a running container, step by step, each explained. It may be run again at any time."""

from __future__ import annotations

import argparse
import sys
import textwrap
from pathlib import Path
from typing import Any

from .deploy_command import how_to_enter
from .devcontainer_command import write_config
from .docker_calls import Refused
from .failure import Failure
from .gate_client import ask
from .image_choice import choose_image
from .launching import NameTaken, checked_name, launch, user_name, usual_name
from .questions import asked, chosen, confirmed, interactive, say
from .screen import amount, paint, size
from .ssh_keys import look, make_key, tighten

_STEPS = 5
_WIDTH = 80


def register(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser("setup", help="step by step to a running container", description=__doc__.split("\n")[0])
    parser.add_argument("--yes", action="store_true", help="take the suggested answer to every question")
    parser.add_argument("--image", metavar="IMAGE", help="the image to start with")
    parser.add_argument("--name", help="what the container is called (default: your name and .work)")
    parser.add_argument("--gpu", metavar="REQUEST", help="all (one device), none, 2, 2g.10gb, memory=20GiB, full")
    parser.add_argument("--workspace", metavar="DIRECTORY", help="your directory for work (default: ~/workspace)")
    parser.add_argument("--no-launch", action="store_true", help="prepare everything and start nothing")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """All steps. Ctrl-C leaves; what is done stays."""
    if not arguments.yes and not interactive():
        raise Failure("setup asks questions, and standard input is not a terminal", "ds01 setup --yes takes the suggested answers")
    try:
        _welcome()
        _ssh(arguments.yes)
        workspace = _workspace(arguments)
        image = choose_image(arguments.image, yes=arguments.yes, step=_step)
        _vscode(workspace, image, arguments.yes)
        return _launch(arguments, workspace, image)
    except KeyboardInterrupt:
        print("\nStopped. What is done stays; go on at any time with: ds01 setup", file=sys.stderr)
        return 130


def _say(text: str) -> None:
    print(textwrap.fill(text, _WIDTH))


def _step(number: int, title: str, text: str) -> None:
    print("\n" + paint(f"Step {number} of {_STEPS}: {title}", "bold"))
    _say(text)


def _welcome() -> None:
    limits = ask("limits")
    container, gpu = limits["container"], limits["gpu"]
    print(paint(f"Welcome, {limits['user']} (group {limits['group']}).", "bold"))
    _say(
        "You work in containers: each is a small computer of its own, made from an image, with your files mounted into it. "
        f"Your limits: containers at once {amount(container['count'])}; CPUs of each {amount(container['cpus'])}, memory of each "
        f"{size(container['memory'])}; GPUs in all {amount(gpu['equivalents'])}, where 1 is a whole one and a part counts as its share. "
        "Leave with Ctrl-C whenever you like; Enter takes what stands in brackets."
    )


def _ssh(yes: bool) -> None:
    _step(
        1,
        "SSH keys",
        "Your own computer logs in here with a key. A key of yours on this server is for other places, such as a Git server: "
        "you give those the public half.",
    )
    home = Path.home()
    state = look(home)
    if state.accepted:
        print(f"Keys in ~/.ssh/authorized_keys that may log in as you: {state.accepted}")
    if state.loose:
        names = ", ".join(map(str, state.loose))
        print(paint(f"Others may write {names}, so that SSH ignores your keys.", "yellow"))
        if confirmed("Take that right from them?", yes=yes, default=True):
            tighten(state.loose)
    if state.own is not None:
        print(f"Your key on this server: {state.own}")
    elif confirmed("You have no key on this server. Make one?", yes=yes, default=True):
        try:
            public = make_key(home, user_name())
            print(f"Made. The public half, to give to a Git server:\n{public.read_text(encoding='utf-8').strip()}")
        except Failure as failure:
            say(failure)


def _checked_directory(text: str) -> Path:
    path = Path(text).expanduser().absolute()
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Failure(f"{path}: {error.strerror}", f"name a directory below {Path.home()}") from None
    roots = [root["path"] for root in ask("limits")["bind_roots"]]
    real = path.resolve()
    if not any(real == Path(root) or Path(root) in real.parents for root in roots):
        raise Failure(f"{real} can't be mounted into a container", f"name a directory below {', '.join(roots) or 'your home'}")
    return real


def _workspace(arguments: argparse.Namespace) -> Path:
    _step(
        2,
        "Your directory for work",
        "It is at /workspace in your containers. What is there stays when they end; everything else in a container is lost "
        "when it is removed.",
    )
    default = arguments.workspace or "~/workspace"
    if arguments.yes or arguments.workspace:
        path = _checked_directory(default)
    else:
        path = asked("Directory", default, _checked_directory)
    print(f"Your work is in {path}")
    return path


def _vscode(workspace: Path, image: str, yes: bool) -> None:
    _step(
        4,
        "VS Code",
        "VS Code can open a folder in a container (extensions Remote-SSH and Dev Containers). It needs a devcontainer.json in "
        "the folder, which asks for the GPU by --gpus all.",
    )
    if not yes and confirmed(f"Write one into {workspace}?", yes=False):
        try:
            print(f"Wrote {write_config(workspace, image, 'all')[0]}")
        except Failure as failure:
            say(failure)
    else:
        print("Later: ds01 devcontainer init")


def _gpu_choice() -> str | None:
    """What the person wants, of what is there; None for no GPU."""
    status = ask("status")
    devices = [device for gpu in status["gpus"] for device in gpu.get("instances", [gpu])]
    free = sum(1 for one in devices if one["state"] == "free")
    profiles: dict[str, list[int]] = {}
    for one in devices:
        count = profiles.setdefault(one.get("profile") or "full", [0, 0])
        count[0] += one["state"] == "free"
        count[1] += 1
    options = [("all", f"the smallest device that is free ({free} of {len(devices)} are)")]
    for profile, (idle, total) in sorted(profiles.items()):
        what = "a whole GPU" if profile == "full" else f"a {profile} slice of a GPU"
        options.append((profile, f"{what} ({idle} of {total} free)"))
    options.append(("none", "no GPU: for editing and for data"))
    picked = options[chosen("Which GPU", options)][0]
    return None if picked == "none" else picked


def _launch(arguments: argparse.Namespace, workspace: Path, image: str) -> int:
    _step(5, "Start", "A container is made from the image, with your directory and a GPU.")
    name = arguments.name or usual_name()
    if arguments.no_launch:
        print(f"Start it later: ds01 container deploy {image} --workspace {workspace}")
        return 0
    if not arguments.yes:
        name = asked("Name of the container", name, checked_name)
        if not confirmed(f"Start {name} from {image}?", yes=False, default=True):
            print(f"Start it later: ds01 container deploy {image} --workspace {workspace}")
            return 0
    gpu = arguments.gpu if arguments.gpu is not None else "all" if arguments.yes else None
    wanted = (None if gpu == "none" else gpu) if gpu is not None else _gpu_choice()
    wait: str | None = None
    while True:
        try:
            launch(name, image, str(workspace), wanted, wait)
            break
        except Refused as refused:
            if arguments.yes:
                raise
            say(refused)
            name, wanted, wait = _another_way(refused, name, wanted)
    print(paint(f"{name} runs.", "green") + "\n" + how_to_enter(name))
    return 0


def _another_way(refused: Refused, name: str, wanted: str | None) -> tuple[str, str | None, str | None]:
    """After a refusal: the choice again, until something fits or the person leaves."""
    if isinstance(refused, NameTaken):
        options = [("name", "choose another name for the container")]
    else:
        options = [("gpu", "choose another GPU, or none")]
        options += [("wait", "wait up to 30 minutes for a GPU")] if wanted is not None else []
    options.append(("leave", "leave it for now"))
    picked = options[chosen("What now", options)][0]
    if picked == "leave":
        raise KeyboardInterrupt
    if picked == "name":
        return asked("Name of the container", usual_name(), checked_name), wanted, None
    if picked == "wait":
        print("Waiting; Ctrl-C ends it.")
        return name, wanted, "30m"
    return name, _gpu_choice(), None
