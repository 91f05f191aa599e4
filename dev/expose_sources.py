# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Makes the tree importable under both its names (``ds01``, ``ansible_collections.ds01.infra``), as tests/conftest.py does for tests."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.exposed_sources import expose_sources

expose_sources()
