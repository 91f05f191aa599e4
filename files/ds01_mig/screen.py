# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Answers of ``ds01-mig`` for people."""

from __future__ import annotations

from typing import Any


def shown(answer: dict[str, Any]) -> str:
    """The answer as text: the GPUs with their instances, then what was or would be done."""
    lines = []
    if "gpus" in answer:
        lines.append(f"driver {answer['driver']}" + (" (simulated GPUs)" if answer["simulated"] else ""))
        for gpu in answer["gpus"]:
            lines += _gpu(gpu)
    if answer.get("published") is False:
        lines.append("the published snapshot is out of date: ds01-mig publish")
    lines += [f"displaced: {item}" for item in answer.get("displaced", [])]
    if "actions" in answer:
        lines += answer["actions"] or ["nothing to do"]
    return "\n".join(lines)


def _gpu(gpu: dict[str, Any]) -> list[str]:
    mode = {"mig": "MIG", "off": "whole"}[gpu["mode"]]
    pending = "" if gpu["pending"] == gpu["mode"] else f", pending: MIG {'on' if gpu['pending'] == 'mig' else 'off'}"
    head = f"GPU {gpu['index']}  {gpu['model']}  {gpu['uuid']}  {mode}{pending}{_users(gpu['users'])}"
    return [head, *(_instance(i) for i in gpu["instances"])]


def _instance(instance: dict[str, Any]) -> str:
    place = f"{instance['start']}:{instance['size']}"
    half = "" if instance["whole"] else "  half-done"
    return f"  {instance['profile']:<12}  {place:>4}  {instance['memory_mib']:>7} MiB{half}{_users(instance['users'])}"


def _users(users: list[str]) -> str:
    return f"  used by {', '.join(users)}" if users else ""
