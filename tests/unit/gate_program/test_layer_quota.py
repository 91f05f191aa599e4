# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The gate asks dockerd for a size of the layer only where dockerd can hold it: anywhere else no container could be created."""

from __future__ import annotations

from typing import Any

import pytest
from ds01_gate.layer_quota import can_limit_layers

from ds01.core.disk_plan import Kind, Quota

XFS: dict[str, Any] = {
    "Driver": "overlay2",
    "DriverStatus": [["Backing Filesystem", "xfs"], ["Supports d_type", "true"]],
    "DockerRootDir": "/var/lib/docker",
}


class Kernel:
    def __init__(self, *kinds: Kind, error: OSError | None = None) -> None:
        self.kinds, self.error = frozenset(kinds), error

    def enforced(self, directory: str) -> frozenset[Kind]:
        assert directory == "/var/lib/docker"
        if self.error is not None:
            raise self.error
        return self.kinds

    def get(self, directory: str, kind: Kind, number: int) -> Quota:
        raise AssertionError("nobody's use is asked for")

    def set(self, directory: str, kind: Kind, number: int, limit_bytes: int | None) -> None:
        raise AssertionError("looking changes nothing")


def test_overlay2_on_xfs_with_project_quotas_can() -> None:
    assert can_limit_layers(XFS, Kernel(Kind.PROJECT, Kind.USER))


@pytest.mark.parametrize(
    ("changed", "kernel"),
    [
        ({}, Kernel(Kind.USER)),
        ({}, Kernel()),
        ({}, Kernel(Kind.PROJECT, error=PermissionError(13, "no"))),
        ({"Driver": "vfs"}, Kernel(Kind.PROJECT)),
        ({"Driver": "overlayfs"}, Kernel(Kind.PROJECT)),
        ({"DriverStatus": [["Backing Filesystem", "extfs"]]}, Kernel(Kind.PROJECT)),
        ({"DriverStatus": None}, Kernel(Kind.PROJECT)),
        ({"DockerRootDir": None}, Kernel(Kind.PROJECT)),
    ],
)
def test_everything_else_can_t(changed: dict[str, Any], kernel: Kernel) -> None:
    assert not can_limit_layers({**XFS, **changed}, kernel)
