# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""A start that is not refused does not pay for what the guard can do without."""

from __future__ import annotations

import subprocess
import sys

from tests.exposed_sources import ROOT

_PROGRAM = "import sys; sys.path[:0] = sys.argv[1:]; import ds01_guard.main; print(*sys.modules)"


def test_the_judgement_imports_no_expressions_types_or_dates() -> None:
    paths = (str(ROOT / ".cache" / "lib"), str(ROOT / "files"))
    done = subprocess.run([sys.executable, "-I", "-S", "-c", _PROGRAM, *paths], stdout=subprocess.PIPE, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "ds01.core.oci_rules" in loaded
    assert loaded.isdisjoint({"re", "json", "typing", "enum", "dataclasses", "collections", "contextlib", "datetime", "socket"})
