#!/usr/bin/python
# Copyright (c) ds01.infra contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many systemd units in one run, restarted only when what they read is newer than they are."""

from __future__ import annotations

DOCUMENTATION = r"""
module: units
short_description: Make a list of systemd units run what their files say
version_added: 0.1.0
description:
  - Enables, starts, stops and masks units, reloads the manager when files of a unit are newer than what it has loaded.
  - A running unit is restarted or reloaded when one of its sources is newer than its start. Nothing has to be notified, and a restart that
    was missed because a converge stopped half-way is made up by the next.
author:
  - ds01.infra contributors (@ds01)
extends_documentation_fragment:
  - ds01.infra.attributes
options:
  units:
    description: The units, in the order in which they are dealt with.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Full name with its suffix.
        type: str
        required: true
      state:
        description:
          - Whether it runs. With V(kept) that is left as it is, and a unit that is not there is no mistake; one that runs is restarted or
            reloaded for its sources.
        type: str
        choices: [started, stopped, kept]
        default: started
      enabled:
        description: Whether it starts at boot. Left alone without this option.
        type: bool
      masked:
        description: Stops the unit and makes it impossible to start.
        type: bool
        default: false
      sources:
        description: Files and links that the unit reads when it starts.
        type: list
        elements: path
        default: []
      on_change:
        description: What a running unit needs when a source is newer than its start.
        type: str
        choices: [restart, reload]
        default: restart
"""

EXAMPLES = r"""
- name: Run the gate, and drain and start it again for a new release
  ds01.infra.units:
    units:
      - name: ds01-gate.socket
        enabled: true
      - name: ds01-gate.service
        enabled: true
        sources: [/opt/ds01/current, /etc/systemd/system/ds01-gate.service]
"""

RETURN = r"""
actions:
  description: What was done, or would be done in check mode, in words.
  type: list
  elements: str
  returned: success
  sample: [restart ds01-gate.service]
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.ds01.infra.plugins.module_utils.core.unit_plan import DesiredUnit, UnitError, plan_units
from ansible_collections.ds01.infra.plugins.module_utils.systemd_units import newest_change, read_units, take


def build_argument_spec() -> dict[str, Any]:
    """The options, as in the documentation."""
    unit = {
        "name": {"type": "str", "required": True},
        "state": {"type": "str", "choices": ["started", "stopped", "kept"], "default": "started"},
        "enabled": {"type": "bool"},
        "masked": {"type": "bool", "default": False},
        "sources": {"type": "list", "elements": "path", "default": []},
        "on_change": {"type": "str", "choices": ["restart", "reload"], "default": "restart"},
    }
    return {"units": {"type": "list", "elements": "dict", "required": True, "options": unit}}


def run(module: AnsibleModule) -> dict[str, Any]:
    """Plans, acts outside check mode, and reports under the same keys in every mode."""
    units = [DesiredUnit(**{**item, "sources": tuple(item["sources"])}) for item in module.params["units"]]
    states = read_units([unit.name for unit in units])
    missing = [unit.name for unit in units if not states[unit.name].loaded and not unit.masked and unit.state == "started"]
    if missing and not module.check_mode:
        module.fail_json(msg=f"units: {', '.join(missing)} not known to systemd; write the unit file first")
    steps = plan_units([(unit, newest_change(unit.sources)) for unit in units], states)
    if not module.check_mode:
        take(steps)
    actions = [step.action for step in steps]
    result: dict[str, Any] = {"changed": bool(steps), "actions": actions}
    if module._diff:
        touched = {step.unit for step in steps if step.unit}
        result["diff"] = {
            "before": {name: "active" if states[name].active else "inactive" for name in sorted(touched)},
            "after": {step.unit: step.verb for step in steps if step.unit},
        }
    return result


def main() -> None:
    """Entry point."""
    module = AnsibleModule(build_argument_spec(), supports_check_mode=True)
    try:
        module.exit_json(**run(module))
    except (UnitError, OSError) as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
