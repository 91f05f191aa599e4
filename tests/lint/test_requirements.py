# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The page of requirements is what its sources say, and the walk through the first milestone leaves none out."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]


def test_the_page_is_up_to_date() -> None:
    done = subprocess.run([sys.executable, "dev/write_requirements.py", "--check"], cwd=ROOT, check=False)
    assert done.returncode == 0, "run: python dev/write_requirements.py"


def test_every_requirement_of_the_first_milestone_has_one_walk() -> None:
    first = yaml.safe_load((ROOT / "docs" / "requirement_rows.yml").read_text(encoding="utf-8"))[0]
    wanted = sorted(row["id"] for row in first["rows"])
    walked = [
        re.findall(r'mark\.requirement\("([^"]+)"\)', path.read_text(encoding="utf-8"))
        for path in (ROOT / "tests" / "m1").glob("test_*.py")
    ]
    assert sorted(one for found in walked for one in found) == wanted


def test_tests_that_are_named_exist() -> None:
    for section in yaml.safe_load((ROOT / "docs" / "requirement_rows.yml").read_text(encoding="utf-8")):
        for row in section["rows"]:
            for name in row.get("tests", []):
                if name.startswith("tests/"):
                    assert list(ROOT.glob(name)), f"{row['id']}: {name}"
