# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The minors of /dev/nvidia-caps that open a MIG instance: the text of ``/proc/driver/nvidia-caps/mig-minors``.

Lines read ``gpu0/gi1/access 12`` and ``gpu0/gi1/ci0/access 13`` (older drivers: ``gpu0/gi1/ci0 13``), where ``gpu0`` is
the GPU's device minor. Other lines (``config``, ``monitor``) are the driver's global capabilities, of no use to a container.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_LINE = re.compile(r"gpu(\d+)/gi(\d+)(?:/ci(\d+))?(?:/access)?\s+(\d+)")


@dataclass(frozen=True)
class CapMinors:
    """Minors by (GPU minor, GI id) and by (GPU minor, GI id, CI id)."""

    instances: dict[tuple[int, int], int] = field(default_factory=dict)
    compute: dict[tuple[int, int, int], int] = field(default_factory=dict)


def parse_cap_minors(text: str) -> CapMinors:
    """The table in that text; lines that aren't about a GPU are passed over. Raises ValueError for one that isn't understood."""
    table = CapMinors()
    for line in text.splitlines():
        stripped = line.strip()
        if not stripped.startswith("gpu"):
            continue
        match = _LINE.fullmatch(stripped)
        if match is None:
            raise ValueError(f"mig-minors: line {stripped!r} isn't understood; expected gpuN/giN/access MINOR or gpuN/giN/ciN/access MINOR")
        gpu, gi, ci, minor = match.groups()
        if ci is None:
            table.instances[int(gpu), int(gi)] = int(minor)
        else:
            table.compute[int(gpu), int(gi), int(ci)] = int(minor)
    return table
