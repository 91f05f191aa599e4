# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Sweeps by the hundred: what they write need not reach a disk."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(autouse=True)
def no_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """fsync(2) costs more than the sweep that is tested; that files are synced is tested where they are written."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
