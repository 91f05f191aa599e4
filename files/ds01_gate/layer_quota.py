# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Whether dockerd can hold the writable layer of a container, or a volume, to a size: overlay2 on XFS with project quotas, nothing else.

dockerd refuses a create with a size where it can't, so the gate asks for one only where it can.
"""

from __future__ import annotations

import os
from typing import Any

from ds01.core.disk_plan import Kind
from ds01.quotactl import Quotas


def can_limit_volumes(info: dict[str, Any], quotas: Quotas) -> bool:
    """The same of volumes: where layers can be, and the volumes lie on that filesystem, too."""
    try:
        root = str(info.get("DockerRootDir"))
        return can_limit_layers(info, quotas) and os.stat(root).st_dev == os.stat(os.path.join(root, "volumes")).st_dev
    except OSError:
        return False


def can_limit_layers(info: dict[str, Any], quotas: Quotas) -> bool:
    """``info``: what dockerd says at ``/info``. False also where its data root can't be looked at."""
    status = info.get("DriverStatus") or []
    backing = {str(pair[0]): str(pair[1]) for pair in status if isinstance(pair, list) and len(pair) == 2}
    root = info.get("DockerRootDir")
    if info.get("Driver") != "overlay2" or backing.get("Backing Filesystem") != "xfs" or not isinstance(root, str):
        return False
    try:
        return Kind.PROJECT in quotas.enforced(root)
    except OSError:
        return False
