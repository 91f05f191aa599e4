# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Checks on a real GPU. They read and change no setting; without a driver they fail, which is why they have a make target of their own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ds01.nvml import Nvml, open_nvml


@pytest.fixture(scope="session")
def nvml() -> Iterator[Nvml]:
    """A session with the real driver."""
    with open_nvml() as session:
        if session.simulated:
            pytest.fail(f"driver {session.driver} is simulated; these tests are for a real one")
        yield session
