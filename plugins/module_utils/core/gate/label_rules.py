# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The labels of a new container: the client's own, and those that only the gate writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..gpu_request import GpuRequest
from ..lifecycle_subject import KEEP_LABEL
from .case import Case
from .gpu_rules import ASK_LABEL
from .identity import OWNER_LABEL, UID_LABEL
from .ownership import RESERVED_PREFIX
from .verdict import Stop
from .wait_label import WAIT_LABEL, wait_seconds

GROUP_LABEL = "ds01.group"
KIND_LABEL = "ds01.kind"
CREATED_LABEL = "ds01.created_at"
CLAIM_LABEL = "ds01.claim"
GPU_LABEL = "ds01.gpu.request"
_WRITTEN_HERE = frozenset((OWNER_LABEL, UID_LABEL, GROUP_LABEL, KIND_LABEL, CREATED_LABEL, CLAIM_LABEL, GPU_LABEL))
_DEVCONTAINER_PREFIXES = ("devcontainer.", "vsch.", "com.visualstudio.code.")
_COMPOSE_LABEL = "com.docker.compose.project"


def kind(labels: Mapping[str, str]) -> str:
    """What made the container: devcontainer, compose, ds01 or docker."""
    if any(key.startswith(_DEVCONTAINER_PREFIXES) for key in labels):
        return "devcontainer"
    if _COMPOSE_LABEL in labels:
        return "compose"
    return "ds01" if labels.get(KIND_LABEL) == "ds01" else "docker"


def _keep(value: str) -> str:
    """Whether the container is to be kept when it has stopped (``lifecycle_subject``)."""
    if value.strip().lower() not in ("true", "false"):
        raise Stop(400, f"label {KEEP_LABEL}={ascii(value)[:40]} is not understood; expected true or false.", "keep-label")
    return value.strip().lower()


def container_labels(
    case: Case, asked: Mapping[str, str], image_labels: Sequence[str], claim_id: str | None, gpu: GpuRequest | None
) -> dict[str, str]:
    """All labels. A ``ds01.`` label of the image is emptied, because Docker would hand it on to the container."""
    labels: dict[str, str] = {}
    kept: dict[str, str] = {}
    for key, value in asked.items():
        if not key.lower().startswith(RESERVED_PREFIX):
            labels[key] = value
        elif key == WAIT_LABEL:
            wait_seconds(value)
            kept[key] = value
        elif key == KEEP_LABEL:
            kept[key] = _keep(value)
        elif key not in _WRITTEN_HERE and key != ASK_LABEL:
            raise Stop(
                400,
                f"label {ascii(key)[:80]} is refused: labels that start with {RESERVED_PREFIX} are the server's. "
                f"To ask for a GPU use {ASK_LABEL}, to keep the container when it has stopped {KEEP_LABEL}=true.",
                "label",
            )
    labels.update(dict.fromkeys((key for key in image_labels if key.lower().startswith(RESERVED_PREFIX)), ""))
    labels.update(kept)
    labels.update(
        {
            OWNER_LABEL: case.identity.user,
            UID_LABEL: str(case.identity.uid),
            GROUP_LABEL: case.limits.group,
            KIND_LABEL: kind(asked),
            CREATED_LABEL: case.context.created_at,
        }
    )
    if claim_id is not None and gpu is not None:
        labels.update({CLAIM_LABEL: claim_id, GPU_LABEL: gpu.text()})
    return labels
