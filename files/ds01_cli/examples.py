# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Examples of the commands that bring none themselves, for ``--help`` and the reference; a test parses each."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence

from .command_tree import tree

_WIDTH = 80

# Command → (what is typed after ``ds01``, what it does).
EXAMPLES: Mapping[str, Sequence[tuple[str, str]]] = {
    "status": (("status", "which GPUs and instances are free"), ("status --json", "for programs")),
    "usage": (("usage", "your GPUs, containers and memory against your limits"),),
    "limits": (("limits", "your limits, and which rule of the policy set each"),),
    "claims": (("claims", "your containers that hold GPUs, and since when"),),
    "lifecycle": (("lifecycle", "which of your containers is stopped when, and why"),),
    "inbox": (("inbox --new", "what you have not read"), ("inbox --all", "everything that is kept")),
    "greeting": (("greeting", "what you see at login, once more"),),
    "container list": (
        ("container list", "all of yours, also those that are stopped"),
        ("container list --running --filter gpu=yes", "those that hold a GPU"),
        ("container list --filter project=shop", "those of a compose project"),
    ),
    "container stats": (
        ("container stats", "what yours use now"),
        ("container stats --watch", "again and again, until Ctrl-C"),
        ("container stats --filter 'name=train*' --filter gpu=1g.10gb", "only some of them"),
        ("container stats --json", "for programs"),
    ),
    "container deploy": (
        ("container deploy alice/work", "with one GPU, this directory at /workspace"),
        ("container deploy alice/work --name alice.big --gpu 2g.10gb --wait 30m", "wait for such an instance"),
        ("container deploy python:3.12-slim --no-gpu --workspace ~/project", "without a GPU"),
    ),
    "container start": (("container start alice.work", "it gets any device that is free"),),
    "container stop": (
        ("container stop alice.work", "its GPU goes to whoever waits"),
        ("container stop --seconds 60 a b", "give both a minute to end"),
    ),
    "container pause": (("container pause alice.work", "freeze it; it keeps memory and GPU"),),
    "container unpause": (("container unpause alice.work", "let it go on"),),
    "container retire": (("container retire alice.work", "stop and remove it; your directory stays"),),
    "container remove": (
        ("container remove alice.work", "asks first"),
        ("container remove --force --yes alice.work", "also while it runs"),
    ),
    "container attach": (("container attach alice.work", "a shell in it; leaving the shell stops nothing"),),
    "container exec": (
        ("container exec alice.work nvidia-smi", "one command"),
        ("container exec alice.work python train.py", "a program of yours"),
    ),
    "container logs": (
        ("container logs alice.work --tail 50", "the last lines"),
        ("container logs -f alice.work", "as they come, until Ctrl-C"),
    ),
    "image build": (
        ("image build work --preset ml", "PyTorch and what machine learning needs"),
        ("image build 'Thesis (v2)' --framework tensorflow --packages 'keras>=3' wandb", "a name in your own words"),
        ("image build tools --base python:3.12-slim --system ffmpeg --requirements requirements.txt", "from any base"),
    ),
    "image update": (
        ("image update work --add scipy --remove seaborn", "change the definition; asks whether to build"),
        ("image update work --rebuild --no-cache", "the newest packages that the definition allows"),
        ("image update work --edit", "the definition in your editor"),
    ),
    "image list": (("image list", "yours, and whether they are as their definition says"), ("image list --shared", "also everybody's")),
    "image show": (("image show work", "its definition and Dockerfile"), ("image show work --dockerfile", "the Dockerfile alone")),
    "image remove": (("image remove work", "asks first"), ("image remove work --keep-definition --yes", "to build it again later")),
    "setup": (
        ("setup", "questions, each explained"),
        ("setup --yes --image alice/work --gpu 1g.10gb", "without questions"),
        ("setup --no-launch", "prepare and start nothing"),
    ),
    "devcontainer init": (
        ("devcontainer init", "for the folder you are in"),
        ("devcontainer init ~/project --image alice/work --gpu 1g.10gb", "your image, a certain GPU"),
    ),
    "devcontainer check": (("devcontainer check ~/project", "what in it would be refused, and what to write instead"),),
    "completion": (
        ("completion bash", "servers have it for everybody already; elsewhere: source <(ds01 completion bash)"),
        ("completion zsh", "in ~/.zshrc: source <(ds01 completion zsh)"),
    ),
    "policy check": (("policy check policy.yml", "every mistake in it"),),
    "policy explain": (("policy explain alice", "what holds for alice, and which rule set it"),),
    "policy schema": (("policy schema", "the policy's shape as JSON Schema"),),
    "reserve add": (("reserve add exam --gpu 2 --group students --from 2h --for 4h --reason exam", "one GPU for a group"),),
    "reserve list": (("reserve list --all", "also those that are over"),),
    "reserve remove": (("reserve remove exam", "end it"),),
    "workloads": (("workloads", "what of yours uses a GPU"), ("workloads --by-user", "one line a person (administrators)")),
    "top": (("top", "live, ends with q"), ("top --once", "one picture")),
    "broadcast": (("broadcast The server restarts at 18:00", "to everybody's inbox and terminals"),),
}


def _lines(found: Sequence[tuple[str, str]]) -> list[str]:
    """In two columns where all of them fit, else each on two lines."""
    widest = max(len(line) for line, _ in found)
    if all(len(f"  ds01 {line.ljust(widest)}  {about}") <= _WIDTH for line, about in found):
        return [f"  ds01 {line.ljust(widest)}  {about}" for line, about in found]
    return [text for line, about in found for text in (f"  ds01 {line}", f"      {about}")]


def add_examples(parser: argparse.ArgumentParser) -> None:
    """Put the examples below the help of every command of the tree that has some."""
    for node in tree(parser):
        # ``ds01 admin top`` is ``ds01 top``.
        found = EXAMPLES.get(node.path.removeprefix("admin "))
        if found:
            before = f"{node.parser.epilog.rstrip()}\n\n" if node.parser.epilog else ""
            node.parser.epilog = f"{before}examples:\n" + "\n".join(_lines(found))
            node.parser.formatter_class = argparse.RawDescriptionHelpFormatter
