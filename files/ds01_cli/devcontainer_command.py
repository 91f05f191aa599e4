# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""``ds01 devcontainer``: a devcontainer.json for VS Code that works here, and what in an existing one would be refused."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

from ds01.core.devcontainer_config import Finding, check, new_config, parse
from ds01.core.image_catalogue import DEFAULT_FRAMEWORK, FRAMEWORKS
from ds01.core.image_definition import BadDefinition, checked_base
from ds01.core.request_text import parse_request_text

from .failure import Failure
from .gate_client import ask
from .image_store import read_text
from .screen import paint

_PLACES = (".devcontainer/devcontainer.json", ".devcontainer.json")
_MOST_BYTES = 256 * 1024


def register(subparsers: Any) -> None:
    """Add the command and its actions."""
    parser = subparsers.add_parser("devcontainer", help="VS Code dev containers", description=__doc__.split("\n")[0])
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    making = actions.add_parser(
        "init", help="write a devcontainer.json", description="write .devcontainer/devcontainer.json into a directory"
    )
    making.add_argument("directory", metavar="DIRECTORY", nargs="?", default=".", help="the folder that VS Code opens (default: this one)")
    making.add_argument("--image", metavar="IMAGE", help="an image of yours, a shared one, or any (default: PyTorch)")
    making.add_argument("--gpu", default="all", metavar="REQUEST", help="all (one device), 2, 2g.10gb, memory=20GiB, full (default: all)")
    making.add_argument("--no-gpu", action="store_true", help="without a GPU")
    making.add_argument("--force", action="store_true", help="in place of one that is there")
    making.add_argument("--json", action="store_true", help="print what was written, and where, as JSON")
    making.set_defaults(run=_init)
    checking = actions.add_parser("check", help="what in a devcontainer.json would be refused", description="what the server would refuse")
    checking.add_argument("file", metavar="FILE", nargs="?", default=".", help="the file, or the folder that has it (default: this one)")
    checking.add_argument("--json", action="store_true", help="print what was found as JSON")
    checking.set_defaults(run=_check)


def write_config(directory: Path, image: str, gpu: str | None, *, force: bool = False) -> tuple[Path, dict[str, Any]]:
    """Write it into a directory; where, and what. Raises Failure."""
    path = directory / _PLACES[0]
    try:
        document = new_config(directory.resolve().name or "workspace", checked_base(image), gpu)
        if gpu is not None:
            parse_request_text(gpu)
    except BadDefinition as error:
        raise Failure(error.why, error.instead) from None
    except ValueError as error:
        raise Failure(str(error), "") from None
    there = next((directory / place for place in _PLACES if (directory / place).exists()), None)
    if there is not None and not force:
        raise Failure(f"{there} is there already", "see what would be refused: ds01 devcontainer check; in its place: --force")
    if not directory.is_dir():
        raise Failure(f"{directory} is no directory", "make it first: mkdir")
    try:
        path.parent.mkdir(exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        temporary.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        os.replace(temporary, path)
    except OSError as error:
        raise Failure(f"{path} can't be written: {error.strerror}", "is the directory yours? ls -ld") from None
    return path, document


def _init(arguments: argparse.Namespace) -> int:
    framework = FRAMEWORKS[DEFAULT_FRAMEWORK]
    image = arguments.image or f"{framework.repository}:{framework.tag}"
    path, document = write_config(Path(arguments.directory), image, None if arguments.no_gpu else arguments.gpu, force=arguments.force)
    if arguments.json:
        print(json.dumps({"path": str(path), "config": document}, indent=2))
    else:
        print(f"Wrote {path}.\nOpen the folder in VS Code and choose 'Reopen in Container'. The GPU is yours while the container runs.")
    return 0


def _found(file: str) -> Path:
    path = Path(file)
    if not path.is_dir():
        return path
    there = next((path / place for place in _PLACES if (path / place).exists()), None)
    if there is None:
        raise Failure(f"{path} has no devcontainer.json", "write one: ds01 devcontainer init")
    return there


def render(path: Path, findings: list[Finding]) -> str:
    """What a person sees."""
    if not findings:
        return paint(f"{path}: nothing in it would be refused.", "green")
    lines = [f"{path}:"]
    for one in sorted(findings, key=lambda one: not one.refused):
        lines.append(paint(f"{'refused' if one.refused else 'better ':7}  {one.where}", "red" if one.refused else "yellow"))
        lines.append(f"         {one.what}.\n         {one.instead}")
    return "\n".join(lines)


def _check(arguments: argparse.Namespace) -> int:
    path = _found(arguments.file)
    try:
        document = parse(read_text(path, _MOST_BYTES))
    except (ValueError, RecursionError) as error:
        raise Failure(f"{path} can't be read: {error}", "mend it: it is JSON, comments are allowed") from None
    findings = check(document, [root["path"] for root in ask("limits")["bind_roots"]])
    if arguments.json:
        print(json.dumps({"path": str(path), "findings": [vars(one) for one in findings]}, indent=2))
    else:
        print(render(path, findings))
    return 1 if any(one.refused for one in findings) else 0
