# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Observing instead of enforcing: the same case with the quotas of some groups of rules lifted.

A request is judged as policy says, and again with these lifted; only what passes then is logged and let through. So nothing else can pass
by observing: what protects other people and the host is no quota and is never lifted.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Set as AbstractSet

from ..limits import Limits
from .context import Context

_NO_LIMIT = 1_000_000


def lifted(limits: Limits, observed: AbstractSet[str]) -> Limits:
    """The limits without the quotas of the ``observed`` groups."""
    if "containers" in observed:
        limits = dataclasses.replace(limits, container=dataclasses.replace(limits.container, count=None))
    if "gpus" in observed:
        limits = dataclasses.replace(limits, gpu=dataclasses.replace(limits.gpu, equivalents=None))
    if "volumes" in observed:
        limits = dataclasses.replace(limits, aggregate=dataclasses.replace(limits.aggregate, volumes=None))
    if "images" in observed:
        limits = dataclasses.replace(limits, aggregate=dataclasses.replace(limits.aggregate, images=None))
    return limits


def lifted_context(context: Context, observed: AbstractSet[str]) -> Context:
    """The context without the quotas of the ``observed`` groups."""
    if "networks" in observed:
        context = dataclasses.replace(context, networks_per_user=_NO_LIMIT)
    if "images" in observed:
        context = dataclasses.replace(context, registries=None)
    return context
