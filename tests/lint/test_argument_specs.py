# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""A role's argument_specs.yml is its contract: complete, typed, described, and equal to defaults/main.yml."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.lint.conftest import ROOT

ROLES = sorted(path.name for path in (ROOT / "roles").iterdir() if path.is_dir())
SHARED = "ds01_"


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else None


def options_of(role: str) -> dict[str, Any]:
    specs = load(ROOT / "roles" / role / "meta" / "argument_specs.yml")
    assert specs, f"roles/{role}/meta/argument_specs.yml is missing"
    return specs["argument_specs"]["main"].get("options") or {}


def every_option(options: dict[str, Any], where: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, option in options.items():
        yield f"{where}{name}", option
        yield from every_option(option.get("options") or {}, f"{where}{name}.")


@pytest.mark.parametrize("role", ROLES)
def test_options_are_typed_and_described(role: str) -> None:
    for name, option in every_option(options_of(role), f"roles/{role}: "):
        assert option.get("type"), f"{name}: no type"
        assert option.get("description"), f"{name}: no description"
        if option["type"] == "list":
            assert option.get("elements"), f"{name}: a list without elements"


@pytest.mark.parametrize("role", ROLES)
def test_names_carry_the_role(role: str) -> None:
    for name in options_of(role):
        assert name.startswith((f"{role}_", SHARED)), f"roles/{role}: {name} must begin with {role}_ (or {SHARED} when roles share it)"


@pytest.mark.parametrize("role", ROLES)
def test_defaults_are_those_of_the_specification(role: str) -> None:
    options = options_of(role)
    defaults = load(ROOT / "roles" / role / "defaults" / "main.yml") or {}
    assert sorted(defaults) == sorted(name for name, option in options.items() if "default" in option), f"roles/{role}: names differ"
    for name, value in defaults.items():
        specified = options[name]["default"]
        assert specified == value, f"roles/{role}: {name}: defaults/main.yml has {value!r}, the specification {specified!r}"


@pytest.mark.parametrize("role", ROLES)
def test_an_option_without_a_default_is_required_or_says_that_it_may_be_absent(role: str) -> None:
    for name, option in options_of(role).items():
        if "default" not in option:
            assert "required" in option, f"roles/{role}: {name} has neither default nor required"
