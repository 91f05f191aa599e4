# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Changes to an image's definition: by options of the command line, or in the person's editor."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ds01.core.image_definition import (
    MOST_REQUIREMENTS_BYTES,
    BadDefinition,
    ImageDefinition,
    define,
    project_name,
    python_packages,
    requirement_lines,
    system_packages,
)

from .failure import Failure
from .image_store import parse, read_text
from .questions import interactive

_EDITORS = ("sensible-editor", "nano", "vi")


def requirements_of(file: str | None) -> tuple[str, ...]:
    """The lines of a requirements file; none without one. Raises Failure."""
    if file is None:
        return ()
    try:
        return requirement_lines(read_text(Path(file), MOST_REQUIREMENTS_BYTES))
    except BadDefinition as error:
        raise Failure(error.why, error.instead) from None


def _without(have: Sequence[str], unwanted: Sequence[str], what: str) -> list[str]:
    kept = list(have)
    for one in unwanted:
        found = [package for package in kept if project_name(package) == project_name(one)]
        if not found:
            raise Failure(f"{one!r} is not among the {what}", f"they are: {', '.join(kept) or 'none'}")
        kept = [package for package in kept if package not in found]
    return kept


def _with(have: Iterable[str], added: Sequence[str]) -> list[str]:
    """A package that is there already takes the new version."""
    names = {project_name(one) for one in added}
    return [*(one for one in have if project_name(one) not in names), *added]


def changed(before: ImageDefinition, arguments: argparse.Namespace) -> ImageDefinition:
    """The definition with what the options of ``ds01 image update`` say. Raises Failure."""
    values: dict[str, Any] = asdict(before)
    name = values.pop("name")
    if arguments.base is not None:
        values.update(base=arguments.base, framework=None)
    if arguments.framework is not None:
        values.update(base=None, framework=arguments.framework)
    for key in ("preset", "description"):
        if getattr(arguments, key) is not None:
            values[key] = getattr(arguments, key)
    if arguments.requirements is not None:
        values["requirements"] = requirements_of(arguments.requirements)
    try:
        packages = _without(values["packages"], arguments.remove, "Python packages that you named")
        values["packages"] = _with(packages, python_packages(arguments.add))
        system = _without(values["system"], arguments.remove_system, "system packages")
        values["system"] = _with(system, system_packages(arguments.add_system))
        return define(name, **values)
    except BadDefinition as error:
        raise Failure(error.why, error.instead) from None


def _editor() -> list[str]:
    for name in ("VISUAL", "EDITOR"):
        words = shlex.split(os.environ.get(name, ""))
        if words:
            return words
    found = next((one for one in _EDITORS for place in os.get_exec_path() if os.access(os.path.join(place, one), os.X_OK)), None)
    if found is None:
        raise Failure("no editor is known", "name one: export EDITOR=nano")
    return [found]


def edited(before: ImageDefinition) -> ImageDefinition:
    """The definition after the person had it in their editor. Raises Failure; the kept one is untouched then."""
    if not interactive():
        raise Failure("--edit needs a terminal", "change it by options: ds01 image update --help")
    with tempfile.TemporaryDirectory(prefix="ds01-") as place:
        path = Path(place) / f"{before.slug}.json"
        path.write_text(json.dumps(before.document(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        command = [*_editor(), str(path)]
        try:
            status = subprocess.run(command, check=False).returncode
        except OSError as error:
            raise Failure(f"{command[0]} can't be started: {error.strerror}", "name another: export EDITOR=nano") from None
        if status != 0:
            raise Failure(f"{command[0]} ended with status {status}", "nothing is changed")
        after = parse(read_text(path, 2 * MOST_REQUIREMENTS_BYTES), "what you wrote")
    if after.slug != before.slug:
        raise Failure(f"the name {after.name!r} would make it the image {after.slug}", "build that one beside it: ds01 image build")
    return after
