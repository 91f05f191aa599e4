# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Asks the judge, looks up what it needs, asks again; with the refusals of a mode that only observes written to the log."""

from __future__ import annotations

import dataclasses
import os
import secrets
from collections.abc import Sequence
from datetime import datetime, timezone

from ds01.core.gate.api_versions import Version, spoken
from ds01.core.gate.case import Admitted
from ds01.core.gate.context import Context
from ds01.core.gate.facts import Facts, LegacyFact
from ds01.core.gate.image_archive import Named
from ds01.core.gate.judge import judge, judge_archive
from ds01.core.gate.observe import lifted, lifted_context
from ds01.core.gate.verdict import Answer, Need, Verdict
from ds01.core.limits import Limits
from ds01.core.policy_model import Policy
from ds01.docker_facts import DockerFacts
from ds01.docker_upstream import DockerClient
from ds01.policy_file import PolicyFile
from ds01.quotactl import KernelQuotas
from ds01_gate.audit import Audit
from ds01_gate.caller import Caller
from ds01_gate.layer_quota import can_limit_layers, can_limit_volumes
from ds01_gate.settings import Settings

_MOST_ROUNDS = 64


class Judgement:
    """One for the process."""

    def __init__(
        self, settings: Settings, docker: DockerClient, facts: DockerFacts, audit: Audit, policies: PolicyFile | None = None
    ) -> None:
        self._settings = settings
        self._docker = docker
        self._facts = facts
        self._audit = audit
        self._policies = policies
        self._api: tuple[Version, Version] | None = None
        self._platform = ("linux", "")
        self._holds: tuple[bool, bool] | None = None
        self._lasting: tuple[Policy | None, tuple[Version, Version], Context] | None = None

    def forget_daemon(self) -> None:
        """dockerd was away and may come back as another version."""
        self._api = None
        self._holds = None

    def _quotas(self) -> tuple[bool, bool]:
        """Whether dockerd can hold layers, and volumes, to a size."""
        if self._holds is None:
            info, kernel = self._docker.call("GET", "/info"), KernelQuotas()
            self._holds = can_limit_layers(info, kernel), can_limit_volumes(info, kernel)
        return self._holds

    def api(self) -> tuple[Version, Version]:
        """The oldest and the newest API version that are spoken. Raises DaemonUnavailable, DaemonRefused and DaemonNotSupported."""
        if self._api is None:
            version = self._docker.call("GET", "/version")
            self._platform = (str(version.get("Os") or "linux"), str(version.get("Arch") or ""))
            self._api = spoken(version)
        return self._api

    def context(self) -> Context:
        """The moment and the host, for one request. Raises as ``api``."""
        policy = self._policies.current() if self._policies is not None else None
        api = self.api()
        lasting = self._lasting
        if lasting is None or lasting[0] is not policy or lasting[1] is not api:
            lasting = self._lasting = (policy, api, self._host(policy, api))
        created_at = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        return dataclasses.replace(lasting[2], created_at=created_at, new_claim_id=f"c{secrets.token_hex(6)}")

    def _host(self, policy: Policy | None, api: tuple[Version, Version]) -> Context:
        """What stays the same from request to request, as long as policy and daemon do."""
        layers, volumes = self._quotas()
        context = Context(
            api_min=api[0],
            api_max=api[1],
            created_at="",
            new_claim_id="",
            host_cpus=self._settings.host_cpus or os.cpu_count() or 1,
            buildkit_allowed=self._settings.buildkit,
            networks_per_user=self._settings.networks_per_user,
            layer_quotas=layers,
            volume_quotas=volumes,
            platform=self._platform,
        )
        if policy is None:
            return context
        return dataclasses.replace(
            context,
            network_default=policy.network_default,
            registries=policy.registries,
            shared_namespaces=policy.shared_namespaces,
        )

    def verdict(self, caller: Caller, request: Admitted, body: bytes | None, context: Context, *, observed: frozenset[str]) -> Verdict:
        """What happens to the request. Raises DaemonUnavailable, DaemonRefused, PathServerGone."""
        verdict, facts = self._judged(caller, request, body, self._foreseen(caller, request), caller.limits, context)
        if observed and isinstance(verdict, Answer) and verdict.status >= 400:
            free, _ = self._judged(caller, request, body, facts, lifted(caller.limits, observed), lifted_context(context, observed))
            if not isinstance(free, Answer):
                about = {"route": request.route.name, "object": getattr(free, "object_id", ""), "rule": verdict.rule, "why": verdict.body}
                self._audit.note("would_refuse", uid=caller.uid, user=caller.identity.user, **about)
                return free
        return verdict

    def _foreseen(self, caller: Caller, request: Admitted) -> Facts:
        """What the rule of the most frequent request will ask, known from memory: that saves judging it twice."""
        if request.route.rule != "list_containers" or caller.identity.admin:
            return Facts()
        question = LegacyFact(caller.identity.user, caller.uid)
        return Facts().told({question: self._facts.answer(question, caller.rights)})

    def archive(self, caller: Caller, request: Admitted, names: Sequence[Named], context: Context) -> tuple[str, ...] | Answer:
        """The references that an archive of images may change, or its refusal."""
        facts = Facts()
        for _ in range(_MOST_ROUNDS):
            found = judge_archive(caller.identity, request, names, facts, caller.limits, context)
            if not isinstance(found, Need):
                return found
            facts = facts.told({question: self._facts.answer(question, caller.rights) for question in found.questions})
        raise RuntimeError(f"{request.route.name}: no verdict after {_MOST_ROUNDS} rounds of questions")

    def _judged(
        self, caller: Caller, request: Admitted, body: bytes | None, facts: Facts, limits: Limits, context: Context
    ) -> tuple[Verdict, Facts]:
        for _ in range(_MOST_ROUNDS):
            verdict = judge(caller.identity, request, body, facts, limits, context)
            if not isinstance(verdict, Need):
                return verdict, facts
            facts = facts.told({question: self._facts.answer(question, caller.rights) for question in verdict.questions})
        raise RuntimeError(f"{request.route.name}: no verdict after {_MOST_ROUNDS} rounds of questions")
