# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Makes docs/requirements.md from docs/requirement_rows.yml and what the walk through the first milestone saw (docs/m1.json).

``--results FILE`` first takes the rows of a new walk into docs/m1.json; a walk of some rows leaves the others as they are. ``--check`` says
whether the page is up to date, and writes nothing.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
SOURCE, WALK, PAGE = (ROOT / "docs" / name for name in ("requirement_rows.yml", "m1.json", "requirements.md"))
_HEAD = """# Requirements

What the mission asks for, by id; what does it; what shows it. "delivered" in the first milestone means that its walk passed on a freshly
converged lab server. Made by `dev/write_requirements.py` from `docs/requirement_rows.yml` and the last walk
(`make test-m1`, which leaves it in `docs/m1.json`).
"""


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def state(row: dict[str, Any], walked: dict[str, dict[str, Any]], *, first: bool) -> str:
    """What can be said of a requirement: of the ``first`` milestone by its walk alone, of the others by the tests that are named."""
    if row["id"] in walked and not walked[row["id"]]["passed"]:
        return "**failed in the walk**"
    if first and row["id"] not in walked:
        return "not walked yet"
    if row.get("open"):
        return f"in part: {row['open']}"
    if row["id"] in walked or row.get("tests"):
        return "delivered"
    return "not begun"


def page(sections: list[dict[str, Any]], walk: list[dict[str, Any]]) -> str:
    """The page: every section's rows, and then what the walk did and saw."""
    walked = {row["id"]: row for row in walk}
    lines = [_HEAD]
    for number, section in enumerate(sections):
        lines += [f"## {section['section']}", "", "| id | requirement | state | done by | shown by |", "| --- | --- | --- | --- | --- |"]
        for row in section["rows"]:
            shown = ", ".join([*(["`make test-m1`"] if row["id"] in walked else []), *row.get("tests", [])])
            said = state(row, walked, first=number == 0)
            lines.append("| " + " | ".join(map(_cell, (row["id"], row["text"], said, row.get("by", ""), shown))) + " |")
        lines.append("")
    lines += ["## What the walk did and saw", "", "| id | done | seen | |", "| --- | --- | --- | --- |"]
    for row in walk:
        verdict = "pass" if row["passed"] else "FAIL"
        lines.append("| " + " | ".join(map(_cell, (row["id"], "; ".join(row["done"]), "; ".join(row["seen"]), verdict))) + " |")
    return "\n".join(lines) + "\n"


def merged(before: list[dict[str, Any]], new: list[dict[str, Any]], order: list[str]) -> list[dict[str, Any]]:
    """The rows of both, the new ones first choice, in the order of the requirements."""
    rows = {row["id"]: row for row in [*before, *new]}
    return [rows[one] for one in order if one in rows]


def main() -> int:
    """Entry point; with --check 1 when the page is not what it should be."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--results", type=Path)
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    sections = yaml.safe_load(SOURCE.read_text(encoding="utf-8"))
    walk = json.loads(WALK.read_text(encoding="utf-8")) if WALK.exists() else []
    if arguments.results is not None:
        order = [row["id"] for section in sections for row in section["rows"]]
        walk = merged(walk, json.loads(arguments.results.read_text(encoding="utf-8")), order)
        WALK.write_text(json.dumps(walk, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    text = page(sections, walk)
    if arguments.check:
        return 0 if PAGE.exists() and PAGE.read_text(encoding="utf-8") == text else 1
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
