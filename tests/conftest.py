# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Before any test is read: the sources are importable under both their names, and property tests know how hard to search."""

from __future__ import annotations

from tests.exposed_sources import expose_sources
from tests.search_effort import register_profiles

expose_sources()
register_profiles()
