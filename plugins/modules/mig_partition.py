#!/usr/bin/python
# Copyright (c) ds01.infra contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The MIG layout of a whole host in one run: the least change, nothing in use touched."""

from __future__ import annotations

DOCUMENTATION = r"""
module: mig_partition
short_description: Partition the GPUs of a host with MIG
version_added: 0.1.0
description:
  - Converges all GPUs of a host to a desired MIG layout in one run, with the least change. What the layout has a use for is kept.
  - Profiles and their possible places are read from the driver. Instances are created at places of the module's choosing,
    so that a layout that is possible beside what stays is always found.
  - An instance that a process or a claim uses is never destroyed, unless O(force=true).
  - What an interrupted run left half-done is completed, such as an instance without its compute instance or a pending mode switch.
  - A mode switch that the driver refuses because the GPU is busy is taken back.
  - After every change the snapshot of all devices is published, together with the vendor's CDI spec.
author:
  - ds01.infra contributors (@ds01)
extends_documentation_fragment:
  - ds01.infra.attributes
requirements:
  - nvidia-ml-py >= 12.535, < 14
  - an NVIDIA driver >= 525, or the simulated one of role C(gpu_simulator)
  - C(nvidia-ctk), or C(ds01-gpusim) with the simulated driver
notes:
  - Run it as root, with an interpreter that has nvidia-ml-py (see the example).
  - GPU indices follow the PCI bus and can change with the hardware; UUIDs can't.
  - A GPU's mode can only be switched while nothing has the GPU open. O(pause_units) stops monitors for that time. Processes of users are
    never ended, with O(force=true) neither.
options:
  gpus:
    description: What each GPU ought to be. An entry for one GPU goes before the one for V(all).
    type: list
    elements: dict
    default: []
    suboptions:
      gpu:
        description: Index, UUID (C(GPU-...)), or V(all) for every GPU that no other entry names.
        type: str
        required: true
      mode:
        description: V(mig) for MIG with O(gpus[].layout) or O(gpus[].instances), V(off) for the GPU as a whole.
        type: str
        choices: [mig, "off"]
        default: mig
      layout:
        description:
          - A layout by name. V(all-balanced) is one large, one middle and two small instances.
          - V(all-1g), V(all-2g) and so on are as many instances of that many compute slices as the GPU takes.
        type: str
      instances:
        description: The instances one by one. An empty list is a GPU with MIG on and no instance.
        type: list
        elements: dict
        suboptions:
          profile:
            description: A profile by the driver's name, such as V(2g.10gb), or V(2g) for the plain one of that many compute slices.
            type: str
            required: true
          start:
            description: The first memory slice. By default a place that leaves the most room.
            type: int
      dynamic:
        description:
          - Lets the GPU be re-partitioned on demand. O(gpus[].layout) or O(gpus[].instances) are then what it starts with.
          - What stands there is left as it is, as long as it is of the profiles listed here or of those it starts with.
        type: dict
        suboptions:
          profiles:
            description: The profiles that may be made on demand.
            type: list
            elements: str
            required: true
  purge:
    description: Turns MIG off on every GPU that O(gpus) does not name. By default such a GPU is left alone.
    type: bool
    default: false
  force:
    description:
      - Destroys instances in spite of claims on them, and says which in RV(displaced).
      - The driver still refuses where a process has the instance open, and the run fails there.
    type: bool
    default: false
  pause_units:
    description: Systemd units that hold GPUs open (monitors). Those that run are stopped while something is changed, and started again.
    type: list
    elements: str
    default: []
  paths:
    description: Files that the module reads and writes, where they are not in their usual places.
    type: dict
    default: {}
    suboptions:
      lock:
        description: Held during changes.
        type: path
        default: /run/ds01/mig.lock
      devices:
        description: The snapshot of all devices.
        type: path
        default: /run/ds01/devices.json
      cdi_base:
        description: The vendor's CDI spec for all devices.
        type: path
        default: /run/ds01/cdi-base.json
      claims:
        description: The directory of claims.
        type: path
        default: /run/cdi
      claims_lock:
        description: Held while devices change, so that none is granted meanwhile.
        type: path
        default: /run/ds01/claims.lock
      cap_minors:
        description: The driver's table of capability minors. The default depends on the driver.
        type: path
      policy:
        description: The policy, which says in which pool a GPU is. Without a valid one GPUs stay in the pools they were published with.
        type: path
        default: /etc/ds01/policy.json
"""

