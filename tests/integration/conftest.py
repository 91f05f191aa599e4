# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""One lab for a run of the integration tests, and daemons that are started when the first test asks for them."""

from __future__ import annotations

import contextlib
import os
import re
import signal
from collections.abc import Callable, Iterator

import pytest
from xdist.scheduler import LoadScopeScheduling

from .daemons import Daemon, running
from .lab import Lab
from .lab import lab as open_lab

RELEASES = frozenset({"trixie", "sid", "native"})


def pytest_configure(config: pytest.Config) -> None:
    """A shell that runs the tests in the background lets them, and all that they start, ignore Ctrl-C; some tests type it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


class BySuite(LoadScopeScheduling):  # type: ignore[misc]
    """Tests of one suite and one release of dockerd go to the same worker: they share that daemon, and their modules' fixtures."""

    def _split_scope(self, nodeid: str) -> str:
        path, _, parameters = nodeid.partition("[")
        suite = path.removeprefix("tests/integration/").partition("/")[0]
        release = next((name for name in re.split(r"[-\]]", parameters) if name in RELEASES), "")
        return f"{suite} {release}".rstrip()


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> BySuite:
    """With several workers (``-n 2``); the mark xdist_group has no effect with pytest 9.2, whose node ids are fixed."""
    return BySuite(config, log)


def release_of(item: pytest.Item) -> str | None:
    """The release of dockerd that a test was made for, None for a test that is made once."""
    parameters = item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
    return str(parameters["release"]) if "release" in parameters else None


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """The lab directory."""
    if os.geteuid() != 0:
        pytest.fail("these tests start dockerd and act as several people: run them as root")
    with open_lab() as made:
        yield made


@pytest.fixture(scope="session")
def daemon_of(lab: Lab) -> Iterator[Callable[[str], Daemon]]:
    """``daemon_of("trixie")``: the run's daemon of that release (``trixie``, ``sid`` or ``native``) with the busybox image in it."""
    started: dict[str, Daemon] = {}
    with contextlib.ExitStack() as stack:

        def get(release: str) -> Daemon:
            if release not in started:
                started[release] = stack.enter_context(running(release, lab.path, lab.cdi(release)))
                started[release].import_image("busybox:latest", lab.image)
            return started[release]

        yield get
