#!/usr/bin/python
# Copyright (c) ds01.infra contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Slices with their limits in one run: unit files, and the running slices held to them, as the kernel confirms."""

from __future__ import annotations

DOCUMENTATION = r"""
module: cgroup_slice
short_description: Hold systemd slices to their limits, in files and in the kernel
version_added: 0.1.0
description:
  - Writes the unit file of every slice and holds the running ones to it, without stopping anything in them.
  - Reads the limits back from the cgroup filesystem and fails when the kernel does not have what was asked for.
  - A slice that is not running gets its limits from its file when something starts in it.
  - Needs cgroup v2.
author:
  - ds01.infra contributors (@ds01)
extends_documentation_fragment:
  - ds01.infra.attributes
options:
  slices:
    description: The slices.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name with its suffix. A dash nests, C(a-b.slice) is in C(a.slice).
        type: str
        required: true
      state:
        description: With V(absent) the unit file goes; a running slice is left to what runs in it.
        type: str
        choices: [present, absent]
        default: present
      description:
        description: What the slice is for. The default is its name.
        type: str
      cpus:
        description: CPU time in CPUs, such as 1.5. Without it there is no limit.
        type: float
      memory_high:
        description: Bytes of memory above which what runs in it is slowed down. Without it there is no limit.
        type: int
      memory_max:
        description: Bytes of memory above which something in it is killed. Without it there is no limit.
        type: int
      tasks:
        description: Number of processes and threads. Without it there is no limit.
        type: int
      io_weight:
        description: Share of the disk's time against other slices, 1 to 10000.
        type: int
        default: 100
      io_read_bps:
        description: Bytes a second read from the disks of O(slices[].io_paths). Without it there is no limit.
        type: int
      io_write_bps:
        description: Bytes a second written to the disks of O(slices[].io_paths). Without it there is no limit.
        type: int
      io_paths:
        description: Files or directories on the disks that the bandwidths hold for.
        type: list
        elements: path
        default: []
      device_filter:
        description:
          - With V(inherit) drop-ins decide.
          - With V(open) every device may be opened as far as the slices below allow.
          - With V(closed) every device but NVIDIA's may be opened.
        type: str
        choices: [inherit, open, closed]
        default: inherit
  purge:
    description: Remove the unit files that this module wrote for slices that are not listed.
    type: bool
    default: false
  unit_directory:
    description: Where the unit files are.
    type: path
    default: /etc/systemd/system
  cgroup_root:
    description: Where cgroup v2 is mounted.
    type: path
    default: /sys/fs/cgroup
"""

EXAMPLES = r"""
- name: Hold two people to their limits
  ds01.infra.cgroup_slice:
    slices:
      - name: ds01-u1001.slice
        cpus: 8
        memory_high: 30064771072
        memory_max: 34359738368
        tasks: 4096
        device_filter: open
      - name: ds01-u1002.slice
        cpus: 4
        memory_max: 17179869184
        io_write_bps: 52428800
        io_paths: [/var/lib/docker]
        device_filter: open
    purge: true
"""

RETURN = r"""
actions:
  description: What was done, or would be done in check mode, in words.
  type: list
  elements: str
  returned: success
  sample: ["write /etc/systemd/system/ds01-u1001.slice", "hold ds01-u1001.slice: memory.max is 'max', should be '34359738368'"]
slices:
  description: The slices that are present, each with its limits and whether it runs.
  type: list
  elements: dict
  returned: success
  contains:
    name:
      description: Name of the slice.
      type: str
    active:
      description: Whether it runs, so that the kernel holds it to its limits now.
      type: bool
    path:
      description: Its cgroup.
      type: str
"""

import os
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.ds01.infra.plugins.module_utils import systemd_units
from ansible_collections.ds01.infra.plugins.module_utils.cgroup_fs import CgroupFs
from ansible_collections.ds01.infra.plugins.module_utils.core.slice_limits import SliceLimits
from ansible_collections.ds01.infra.plugins.module_utils.core.slice_plan import DesiredSlice, shortcomings, stale, unit_text
from ansible_collections.ds01.infra.plugins.module_utils.core.unit_plan import UnitError
from ansible_collections.ds01.infra.plugins.module_utils.file_set import ABSENT, DesiredEntry, FileSetError, apply, plan
from ansible_collections.ds01.infra.plugins.module_utils.slice_units import hold, running


def build_argument_spec() -> dict[str, Any]:
    """The options, as in the documentation."""
    slice_options = {
        "name": {"type": "str", "required": True},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        "description": {"type": "str"},
        "cpus": {"type": "float"},
        "memory_high": {"type": "int"},
        "memory_max": {"type": "int"},
        "tasks": {"type": "int"},
        "io_weight": {"type": "int", "default": 100},
        "io_read_bps": {"type": "int"},
        "io_write_bps": {"type": "int"},
        "io_paths": {"type": "list", "elements": "path", "default": []},
        "device_filter": {"type": "str", "choices": ["inherit", "open", "closed"], "default": "inherit"},
    }
    return {
        "slices": {"type": "list", "elements": "dict", "required": True, "options": slice_options},
        "purge": {"type": "bool", "default": False},
        "unit_directory": {"type": "path", "default": "/etc/systemd/system"},
        "cgroup_root": {"type": "path", "default": "/sys/fs/cgroup"},
    }


