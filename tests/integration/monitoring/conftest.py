# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The servers' own Prometheus and Alertmanager."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.integration.daemons import REPOSITORY


@pytest.fixture(scope="session")
def tree() -> Path:
    """The root of the unpacked packages."""
    done = subprocess.run([str(REPOSITORY / "dev" / "monitoring-tree")], stdout=subprocess.PIPE, text=True, check=True)
    return Path(done.stdout.strip())


@pytest.fixture(scope="session")
def tools(tree: Path) -> Path:
    """The directory of prometheus, promtool, prometheus-alertmanager and amtool."""
    return tree / "usr" / "bin"
