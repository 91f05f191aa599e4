# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""``ds01 container``: your containers: list, what they use, start, stop, pause, remove, and into them."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from ds01.core.container_filter import KEYS

from . import deploy_command
from .container_stats import gpu_memory, look_at, render, uses
from .docker_calls import PATIENT_S, call, container_target
from .docker_program import become
from .failure import Failure
from .own_containers import OwnContainer, filters_of, own_containers
from .questions import confirmed
from .screen import columns, duration, paint, table

_STOPPED, _RUNNING = ("created", "exited", "dead"), ("running", "paused", "restarting")
# Longer than a container may take to end by itself.
_STOP_S = 3700.0
_HOME_AND_CLEAR = "\x1b[H\x1b[J"


def register(subparsers: Any) -> None:
    """Add the command and its actions."""
    parser = subparsers.add_parser("container", help="your containers", description=__doc__.split("\n")[0])
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    _register_views(actions)
    deploy_command.register(actions)
    for name, about, run in (
        ("start", "start stopped containers", _start),
        ("stop", "stop running containers", _stop),
        ("pause", "freeze containers; they keep memory and GPU", _pause),
        ("unpause", "let frozen containers go on", _unpause),
    ):
        action = actions.add_parser(name, help=about, description=about)
        action.add_argument("names", metavar="CONTAINER", nargs="+", help="name, or how its id begins")
        if name == "stop":
            action.add_argument("--seconds", type=int, metavar="N", help="how long it may take to end by itself (Docker's own: 10)")
        action.add_argument("--json", action="store_true", help="print what was done as JSON")
        action.set_defaults(run=run)
    removing = actions.add_parser("remove", help="remove containers with what is in them", description="remove containers")
    removing.add_argument("names", metavar="CONTAINER", nargs="+", help="name, or how its id begins")
    removing.add_argument("--force", action="store_true", help="also one that runs")
    removing.add_argument("--volumes", action="store_true", help="with its anonymous volumes")
    removing.add_argument("--yes", action="store_true", help="don't ask")
    removing.add_argument("--json", action="store_true", help="print what was done as JSON")
    removing.set_defaults(run=_remove)
    retiring = actions.add_parser(
        "retire", help="stop and remove containers", description="stop and remove containers; your directories stay"
    )
    retiring.add_argument("names", metavar="CONTAINER", nargs="+", help="name, or how its id begins")
    retiring.add_argument("--yes", action="store_true", help="don't ask")
    retiring.add_argument("--json", action="store_true", help="print what was done as JSON")
    retiring.set_defaults(run=_retire)
    _register_terminals(actions)


def _register_views(actions: Any) -> None:
    keys = "\n".join(f"  {key:8} {about}" for key, about in KEYS.items())
    epilog = f"filters (the same key again means or, another key means and):\n{keys}"
    for name, about, run in (("list", "your containers", _list), ("stats", "what your containers use", _stats)):
        view = actions.add_parser(name, help=about, description=about, epilog=epilog, formatter_class=argparse.RawDescriptionHelpFormatter)
        view.add_argument("--filter", dest="filters", action="append", default=[], metavar="KEY=VALUE", help="only these; see below")
        which = view.add_mutually_exclusive_group()
        which.add_argument("--running", action="store_true", help="only those that run" + (" (the default)" if name == "stats" else ""))
        which.add_argument("--stopped", action="store_true", help="only those that do not")
        which.add_argument("--all", action="store_true", help="both" + (" (the default)" if name == "list" else ""))
        view.add_argument("--everyone", action="store_true", help="everybody's (administrators)")
        if name == "stats":
            view.add_argument("--watch", action="store_true", help="again and again, until Ctrl-C")
            view.add_argument("--interval", type=float, default=2.0, metavar="SECONDS", help="between two looks (%(default)s)")
        view.add_argument("--json", action="store_true", help="print JSON; with --watch one document a line")
        view.set_defaults(run=run)


def _register_terminals(actions: Any) -> None:
    attaching = actions.add_parser("attach", help="a shell in a container", description="a shell in a container; leaving it stops nothing")
    attaching.add_argument("name", metavar="CONTAINER", help="name, or how its id begins")
    attaching.set_defaults(run=_attach)
    executing = actions.add_parser("exec", help="run a command in a container", description="run a command in a container")
    executing.add_argument("name", metavar="CONTAINER", help="name, or how its id begins")
    executing.add_argument("words", metavar="COMMAND", nargs=argparse.REMAINDER, help="the command and its arguments")
    executing.set_defaults(run=_exec)
    reading = actions.add_parser("logs", help="what a container printed", description="what a container printed")
    reading.add_argument("name", metavar="CONTAINER", help="name, or how its id begins")
    reading.add_argument("--follow", "-f", action="store_true", help="go on until it ends")
    reading.add_argument("--tail", type=int, metavar="N", help="only the last N lines")
    reading.set_defaults(run=_logs)


def _chosen(arguments: argparse.Namespace, *, running_only: bool) -> list[OwnContainer]:
    filters = filters_of(arguments.filters)
    states: Sequence[str] = ()
    if arguments.running or (running_only and not (arguments.stopped or arguments.all or "state" in filters)):
        states = _RUNNING
    elif arguments.stopped:
        states = _STOPPED
    return [one for one in own_containers(everyone=arguments.everyone, states=states) if filters.match(one.subject)]