EXAMPLES = r"""
- name: Keep two GPUs whole and partition the others
  ds01.infra.mig_partition:
    gpus:
      - gpu: 0
        mode: "off"
      - gpu: 1
        mode: "off"
      - gpu: all
        layout: all-balanced
    pause_units:
      - nvidia-dcgm.service
  vars:
    ansible_python_interpreter: /opt/ds01/venv/bin/python

- name: Give one GPU a layout of its own, with one instance at a fixed place
  ds01.infra.mig_partition:
    gpus:
      - gpu: GPU-2f3a9d0c-6f7e-4b2a-9c55-0d1e2f3a4b5c
        instances:
          - profile: 3g.20gb
            start: 4
          - profile: 2g
          - profile: 2g
  vars:
    ansible_python_interpreter: /opt/ds01/venv/bin/python
"""

RETURN = r"""
gpus:
  description: Every GPU as it is after the run, or would be in check mode.
  type: list
  elements: dict
  returned: always
  contains:
    index:
      description: Index of the GPU.
      type: int
      returned: always
    uuid:
      description: UUID of the GPU.
      type: str
      returned: always
    model:
      description: Name of the model.
      type: str
      returned: always
    mig_capable:
      description: Whether the GPU has MIG.
      type: bool
      returned: always
    mode:
      description: V(mig) or V(off).
      type: str
      returned: always
    pending:
      description: The mode after the next reset. Differs from RV(gpus[].mode) only while a switch is not in force.
      type: str
      returned: always
    users:
      description: Processes and claims on the GPU outside of its instances, in words.
      type: list
      elements: str
      returned: always
    instances:
      description: The instances by place, each with C(profile), C(profile_id), C(start) and C(size) (memory slices), C(compute_slices),
        C(memory_mib), C(whole) and C(users).
      type: list
      elements: dict
      returned: always
      sample: [{profile: 3g.20gb, profile_id: 9, start: 4, size: 4, compute_slices: 3, memory_mib: 19968, whole: true, users: []}]
actions:
  description: What was done, or would be done in check mode, in words. When a step failed, what was done before.
  type: list
  elements: str
  returned: always
  sample: ["GPU 2: switch MIG on", "GPU 2: create 3g.20gb at 4"]
displaced:
  description: What was destroyed although it was in use (O(force=true)), in words.
  type: list
  elements: str
  returned: always
driver:
  description: Version of the driver.
  type: str
  returned: always
simulated:
  description: Whether the GPUs are simulated.
  type: bool
  returned: always
problems:
  description: Why the layout can't be had, when it can't. Nothing was changed then.
  type: list
  elements: dict
  returned: failure
  contains:
    reason:
      description: One of V(no_such_gpu), V(named_twice), V(mig_unsupported), V(unknown_profile), V(unknown_start), V(does_not_fit) and
        V(in_use).
      type: str
      returned: always
    gpu:
      description: Index of the GPU, or what the option named.
      type: str
      returned: always
    message:
      description: What is wrong and what would be possible, or who is in the way.
      type: str
      returned: always
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.ds01.infra.plugins.module_utils.core.mig_layout import HostLayout, LayoutError, parse_gpus
from ansible_collections.ds01.infra.plugins.module_utils.core.mig_report import in_short, predicted, present
from ansible_collections.ds01.infra.plugins.module_utils.devices_snapshot import PublishError
from ansible_collections.ds01.infra.plugins.module_utils.mig_apply import ApplyFailed, ImpossibleLayout, MigHost, MigPaths, Survey
from ansible_collections.ds01.infra.plugins.module_utils.mig_claims import ClaimFiles
from ansible_collections.ds01.infra.plugins.module_utils.nvml_binding import NvmlError
from ansible_collections.ds01.infra.plugins.module_utils.own_scope import leave_session
from ansible_collections.ds01.infra.plugins.module_utils.paused_units import PauseError


def build_argument_spec() -> dict[str, Any]:
    """The module's options."""
    instance = {"profile": {"type": "str", "required": True}, "start": {"type": "int"}}
    entry = {
        "gpu": {"type": "str", "required": True},
        "mode": {"type": "str", "choices": ["mig", "off"], "default": "mig"},
        "layout": {"type": "str"},
        "instances": {"type": "list", "elements": "dict", "options": instance},
        "dynamic": {"type": "dict", "options": {"profiles": {"type": "list", "elements": "str", "required": True}}},
    }
    paths = {
        "lock": {"type": "path", "default": "/run/ds01/mig.lock"},
        "devices": {"type": "path", "default": "/run/ds01/devices.json"},
        "cdi_base": {"type": "path", "default": "/run/ds01/cdi-base.json"},
        "claims": {"type": "path", "default": "/run/cdi"},
        "claims_lock": {"type": "path", "default": "/run/ds01/claims.lock"},
        "cap_minors": {"type": "path"},
        "policy": {"type": "path", "default": "/etc/ds01/policy.json"},
    }
    return {
        "gpus": {"type": "list", "elements": "dict", "default": [], "options": entry},
        "purge": {"type": "bool", "default": False},
        "force": {"type": "bool", "default": False},
        "pause_units": {"type": "list", "elements": "str", "default": []},
        "paths": {"type": "dict", "default": {}, "options": paths, "apply_defaults": True},
    }


