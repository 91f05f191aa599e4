# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Runs a module's ``run`` as Ansible would, in this process: real options parsing, check mode, diff, and the result it would print."""

from __future__ import annotations

import json
from dataclasses import dataclass
from types import ModuleType
from typing import Any
from unittest import mock

from ansible.module_utils import basic
from ansible.module_utils.testing import patch_module_args


@dataclass(frozen=True)
class Outcome:
    """What the module printed; ``failed`` for a failure."""

    result: dict[str, Any]
    failed: bool

    @property
    def changed(self) -> bool:
        assert not self.failed, self.result["msg"]
        return bool(self.result["changed"])


class _Exit(Exception):
    """Stands for the end of the module's process."""


def run_module(module: ModuleType, options: dict[str, Any], *, check: bool = False, diff: bool = True) -> Outcome:
    """Calls the module's ``main`` with the options. The result has passed through JSON, as on the way to the controller."""
    outcomes: list[Outcome] = []

    def record(result: dict[str, Any], failed: bool) -> None:
        result.pop("invocation", None)
        result.pop("exception", None)
        outcomes.append(Outcome(json.loads(json.dumps(result)), failed))
        raise _Exit

    def exit_json(_self: basic.AnsibleModule, **result: Any) -> None:
        record(result, False)

    def fail_json(_self: basic.AnsibleModule, msg: str, **result: Any) -> None:
        record({"msg": msg, **result}, True)

    with (
        patch_module_args({**options, "_ansible_check_mode": check, "_ansible_diff": diff}),
        mock.patch.object(basic.AnsibleModule, "exit_json", exit_json),
        mock.patch.object(basic.AnsibleModule, "fail_json", fail_json),
    ):
        try:
            module.main()
        except _Exit:
            return outcomes[0]
    raise RuntimeError(f"{module.__name__}.main came back without a result")
