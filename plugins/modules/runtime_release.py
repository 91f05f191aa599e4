#!/usr/bin/python
# Copyright (c) ds01.infra contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The programs of the collection on a server, in a directory of their own version, with the packages that they need."""

from __future__ import annotations

DOCUMENTATION = r"""
module: runtime_release
short_description: Install the programs of this collection and their Python environment
version_added: 0.1.0
description:
  - Installs the programs of the collection below C(releases/<hash>) and makes C(current) a link to that directory, atomically.
  - Installs pinned wheels, each by its hash, below C(venvs/<hash>) and makes C(venv) a link to that directory. They are fetched on the
    controller and carried over, so that the server needs no network and no pip.
  - When both are there and whole, one short run finds that out. A release with a changed file is installed again.
  - A running program keeps the release that it was started from.
author:
  - ds01.infra contributors (@ds01)
extends_documentation_fragment:
  - ds01.infra.attributes
attributes:
  action:
    description: Indicates that this has a corresponding action plugin, which packs and carries what is missing.
    support: full
options:
  root:
    description: The directory that holds releases and environments.
    type: path
    default: /opt/ds01
  command_link:
    description: Where the command C(ds01) is found by people. A link to it is made here.
    type: path
    default: /usr/local/bin/ds01
  python:
    description: The interpreter that the environment is made with, version 3.10 or newer.
    type: path
    default: /usr/bin/python3
  keep:
    description: How many older releases and environments stay for going back.
    type: int
    default: 3
  wheels:
    description:
      - A directory on the controller with the wheels that C(requirements/runtime.txt) and C(requirements/installer.txt) name.
      - Without it they are downloaded by the controller's pip and kept below C(~/.cache/ds01).
    type: path
  release:
    description: The name of the release. Set by the action plugin.
    type: str
  requirements:
    description: The pinned requirements. Set by the action plugin.
    type: str
  archive:
    description: What was carried over. Set by the action plugin.
    type: path
"""

EXAMPLES = r"""
- name: Install the programs
  ds01.infra.runtime_release:

- name: Install them from wheels that are already here, and keep one release
  ds01.infra.runtime_release:
    wheels: /srv/mirror/ds01-wheels
    keep: 1
"""

RETURN = r"""
release:
  description: The release in force after the run.
  type: str
  returned: success
  sample: 0f3c9a51b2d4e687
environment:
  description: The environment in force after the run.
  type: str
  returned: success
  sample: 8d21c7a90b6f5e34
previous_release:
  description: The release in force before the run, or nothing.
  type: str
  returned: success
actions:
  description: What was done, or would be done in check mode, in words.
  type: list
  elements: str
  returned: success
needs:
  description: What has to be carried over before the run can go on. Empty in a final result.
  type: list
  elements: str
  returned: success
target:
  description: What the wheels have to fit.
  type: dict
  returned: success
  contains:
    python:
      description: Python version.
      type: str
      returned: always
      sample: "3.13"
    machine:
      description: Machine.
      type: str
      returned: always
      sample: x86_64
"""

import os
import platform
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.ds01.infra.plugins.module_utils import release_tree
from ansible_collections.ds01.infra.plugins.module_utils.file_set import FileSetError

OLDEST_PYTHON = (3, 10)


def build_argument_spec() -> dict[str, Any]:
    """The options, as in the documentation."""
    return {
        "root": {"type": "path", "default": "/opt/ds01"},
        "command_link": {"type": "path", "default": "/usr/local/bin/ds01"},
        "python": {"type": "path", "default": "/usr/bin/python3"},
        "keep": {"type": "int", "default": 3},
        "wheels": {"type": "path"},
        "release": {"type": "str"},
        "requirements": {"type": "str"},
        "archive": {"type": "path"},
    }


def python_version(module: AnsibleModule, python: str) -> str:
    """Major and minor version of the interpreter; fails for one that is missing or too old."""
    code, out, err = module.run_command([python, "-I", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"])
    version: str = out.strip()
    if code != 0:
        module.fail_json(msg=f"python: {python} does not run ({err.strip()}); install python3 or name another interpreter")
    if tuple(int(part) for part in version.split(".")) < OLDEST_PYTHON:
        module.fail_json(msg=f"python: {python} is Python {version}; the programs need 3.10 or newer")
    return version


def run(module: AnsibleModule) -> dict[str, Any]:
    """Looks, and installs what is missing when it has been carried over; in check mode says what would be installed."""
    options = module.params
    if not options["release"] or options["requirements"] is None:
        module.fail_json(msg="release: not set; the action plugin of the same name sets it, so call ds01.infra.runtime_release from a task")
    if options["keep"] < 0:
        module.fail_json(msg=f"keep: {options['keep']} is negative; 0 keeps nothing but what is in force")
    root, python = options["root"], options["python"]
    version, machine = python_version(module, python), platform.machine()
    wanted = {
        "releases": options["release"],
        "venvs": release_tree.environment_id(options["requirements"].encode(), version, machine),
    }
    links = {"releases": os.path.join(root, "current"), "venvs": os.path.join(root, "venv")}
    previous = {kind: release_tree.current_target(link) for kind, link in links.items()}
    paths = {kind: os.path.join(root, kind, name) for kind, name in wanted.items()}

    needs = []
    if not release_tree.environment_is_whole(paths["venvs"]):
        needs.append("environment")
    if not release_tree.release_is_whole(paths["releases"]):
        needs.append("release")
    actions = [f"install {kind} {wanted['releases' if kind == 'release' else 'venvs']}" for kind in needs]
    to_link = [kind for kind in ("venvs", "releases") if previous[kind] != wanted[kind]]
    actions += [f"point {links[kind]} at {wanted[kind]}" for kind in to_link]
    command = os.path.join(root, "current", "bin", "ds01")
    link_command = os.path.realpath(options["command_link"]) != os.path.realpath(command) or not os.path.islink(options["command_link"])
    if link_command:
        actions.append(f"link {options['command_link']} to {command}")
    to_remove = {kind: release_tree.surplus(os.path.join(root, kind), wanted[kind], options["keep"]) for kind in wanted}
    actions += [f"remove {os.path.join(root, kind, name)}" for kind, names in to_remove.items() for name in names]

    carried = options["archive"] is not None
    if not module.check_mode and (carried or not needs):
        if "environment" in needs:
            release_tree.install_environment(root, wanted["venvs"], options["archive"], python)
        if "release" in needs:
            release_tree.install_release(root, wanted["releases"], options["archive"], python)
        for kind in to_link:
            release_tree.switch(links[kind], os.path.join(kind, wanted[kind]))
        if link_command:
            release_tree.switch(options["command_link"], command)
        for kind, names in to_remove.items():
            release_tree.remove(os.path.join(root, kind), names)
        needs = []
    result: dict[str, Any] = {
        "changed": bool(actions),
        "release": wanted["releases"],
        "environment": wanted["venvs"],
        "previous_release": previous["releases"],
        "actions": actions,
        "needs": needs,
        "target": {"python": version, "machine": machine},
    }
    if module._diff:
        result["diff"] = {
            "before": {"release": previous["releases"], "environment": previous["venvs"]},
            "after": {"release": wanted["releases"], "environment": wanted["venvs"]},
        }
    return result


def main() -> None:
    """Entry point."""
    module = AnsibleModule(build_argument_spec(), supports_check_mode=True)
    try:
        module.exit_json(**run(module))
    except (release_tree.ReleaseError, FileSetError, OSError) as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
