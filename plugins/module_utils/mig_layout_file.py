# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The desired MIG layout of this host as role mig writes it: ``/etc/ds01/mig.json``."""

from __future__ import annotations

import json
from pathlib import Path

from .core.mig_layout import HostLayout, LayoutError, parse_layout


def read_layout(path: Path) -> HostLayout:
    """The desired layout in a file. Raises LayoutError naming the file and the key."""
    try:
        return parse_layout(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise LayoutError(f"{path}: {error.strerror}; role mig writes it") from error
    except json.JSONDecodeError as error:
        raise LayoutError(f"{path}: not JSON ({error})") from error
    except LayoutError as error:
        raise LayoutError(f"{path}: {error}") from error
