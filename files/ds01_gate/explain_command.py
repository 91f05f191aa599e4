# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Runs ``ds01-gate explain`` on this host: its policy, its people, its dockerd (asked with GET alone)."""

from __future__ import annotations

import argparse
import io
import json
import sys
from pathlib import Path
from typing import Any

from ds01.allocator import AllocationPaths, Allocator
from ds01.caller_paths import CallerPaths, PathServerGone, Rights
from ds01.core.gate.api_versions import DaemonNotSupported
from ds01.core.gate.identity import Identity
from ds01.core.gate.observe import lifted, lifted_context
from ds01.core.gate.verdict import Answer, Forward, Verdict
from ds01.core.policy_problems import PolicyError
from ds01.docker_facts import DockerFacts
from ds01.docker_upstream import DaemonRefused, DaemonUnavailable, DockerClient
from ds01.image_tags import ImageTags
from ds01.peer_identity import Accounts
from ds01.policy_file import PolicyFile, Resolver, facts_by_name
from ds01.slice_control import NoSlices
from ds01_gate import explain
from ds01_gate.audit import Audit
from ds01_gate.judgement import Judgement
from ds01_gate.settings import SETTINGS_PATH, Settings, SettingsError, load


def main(arguments: list[str]) -> int:
    """Print which rule decides; the exit status."""
    given = explain.options(arguments)
    try:
        settings = load(given.config or SETTINGS_PATH)
        document = _document(given, settings)
    except (
        explain.CannotJudge,
        DaemonNotSupported,
        SettingsError,
        PolicyError,
        LookupError,
        DaemonRefused,
        DaemonUnavailable,
        PathServerGone,
        OSError,
    ) as error:
        sys.stderr.write(f"ds01-gate explain: {error}\n")
        return explain.UNKNOWN
    sys.stdout.write((json.dumps(document, indent=2) if given.json else explain.render(document)) + "\n")
    return explain.LET_THROUGH if document["passes"] else explain.REFUSED


def _document(given: argparse.Namespace, settings: Settings) -> dict[str, Any]:
    method, target, body, user = explain.request_of(given)
    person = facts_by_name(user)
    entry = Accounts().find(person.uid)
    if entry is None:
        raise explain.CannotJudge(f"{user}: the user database doesn't know uid {person.uid}")
    policies = PolicyFile(settings.policy)
    people = Resolver(policies)
    limits = people.limits(person.uid)
    identity = Identity(person.uid, entry.name, entry.gid, entry.groups, limits.admin or person.uid == 0, True)
    rights = Rights(person.uid, entry.gid, tuple(gid for _, gid in entry.groups))
    docker = DockerClient(settings.docker)
    facts = DockerFacts(docker, CallerPaths(), ImageTags(Path(settings.image_tags)))
    context = Judgement(settings, docker, facts, Audit(io.StringIO()), policies).context()
    head = explain.head_of(method, target, body)

    verdict = explain.judged(identity, head, body, limits, context, rights, facts.answer)
    free: Verdict | None = None
    observed = policies.current().gate.observed
    if isinstance(verdict, Answer) and verdict.status >= 400 and observed:
        at_large = lifted(limits, observed), lifted_context(context, observed)
        free = explain.judged(identity, head, body, *at_large, rights, facts.answer)
    where = AllocationPaths(
        Path(settings.claims), Path(settings.claims_lock), Path(settings.devices), Path(settings.cdi_base), Path(settings.reservations)
    )
    gpus = explain.grants(verdict, people.limits, Allocator(where, NoSlices()).moment) if isinstance(verdict, Forward) else []
    return explain.account(verdict, gpus, free)
