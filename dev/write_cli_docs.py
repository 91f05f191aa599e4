# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Writes docs/cli.md from the command line of ds01: every command with its options, examples and exit codes."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / ".cache" / "lib"), str(ROOT / "files")]

_HEAD = """# The command ds01

Made from the command line itself (`python dev/write_cli_docs.py`). It is an ordinary program without privileges: it asks the
gate, as whoever runs it.

| exit code | meaning |
| --- | --- |
| 0 | done |
| 1 | could not be done, or was refused; the message on standard error says what, why, and what to do next |
| 2 | the command line is wrong |
| 130 | ended by Ctrl-C |

`ds01 container exec`, `attach` and `logs` become the docker program, and give its exit code. `ds01 devcontainer check` and
`ds01 policy check` give 1 when they find something. Colour only on a terminal, and not with `NO_COLOR`. `--json` is stable: keys are
added, never renamed.

`ds01 admin` has the commands of administrators below it once more (`ds01 admin top` is `ds01 top`), so that they are found together.

Completion is installed for bash. For zsh put `source <(ds01 completion zsh)` into `~/.zshrc`.
"""


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _written(action: argparse.Action) -> str:
    """An option as it is typed."""
    names = ", ".join(action.option_strings)
    if action.nargs == 0:
        return names
    if action.metavar is None:
        value = "{" + ",".join(map(str, action.choices)) + "}" if action.choices is not None else action.dest.upper()
    else:
        value = str(action.metavar)
    return f"{names} {value}" if names else value


def _about(action: argparse.Action) -> str:
    text = str(action.help or "") % {"default": action.default}
    if not action.option_strings and action.nargs in ("?", "*"):
        text += " (may be left out)"
    elif not action.option_strings and action.choices is not None and action.metavar is None and not text:
        text = "one of these"
    return _cell(text)


def _command(path: str, parser: argparse.ArgumentParser) -> Iterator[str]:
    actions = [one for one in parser._actions if not isinstance(one, (argparse._HelpAction, argparse._SubParsersAction))]
    yield f"\n## ds01 {path}\n\n{_cell(parser.description or '')}"
    if actions:
        yield "\n| argument | meaning |\n| --- | --- |"
        yield from (f"| `{_cell(_written(one))}` | {_about(one)} |" for one in actions)
    if parser.epilog:
        yield f"\n```text\n{parser.epilog.rstrip()}\n```"


def text() -> str:
    """The file's text."""
    from ds01_cli.__main__ import parser
    from ds01_cli.command_tree import tree

    lines = [_HEAD.rstrip()]
    seen: set[int] = set()
    for node in tree(parser()):
        # Another name of a command is the same parser, and what stands below admin stands by itself, too.
        if node.path and not node.children and not node.path.startswith("admin ") and id(node.parser) not in seen:
            seen.add(id(node.parser))
            lines += _command(node.path, node.parser)
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    (ROOT / "docs" / "cli.md").write_text(text(), encoding="utf-8")
