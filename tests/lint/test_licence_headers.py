# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Every source file says its licence: GPL-3.0-or-later where Ansible's plugin interface is extended, MIT everywhere else."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lint.conftest import ROOT, tracked_files

GPL_PLACES = ("plugins/modules/", "plugins/filter/", "plugins/doc_fragments/", "plugins/action/", "dev/callback_plugins/")
SOURCES = [path for path in tracked_files("*.py", "*.c", "*.h", "*.sh", "dev/*", ".ci/*") if (ROOT / path).stat().st_size > 0]
HEADER_LINES = 8


def is_source(path: Path) -> bool:
    if path.suffix in {".py", ".c", ".h", ".sh"}:
        return True
    return path.suffix == "" and (ROOT / path).read_bytes()[:2] == b"#!"


@pytest.mark.parametrize("path", [path for path in SOURCES if is_source(path)], ids=str)
def test_header(path: Path) -> None:
    head = (ROOT / path).read_text(encoding="utf-8").splitlines()[:HEADER_LINES]
    found = [line.split("SPDX-License-Identifier:")[1].strip(" */") for line in head if "SPDX-License-Identifier:" in line]
    expected = "GPL-3.0-or-later" if str(path).startswith(GPL_PLACES) else "MIT"
    assert found == [expected], f"{path}: one line 'SPDX-License-Identifier: {expected}' is missing in its first {HEADER_LINES} lines"
