# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Control groups that daemons in namespaces of their own leave on the host: with the namespaces gone, nobody else removes them."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
_CLAIM_SLICE = re.compile(r"ds01-u\d+-c[0-9a-f]+\.slice")
"""A slice of one container alone. What several daemons may use at once stays."""


def remove(groups: Iterable[str]) -> None:
    """Remove these groups, named from the top of a hierarchy, where they are empty: by name, for a host may have tens of thousands."""
    tops = list(_tops())
    for group in groups:
        for top in tops:
            with contextlib.suppress(OSError):
                os.rmdir(top / group)


def of_containers(directory: Path) -> Iterator[str]:
    """The groups of the containers that dockerd keeps in that directory, each before the slice that was made for it."""
    for settings in directory.glob("*/hostconfig.json"):
        parent = str(json.loads(settings.read_text()).get("CgroupParent") or "docker").strip("/")
        yield f"{parent}/{settings.parent.name}"
        if _CLAIM_SLICE.fullmatch(parent):
            yield parent


def _tops() -> Iterator[Path]:
    """Where dockerd's names begin: at the top of each hierarchy, or at the group that the tests run in."""
    own = {line.split(":", 2)[2].strip("/") for line in Path("/proc/self/cgroup").read_text().splitlines()}
    for hierarchy in (_ROOT, *(_ROOT / name for name in os.listdir(_ROOT) if not (_ROOT / "cgroup.procs").exists())):
        yield from (hierarchy / group for group in {"", *own})
