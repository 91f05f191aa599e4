# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The container of a day's work: a shell that stays, the person's own uid, their directory at /workspace, a GPU where one is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

WORKSPACE = "/workspace"


@dataclass(frozen=True)
class Launch:
    """``gpu`` is written as in the label ``ds01.gpu`` (``all``: one device), None for none; ``wait`` as in ``ds01.gpu.wait``."""

    image: str
    user: str
    uid: int
    gid: int
    workspace: str
    gpu: str | None = "all"
    wait: str | None = None


def container_body(launch: Launch) -> dict[str, Any]:
    """The body of POST /containers/create.

    USER and LOGNAME are set because the uid has no name in the image, and getpass.getuser() looks there first; HOME because ``/`` would be
    it, which that uid can't write.
    """
    labels = {"ds01.kind": "ds01"}
    host: dict[str, Any] = {"Binds": [f"{launch.workspace}:{WORKSPACE}"], "Init": True}
    if launch.gpu is not None:
        host["DeviceRequests"] = [{"Count": -1, "Capabilities": [["gpu"]]}]
        if launch.gpu != "all":
            labels["ds01.gpu"] = launch.gpu
        if launch.wait is not None:
            labels["ds01.gpu.wait"] = launch.wait
    return {
        "Image": launch.image,
        "User": f"{launch.uid}:{launch.gid}",
        "Env": [f"HOME={WORKSPACE}", f"USER={launch.user}", f"LOGNAME={launch.user}"],
        "WorkingDir": WORKSPACE,
        "Tty": True,
        "OpenStdin": True,
        "Labels": labels,
        "HostConfig": host,
    }
