#!/usr/bin/python
# Copyright (c) ds01.infra contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Directories that containers may mount, made nosuid and nodev, now and at boot."""

from __future__ import annotations

DOCUMENTATION = r"""
module: safe_mounts
short_description: Mount directories without setuid files and device nodes
version_added: 0.1.0
description:
  - Makes each directory C(nosuid) and C(nodev), now and at every boot. Files that are open stay open.
  - A directory with a filesystem of its own, from C(/etc/fstab) or a mount unit, gets a drop-in for its unit and is remounted.
  - Any other directory gets a mount unit that binds it onto itself.
  - Afterwards the kernel is asked. A directory without the options is a failure.
author:
  - ds01.infra contributors (@ds01)
extends_documentation_fragment:
  - ds01.infra.attributes
options:
  directories:
    description: Absolute paths. They are made for root with mode 0755 when they are missing.
    type: list
    elements: path
    required: true
"""

EXAMPLES = r"""
- name: Make what people can bind mount harmless
  ds01.infra.safe_mounts:
    directories: [/home, /scratch]
"""

RETURN = r"""
mounts:
  description: Every directory after the run, or as it would be in check mode.
  type: list
  elements: dict
  returned: success
  contains:
    directory:
      description: The path.
      type: str
      returned: always
    unit:
      description: The mount unit that sets it up.
      type: str
      returned: always
    how:
      description: V(bind) for a bind mount of itself, V(remount) for a filesystem of its own.
      type: str
      returned: always
actions:
  description: What was done, or would be done in check mode, in words.
  type: list
  elements: str
  returned: success
  sample: [mount /home nosuid and nodev]
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.ds01.infra.plugins.module_utils.core.mount_plan import UNITS, DirectoryPlan, MountError, plan_directory
from ansible_collections.ds01.infra.plugins.module_utils.file_set import (
    DIRECTORY,
    LINK,
    Change,
    DesiredEntry,
    FileSetError,
    apply,
    plan,
    read_attributes,
)
from ansible_collections.ds01.infra.plugins.module_utils.mount_units import bring_into_force, configured_options, current_mounts


def build_argument_spec() -> dict[str, Any]:
    """The options, as in the documentation."""
    return {"directories": {"type": "list", "elements": "path", "required": True}}


def file_changes(plans: list[DirectoryPlan]) -> list[Change]:
    """Missing directories, unit files, and the links that start bind mounts at boot."""
    entries = []
    for item in plans:
        if read_attributes(item.directory).kind != DIRECTORY:
            entries.append(DesiredEntry(item.directory, DIRECTORY, mode=0o755))
        entries.append(DesiredEntry(item.unit_file.path, content=item.unit_file.content.encode()))
        if item.bind:
            wants = f"{UNITS}/local-fs.target.wants/{item.unit_file.unit}"
            entries.append(DesiredEntry(wants, LINK, target=item.unit_file.path))
    return plan(entries)


def run(module: AnsibleModule) -> dict[str, Any]:
    """Plans, writes units, mounts, and reports; the keys are the same in every mode."""
    directories = sorted(set(module.params["directories"]))
    mounts, configured = current_mounts(), configured_options(directories)
    plans = [plan_directory(directory, mounts, configured) for directory in directories]
    changes = file_changes(plans)
    pending = [item for item in plans if not item.in_force]
    if not module.check_mode:
        apply(changes)
        for position, item in enumerate(pending):
            bring_into_force(item, reload_units=bool(changes) and position == 0)
        if changes and not pending:
            module.run_command(["systemctl", "daemon-reload"], check_rc=True)
    result: dict[str, Any] = {
        "changed": bool(changes or pending),
        "mounts": [{"directory": item.directory, "unit": item.unit_file.unit, "how": "bind" if item.bind else "remount"} for item in plans],
        "actions": [change.action for change in changes] + [f"mount {item.directory} nosuid and nodev" for item in pending],
    }
    if module._diff:
        result["diff"] = {
            "before": {item.directory: sorted(mounts[item.directory].options) for item in pending if item.directory in mounts},
            "after": {item.directory: "nosuid,nodev" for item in pending} | {change.entry.path: change.action for change in changes},
        }
    return result


def main() -> None:
    """Entry point."""
    module = AnsibleModule(build_argument_spec(), supports_check_mode=True)
    try:
        module.exit_json(**run(module))
    except (MountError, FileSetError, OSError) as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
