# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The commands of an argparse parser as a tree: for completion, examples and the reference."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Node:
    """One command: its words after ``ds01``, and its parser."""

    path: str
    parser: argparse.ArgumentParser

    @property
    def children(self) -> dict[str, argparse.ArgumentParser]:
        """Its subcommands by name, other names included."""
        for action in self.parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                return dict(action.choices)
        return {}


def tree(parser: argparse.ArgumentParser, path: str = "") -> Iterator[Node]:
    """Every command, the top one first."""
    node = Node(path, parser)
    yield node
    for name, child in node.children.items():
        yield from tree(child, f"{path} {name}".strip())
