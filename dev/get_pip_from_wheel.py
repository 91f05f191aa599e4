# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Stands in for get-pip.py: installs the pip wheel that lies beside it."""

from __future__ import annotations

import pathlib
import sys

WHEEL = str(next(pathlib.Path(__file__).parent.glob("pip-*.whl")))
UNKNOWN_TO_PIP = ("--no-setuptools", "--no-wheel")
sys.path.insert(0, WHEEL)

from pip._internal.cli.main import main  # noqa: E402

sys.exit(main(["install", "--no-input", *[word for word in sys.argv[1:] if word not in UNKNOWN_TO_PIP], WHEEL]))
