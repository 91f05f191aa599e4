# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The gate asks dockerd for a size of the layer only where dockerd can hold it: anywhere else no container could be created."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ds01_gate.layer_quota import can_limit_layers, can_limit_volumes

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


class AnyKernel(Kernel):
    def enforced(self, directory: str) -> frozenset[Kind]:
        return self.kinds


def test_volumes_can_where_layers_can_and_they_lie_there_too(tmp_path: Path) -> None:
    info = {**XFS, "DockerRootDir": str(tmp_path)}
    assert not can_limit_volumes(info, AnyKernel(Kind.PROJECT))
    (tmp_path / "volumes").mkdir()
    assert can_limit_volumes(info, AnyKernel(Kind.PROJECT))
    assert not can_limit_volumes(info, AnyKernel(Kind.USER))
    assert not can_limit_volumes({**info, "Driver": "btrfs"}, AnyKernel(Kind.PROJECT))
    (tmp_path / "volumes").rmdir()
    (tmp_path / "volumes").symlink_to("/proc")
    assert not can_limit_volumes(info, AnyKernel(Kind.PROJECT))