def desired(params: dict[str, Any]) -> HostLayout:
    """The layout that the options ask for. Raises LayoutError."""
    return parse_gpus([_without_none(e) for e in params["gpus"]], params["purge"], params["pause_units"])


def run(module: AnsibleModule) -> dict[str, Any]:
    """Read, plan, apply unless in check mode, and report under the same keys."""
    layout = desired(module.params)
    paths = module.params["paths"]
    files = MigPaths(
        lock=Path(paths["lock"]),
        devices=Path(paths["devices"]),
        cdi_base=Path(paths["cdi_base"]),
        cap_minors=None if paths["cap_minors"] is None else Path(paths["cap_minors"]),
        policy=Path(paths["policy"]),
    )
    host = MigHost(files, ClaimFiles(Path(paths["claims"]), Path(paths["claims_lock"])))
    force = module.params["force"]
    before = host.survey(layout, force)
    if before.plan.problems:
        _refuse(module, before, ImpossibleLayout(before.plan.problems))
    actions, after, published = before.actions, predicted(before.gpus, before.plan), True
    if actions and not module.check_mode:
        try:
            actions = host.apply(layout, force)
        except ImpossibleLayout as error:
            _refuse(module, before, error)
        except ApplyFailed as error:
            now = host.survey(layout, force)
            module.fail_json(msg=str(error), changed=True, actions=list(error.done), problems=[], **_facts(now, present(now.gpus)))
        now = host.survey(layout, force)
        after, published = present(now.gpus), now.published
    result = {"changed": bool(actions), "actions": actions, **_facts(before, after), "displaced": before.plan.displaced}
    if module._diff:
        result["diff"] = {
            "before": {**in_short(present(before.gpus)), "snapshot": _snapshot(before.published)},
            "after": {**in_short(after), "snapshot": _snapshot(published)},
        }
    return result


def _refuse(module: AnsibleModule, survey: Survey, error: ImpossibleLayout) -> None:
    problems = [{"reason": p.reason.value, "gpu": p.gpu, "message": p.message} for p in error.problems]
    module.fail_json(msg=str(error), changed=False, actions=[], problems=problems, **_facts(survey, present(survey.gpus)))


def _facts(survey: Survey, gpus: list[dict[str, Any]]) -> dict[str, Any]:
    return {"gpus": gpus, "displaced": [], "driver": survey.inventory.driver, "simulated": survey.inventory.simulated}


def _snapshot(published: bool) -> str:
    return "current" if published else "out of date"


def _without_none(entry: dict[str, Any]) -> dict[str, Any]:
    """The entry without options that nobody gave, instances included."""
    given = {key: value for key, value in entry.items() if value is not None}
    if "instances" in given:
        given["instances"] = [{k: v for k, v in item.items() if v is not None} for item in given["instances"]]
    return given


def main() -> None:
    """The module's entry point."""
    module = AnsibleModule(build_argument_spec(), supports_check_mode=True)
    stayed = leave_session("ds01-mig-partition")
    if stayed is not None:
        module.warn(stayed)
    try:
        module.exit_json(**run(module))
    except (LayoutError, NvmlError, PublishError, PauseError) as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
