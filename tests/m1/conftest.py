# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The walk through every requirement of the first milestone on one freshly converged lab server (``make test-m1``).

Each test has the mark ``requirement(id)`` and tells its row what it does and sees. At the end the rows are printed as a table, and written
to the file that ``--m1-results`` names.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.server_access import Lab
from tests.m1.row import Row, table
from tests.m1.world import World

_ROWS = pytest.StashKey[list[Row]]()
_ROW = pytest.StashKey[Row]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--m1-results", type=Path, default=None, help="write the rows there as JSON")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_ROWS] = []


@pytest.fixture(scope="session")
def world() -> World:
    """The server, its people, and ways to look at it."""
    return World(Lab(os.environ.get("DS01_LAB_NAME", "lab1")))


@pytest.fixture(autouse=True)
def row(request: pytest.FixtureRequest) -> Row:
    """The row of the requirement that the test is about."""
    mark = request.node.get_closest_marker("requirement")
    assert mark is not None and mark.args, f"{request.node.nodeid} says of no requirement that it is about it"
    made = Row(mark.args[0])
    request.node.stash[_ROW] = made
    request.config.stash[_ROWS].append(made)
    return made


@pytest.fixture(autouse=True)
def cleared(world: World) -> Iterator[None]:
    """No container of a person is left for the next row."""
    yield
    world.clear()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report = yield
    made = item.stash.get(_ROW, None)
    if made is not None and report.when == "call":
        made.passed = report.passed
        if report.failed and call.excinfo is not None:
            made.saw(str(call.excinfo.value).strip().splitlines()[0][:200] if str(call.excinfo.value).strip() else call.excinfo.typename)
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    rows = config.stash[_ROWS]
    if not rows:
        return
    terminalreporter.section("the first milestone, requirement by requirement")
    terminalreporter.write_line(table(rows))
    target = config.getoption("--m1-results")
    if target is not None:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(json.dumps([made.as_dict() for made in rows], indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
