# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""inventories/example shows every setting of every role, and none that there is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "inventories/example/group_vars/all").glob("*.yml"))
# A real lab simulates nothing; these roles take the policy and the people from ds01_policy and accounts_users.
ELSEWHERE = ("gpu_simulator_", "policy_document", "slices_people", "slices_policy")


def settings_of_roles() -> set[str]:
    found: set[str] = set()
    for path in sorted(ROOT.glob("roles/*/meta/argument_specs.yml")):
        for entry in (yaml.safe_load(path.read_text()) or {}).get("argument_specs", {}).values():
            found.update(entry.get("options") or {})
    return {name for name in found if not name.startswith(ELSEWHERE)}


def shown() -> dict[str, Any]:
    variables: dict[str, Any] = {}
    for path in FILES:
        document = yaml.safe_load(path.read_text())
        assert not set(document) & set(variables), f"{path.name} says again what another file says"
        variables.update(document)
    return variables


def test_every_setting_is_shown() -> None:
    assert settings_of_roles() - set(shown()) == set()


def test_nothing_else_is_shown() -> None:
    assert set(shown()) - settings_of_roles() - {"ds01_policy"} == set()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_setting_is_explained(path: Path) -> None:
    assert any(line.startswith("# ") for line in path.read_text().splitlines()[3:6]), f"{path.name} doesn't begin with what it is about"
