# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Imports point downwards: programs → adapters → core, and core knows the standard library only."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

from tests.lint.conftest import ROOT, tracked_files

# What a pure decision may not reach for: the clock, files, processes, the network.
IMPURE = {
    *("os", "io", "pathlib", "shutil", "tempfile"),
    *("time", "random", "secrets"),
    *("subprocess", "socket", "threading", "asyncio", "logging"),
}


def imports(path: Path) -> list[tuple[int, str]]:
    """(relative level, module name) of every import in the file."""
    found = []
    for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.extend((0, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            found.append((node.level, node.module or ""))
    return found


@pytest.mark.parametrize("path", tracked_files("plugins/module_utils/core/*.py"), ids=str)
def test_core_is_pure(path: Path) -> None:
    depth = len(path.relative_to("plugins/module_utils/core").parts)
    for level, name in imports(path):
        if level:
            assert level <= depth, f"{path}: imports from above core ({'.' * level}{name})"
            continue
        top = name.split(".")[0]
        assert top in sys.stdlib_module_names, f"{path}: imports {name}; core knows the standard library only"
        assert top not in IMPURE, f"{path}: imports {name}; effects belong in an adapter"


@pytest.mark.parametrize("path", tracked_files("plugins/module_utils/*.py"), ids=str)
def test_the_library_does_not_know_ansible(path: Path) -> None:
    for _level, name in imports(path):
        assert name.split(".")[0] not in {"ansible", "ansible_collections"}, f"{path}: imports {name}; it also runs as package ds01"
