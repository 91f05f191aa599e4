# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""How much disk the images of one person fill beyond what is there anyway.

Docker tells the size of an image with all its layers, and which layers it has, but no layer's size. So an image counts for what it adds to
the largest other image that it is built on: one of the same person, which counts itself, or one with a name that is somebody else's.
What two images of a person share without being built on one another counts in each.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class SizedImage:
    """``size`` in bytes, all layers together; ``layers`` from the lowest up."""

    size: int
    layers: tuple[str, ...]


def space(own: Iterable[SizedImage], others: Iterable[SizedImage]) -> int:
    """Bytes that the ``own`` images add to the ``others``."""
    theirs = {image.layers: image.size for image in others}
    mine = {image.layers: image.size for image in own if image.layers not in theirs}
    bases = {**theirs, **mine}
    return sum(max(size - _base(layers, bases), 0) for layers, size in mine.items())


def _base(layers: tuple[str, ...], bases: dict[tuple[str, ...], int]) -> int:
    return next((bases[layers[:count]] for count in range(len(layers) - 1, 0, -1) if layers[:count] in bases), 0)