def _list(arguments: argparse.Namespace) -> int:
    found = _chosen(arguments, running_only=False)
    if arguments.json:
        print(json.dumps([one.document() for one in found], indent=2))
        return 0
    if not found:
        print("No such containers. Make one: docker run --gpus all IMAGE, or step by step: ds01 setup")
        return 0
    now = time.time()
    rows = [
        [
            f"{one.user}/{one.name}" if arguments.everyone else one.name,
            one.state,
            one.gpu() or "-",
            one.image,
            one.project,
            duration(max(0.0, now - one.created)),
        ]
        for one in found
    ]
    colours = ["dim" if one.state in _STOPPED else None for one in found]
    print(table(("CONTAINER", "STATE", "GPU", "IMAGE", "PROJECT", "AGE"), rows, colours, columns(), ("PROJECT",)))
    return 0


def _stats(arguments: argparse.Namespace) -> int:
    if not 0.2 <= arguments.interval <= 3600:
        raise Failure(f"--interval {arguments.interval:g}: out of range", "expected 0.2 to 3600 seconds")
    found = _chosen(arguments, running_only=True)
    before = look_at(found)
    while True:
        if before:
            time.sleep(arguments.interval if arguments.watch else min(arguments.interval, 1.0))
        elif arguments.watch:
            time.sleep(arguments.interval)
        if arguments.watch:
            found = _chosen(arguments, running_only=True)
        now = look_at(found)
        shown = uses(found, before, now, gpu_memory())
        if arguments.json:
            document = [one.document() for one in shown]
            print(json.dumps(document, indent=None if arguments.watch else 2), flush=True)
        else:
            head = _HOME_AND_CLEAR if arguments.watch and sys.stdout.isatty() else ""
            print(head + render(shown, everyone=arguments.everyone, width=columns()), flush=True)
        if not arguments.watch:
            return 0
        before = now


def _each(arguments: argparse.Namespace, word: str, act: Callable[[str], Any]) -> int:
    """Do it to every container named; what fails is said, and the rest is done all the same."""
    done, failures = [], []
    for name in arguments.names:
        try:
            act(name)
            done.append(name)
            if not arguments.json:
                print(f"{word} {name}")
        except Failure as failure:
            failures.append({"container": name, "why": failure.why})
            print(f"{paint('ds01:', 'red')} {name}: {failure.why}", file=sys.stderr)
            if failure.next_step:
                print(failure.next_step, file=sys.stderr)
    if arguments.json:
        print(json.dumps({"done": done, "failed": failures}, indent=2))
    return 1 if failures else 0


def _start(arguments: argparse.Namespace) -> int:
    return _each(arguments, "started", lambda name: call("POST", container_target(name, "start"), seconds=PATIENT_S))


def _stop(arguments: argparse.Namespace) -> int:
    if arguments.seconds is not None and not 0 <= arguments.seconds <= 3600:
        raise Failure(f"--seconds {arguments.seconds}: out of range", "expected 0 to 3600")
    return _each(arguments, "stopped", lambda name: call("POST", container_target(name, "stop", t=arguments.seconds), seconds=_STOP_S))


def _pause(arguments: argparse.Namespace) -> int:
    return _each(arguments, "paused", lambda name: call("POST", container_target(name, "pause")))


def _unpause(arguments: argparse.Namespace) -> int:
    return _each(arguments, "unpaused", lambda name: call("POST", container_target(name, "unpause")))


def _remove(arguments: argparse.Namespace) -> int:
    what = ", ".join(arguments.names)
    if not confirmed(f"Remove {what}? What is only inside is lost; mounted directories stay.", yes=arguments.yes):
        print("Nothing is removed.")
        return 1
    parameters = {"force": arguments.force, "v": arguments.volumes}
    return _each(arguments, "removed", lambda name: call("DELETE", container_target(name, **parameters)))


def _stop_and_remove(name: str) -> None:
    call("POST", container_target(name, "stop"), seconds=_STOP_S)
    call("DELETE", container_target(name))


def _retire(arguments: argparse.Namespace) -> int:
    what = ", ".join(arguments.names)
    if not confirmed(f"Stop and remove {what}? What is only inside is lost; mounted directories stay.", yes=arguments.yes):
        print("Nothing is removed.")
        return 1
    return _each(arguments, "retired", _stop_and_remove)


def _terminal_flags() -> list[str]:
    """``-t`` where both ends are a terminal, as docker itself wants it; ``-i`` always."""
    return ["-it"] if sys.stdin.isatty() and sys.stdout.isatty() else ["-i"]


def _attach(arguments: argparse.Namespace) -> int:
    container_target(arguments.name)
    become(["exec", *_terminal_flags(), "--", arguments.name, "sh", "-c", "command -v bash >/dev/null && exec bash; exec sh"])


def _exec(arguments: argparse.Namespace) -> int:
    container_target(arguments.name)
    words = arguments.words[1:] if arguments.words[:1] == ["--"] else arguments.words
    if not words:
        raise Failure(
            "no command is given", f"ds01 container exec {arguments.name} nvidia-smi; for a shell: ds01 container attach {arguments.name}"
        )
    become(["exec", *_terminal_flags(), "--", arguments.name, *words])


def _logs(arguments: argparse.Namespace) -> int:
    container_target(arguments.name)
    tail = [] if arguments.tail is None else ["--tail", str(arguments.tail)]
    become(["logs", *(["--follow"] if arguments.follow else []), *tail, "--", arguments.name])