def desired(item: dict[str, Any], cgroups: CgroupFs) -> DesiredSlice:
    """One listed slice; raises ValueError naming the option that is wrong."""
    name = item["name"]
    cgroups.path(name)
    for key in ("cpus", "memory_high", "memory_max", "tasks", "io_read_bps", "io_write_bps"):
        if item[key] is not None and item[key] <= 0:
            raise ValueError(f"{name}: {key} is {item[key]}; expected more than 0, or leave it out for no limit")
    if not 1 <= item["io_weight"] <= 10_000:
        raise ValueError(f"{name}: io_weight is {item['io_weight']}; expected 1 to 10000")
    if item["memory_high"] is not None and item["memory_max"] is not None and item["memory_high"] > item["memory_max"]:
        raise ValueError(f"{name}: memory_high {item['memory_high']} is above memory_max {item['memory_max']} and would do nothing")
    if (item["io_read_bps"] or item["io_write_bps"]) and not item["io_paths"]:
        raise ValueError(f"{name}: a bandwidth without io_paths holds for no disk")
    description = item["description"] or name
    for key, text in (("description", description), *(("io_paths", path) for path in item["io_paths"])):
        if any(ord(character) < 32 for character in text) or "%" in text:
            raise ValueError(f"{name}: {key} {text!r}: expected one line without %, which systemd reads as a specifier")
    limits = SliceLimits(
        item["cpus"],
        item["memory_high"],
        item["memory_max"],
        item["tasks"],
        item["io_weight"],
        item["io_read_bps"],
        item["io_write_bps"],
        tuple(item["io_paths"]),
    )
    return DesiredSlice(name, description, limits, item["device_filter"])


def _present_files(directory: str) -> list[tuple[str, str]]:
    """Name and text of every slice's unit file in the directory itself."""
    found = []
    for name in sorted(os.listdir(directory)) if os.path.isdir(directory) else []:
        path = os.path.join(directory, name)
        if name.endswith(".slice") and os.path.isfile(path) and not os.path.islink(path):
            with open(path, encoding="utf-8", errors="replace") as stream:
                found.append((name, stream.read()))
    return found


def run(module: AnsibleModule) -> dict[str, Any]:
    """Plans, acts outside check mode, and reports under the same keys in every mode."""
    options = module.params
    cgroups = CgroupFs(Path(options["cgroup_root"]))
    names = [item["name"] for item in options["slices"]]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{name}: is listed twice")
    wanted = [desired(item, cgroups) for item in options["slices"] if item["state"] == "present"]
    gone = [item["name"] for item in options["slices"] if item["state"] == "absent"]
    directory = options["unit_directory"]
    if options["purge"]:
        gone += [name for name in stale(_present_files(directory), wanted) if name not in gone]
    owner, group = str(os.geteuid()), str(os.getegid())
    entries = [DesiredEntry(os.path.join(directory, w.name), content=unit_text(w).encode(), owner=owner, group=group) for w in wanted]
    entries += [DesiredEntry(os.path.join(directory, name), ABSENT) for name in gone]
    changes = plan(entries, may_be_missing=module.check_mode)
    now = running(wanted, cgroups, systemd_units.systemctl)
    reload_manager = bool(changes) or any(state.needs_daemon_reload for state in now.values())
    lacking = [(w, shortcomings(w, now[w.name])) for w in wanted]
    actions = [change.action for change in changes]
    actions += ["reload the manager"] if reload_manager else []
    actions += [f"hold {w.name}: {'; '.join(lacks)}" for w, lacks in lacking if lacks]
    if actions and not module.check_mode:
        apply(changes)
        if reload_manager:
            systemd_units.systemctl("daemon-reload")
        for w, lacks in lacking:
            if lacks:
                hold(w, systemd_units.systemctl)
        _confirm(wanted, cgroups)
    result: dict[str, Any] = {
        "changed": bool(actions),
        "actions": actions,
        "slices": [{"name": w.name, "active": now[w.name].active, "path": str(cgroups.path(w.name))} for w in wanted],
    }
    if module._diff:
        result["diff"] = [
            {
                "before_header": change.entry.path,
                "after_header": change.entry.path,
                "before": (change.before.content or b"").decode(errors="replace"),
                "after": (change.after.content or b"").decode(),
            }
            for change in changes
        ] + [{"before": f"{w.name}: {lack}\n", "after": f"{w.name}\n"} for w, lacks in lacking for lack in lacks]
    return result


def _confirm(wanted: list[DesiredSlice], cgroups: CgroupFs) -> None:
    """Read back from the kernel; raises UnitError naming every limit that it does not have."""
    left = {
        w.name: shortcomings(w, state) for w, state in zip(wanted, running(wanted, cgroups, systemd_units.systemctl).values(), strict=True)
    }
    wrong = [f"{name}: {'; '.join(lacks)}" for name, lacks in left.items() if lacks]
    if wrong:
        raise UnitError("the kernel does not hold slices to what was asked for: " + " | ".join(wrong))


def main() -> None:
    """Entry point."""
    module = AnsibleModule(build_argument_spec(), supports_check_mode=True)
    try:
        module.exit_json(**run(module))
    except (UnitError, FileSetError, ValueError, OSError) as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
