# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""``ds01 completion``: what a shell needs to complete this command, made from the command line's own description."""

from __future__ import annotations

import argparse
from typing import Any

from .completion_script import bash_script
from .failure import Failure

_ZSH = "autoload -U +X compinit && compinit\nautoload -U +X bashcompinit && bashcompinit\n"
_WAIT_S = 1.0


def register(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser("completion", help="completion for your shell", description=__doc__.split("\n")[0])
    parser.add_argument(
        "what", choices=("bash", "zsh", "containers", "images"), help="a script for this shell, or names as the scripts ask for them"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the script, or names, one a line; a gate that does not answer at once has none."""
    if arguments.what in ("bash", "zsh"):
        from .__main__ import parser

        print((_ZSH if arguments.what == "zsh" else "") + bash_script(parser()), end="")
        return 0
    try:
        print("".join(f"{name}\n" for name in (_containers() if arguments.what == "containers" else _images())), end="")
    except Failure:
        return 1
    return 0


def _containers() -> list[str]:
    """Names of the caller's containers. Not ``own_containers``: that asks twice."""
    import os

    from .docker_calls import call, query

    label = [f"ds01.uid={os.getuid()}"]
    found = call("GET", f"/containers/json?{query(all=True, filters={'label': label})}", seconds=_WAIT_S)
    return sorted(name[1:] for one in found for name in one.get("Names") or () if name.count("/") == 1)


def _images() -> list[str]:
    """Names of the caller's definitions, and of their images that have none."""
    from .docker_calls import call, query
    from .image_store import slugs
    from .own_images import namespace

    own = f"{namespace()}/"
    entries = call("GET", f"/images/json?{query(filters={'reference': [f'{own}*']})}", seconds=_WAIT_S)
    refs = (tag for one in entries for tag in one.get("RepoTags") or () if tag.startswith(own))
    return sorted({*slugs(), *(ref.removeprefix(own).removesuffix(":latest") for ref in refs)})
