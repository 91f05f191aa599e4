# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""How much one person may keep in Docker's data root: volumes by number and size, images by the space that they fill."""

from __future__ import annotations

from ..quantities import format_size
from ..refusal import Refusal
from .case import Case
from .facts import Volume

_LEAST = 1 << 20  # dockerd takes a size of 0 for none
_SHOWN = 1 << 20


def check_volumes(case: Case, more: int) -> None:
    """Nothing if the caller may have ``more`` volumes than there are, else ``Refusal``. Asked under the caller's lock."""
    limit = case.limits.aggregate.volumes
    if more <= 0 or limit is None:
        return
    have = case.facts.volume_count(case.identity.user)
    if have + more > limit:
        raise Refusal(
            f"{'another volume' if more == 1 else f'{more} more volumes'} is refused",
            f"you have {have} volumes, and {limit} are allowed",
            "Remove what you don't need: docker volume ls, docker volume rm NAME, docker volume prune.",
            rule="volume-count",
        )


def check_images(case: Case, what: str) -> None:
    """Nothing while the caller's images fill less than policy lets them, else ``Refusal``: how large the new one will be nobody knows."""
    limit = case.limits.aggregate.images
    if limit is None:
        return
    used = case.facts.image_space(case.identity.user, case.identity.namespaces)
    if used >= limit:
        raise Refusal(
            f"{what} is refused",
            f"your images fill {format_size(used // _SHOWN * _SHOWN)}, and {format_size(limit)} are allowed",
            f"Remove some: docker image ls '{case.identity.namespaces[0]}/*', docker rmi NAME, docker image prune.",
            rule="image-space",
        )


def volume_options(case: Case) -> dict[str, str]:
    """Options of a volume that is made: its size, where policy bounds it and dockerd can hold it. dockerd refuses it anywhere else."""
    size = case.limits.container.volume
    return {"size": str(max(size, _LEAST))} if case.context.volume_quotas and size is not None else {}


def is_plain(volume: Volume) -> bool:
    """Whether a volume is a directory of dockerd's own, bounded or not, and stands for nothing else of the host."""
    return not set(volume.options) - {"size"}
