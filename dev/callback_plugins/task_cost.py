# Copyright (c) ds01.infra contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Counts the module runs of a play and where its time goes, as JSON at $TASK_COST_FILE. Enabled by tests, not by default."""

from __future__ import annotations

import json
import os
import time

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = r"""
name: task_cost
type: aggregate
short_description: Counts module runs and measures tasks
description:
  - A module run is what costs a connection to the host. Actions that stay on the controller are counted apart.
"""

CONTROLLER_ONLY = {
    "assert",
    "debug",
    "fail",
    "include_role",
    "import_role",
    "include_tasks",
    "meta",
    "set_fact",
    "validate_argument_spec",
    "add_host",
}


class CallbackModule(CallbackBase):
    """Writes the figures when the play ends."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "task_cost"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self._began = time.monotonic()
        self._tasks: list[dict[str, object]] = []
        self._changed: list[str] = []

    def v2_playbook_on_task_start(self, task, is_conditional) -> None:
        self._began = time.monotonic()

    def _done(self, result) -> None:
        name = result.task.get_name()
        action = result.task.action.rpartition(".")[2]
        delegated = result.task.delegate_to is not None
        local = action in CONTROLLER_ONLY or delegated
        self._tasks.append({"task": name, "seconds": round(time.monotonic() - self._began, 2), "module_run": not local})
        if result.result.get("changed"):
            self._changed.append(name)

    v2_runner_on_ok = _done
    v2_runner_on_failed = _done

    def v2_playbook_on_stats(self, stats) -> None:
        path = os.environ.get("TASK_COST_FILE")
        if path:
            figures = {
                "module_runs": sum(1 for task in self._tasks if task["module_run"]),
                "seconds": round(sum(float(task["seconds"]) for task in self._tasks), 1),
                "changed": self._changed,
                "tasks": sorted(self._tasks, key=lambda task: -float(task["seconds"])),
            }
            with open(path, "w", encoding="utf-8") as stream:
                json.dump(figures, stream, indent=1)
