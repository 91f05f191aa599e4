# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Whose lifecycle rules a container falls under: its owner, its kind in the policy, and whether it is the platform's own.

Labels that begin with ``ds01.`` are only the gate's word where ``ds01.uid`` stands among them; without it the container was made by root.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .policy_schema import KINDS
from .workload_facts import ContainerFacts, People
from .workload_kind import origin
from .workload_owner import container_owner

PROTECTED_LABEL = "ds01.protected"
KEEP_LABEL = "ds01.keep"
_UID_LABEL = "ds01.uid"
_YES = frozenset({"1", "true", "yes"})
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Subject:
    """``uid`` None: nobody's. ``kind`` is one of the policy's kinds. ``keep``: its owner asked that it be kept when it does not run."""

    uid: int | None
    user: str | None
    kind: str
    protected: bool
    keep: bool


def _says(labels: Mapping[str, str], label: str) -> bool:
    return labels.get(label, "").strip().lower() in _YES


def subject(facts: ContainerFacts, people: People) -> Subject:
    """The rules for a container. Without an owner, or of no kind that the policy knows, it is ``unknown``, which is to be strict."""
    owner = container_owner(facts, people)
    made = origin(facts)
    kind = made if owner.uid is not None and made in KINDS else UNKNOWN
    gated = _UID_LABEL in facts.labels
    return Subject(owner.uid, owner.user, kind, _says(facts.labels, PROTECTED_LABEL) and not gated, _says(facts.labels, KEEP_LABEL))
