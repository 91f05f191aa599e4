# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Ids and numbers are told exactly: no newline at the end, no digit of another script, no capital."""

from __future__ import annotations

import pytest

from ds01.core.exact_text import is_decimal, is_docker_id, number_between
from ds01.core.slice_names import is_nogpu_slice


@pytest.mark.parametrize("text", ["", "1\n", " 1", "+1", "-1", "1_0", "\u0661", "\u00b2", "a", "1.0"])
def test_what_is_no_number(text: str) -> None:
    assert not is_decimal(text)
    assert number_between(f"/proc/{text}/exe", "/proc/", "/exe") is None
    assert not is_nogpu_slice(f"ds01-u{text}-nogpu.slice")


@pytest.mark.parametrize("text", ["0", "42", "0042"])
def test_what_is_a_number(text: str) -> None:
    assert is_decimal(text)
    assert number_between(f"/proc/{text}/exe", "/proc/", "/exe") == text
    assert is_nogpu_slice(f"ds01-u{text}-nogpu.slice")


def test_a_number_stands_between_its_neighbours_and_not_in_them() -> None:
    assert number_between("/proc/1/exe\n", "/proc/", "/exe") is None
    assert number_between("aba", "ab", "ba") is None
    assert number_between("x12", "x", "") == "12"


def test_the_id_of_a_container_is_64_hexadecimal_digits_in_lower_case() -> None:
    assert is_docker_id("0123456789abcdef" * 4)
    for text in ("", "a" * 63, "a" * 65, "a" * 63 + "\n", "A" * 64, "g" * 64, "a" * 63 + "\u0661", "a" * 63 + "/"):
        assert not is_docker_id(text), text
