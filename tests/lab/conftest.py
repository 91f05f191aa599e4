# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Fixtures of the tests on the virtual lab server. It must be up (``dev/lab/lab up``; ``make test-lab`` does it all), or they fail.

``DS01_LAB_NAME`` names another server than lab1.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from tests.lab.server_access import Account, Lab

BUSYBOX = "lab/busybox:1"


@pytest.fixture(scope="session")
def server() -> Lab:
    """The server as a whole: people, restart, container images."""
    return Lab(os.environ.get("DS01_LAB_NAME", "lab1"))


@pytest.fixture(scope="session")
def lab(server: Lab) -> Account:
    """root's shell on the server."""
    return server.root


@pytest.fixture(scope="session")
def as_user(server: Lab) -> Callable[[str], Account]:
    """as_user("student1") is that person's shell, in a login session of their own."""
    return server.as_user


@pytest.fixture(scope="session")
def busybox(server: Lab) -> str:
    """The tag of a small container image that is on the server."""
    return server.import_image("busybox", BUSYBOX)
