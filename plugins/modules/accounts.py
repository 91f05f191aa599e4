#!/usr/bin/python
# Copyright (c) ds01.infra contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The local users and groups of a server in one run."""

from __future__ import annotations

DOCUMENTATION = r"""
module: accounts
short_description: Make a list of users and groups what it ought to be
version_added: 0.1.0
description:
  - Converges groups, users, memberships, login keys and the modes of homes in one run.
  - The whole list is checked before the first command. When one account can't be had, nothing has changed.
  - A local account is never made over one that a directory service has.
  - Uids, gids and places of homes are never changed, memberships are only added, and a user who is removed leaves the home behind.
author:
  - ds01.infra contributors (@ds01)
extends_documentation_fragment:
  - ds01.infra.attributes
options:
  groups:
    description: The groups.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the group.
        type: str
        required: true
      state:
        description: Whether it is there.
        type: str
        choices: [present, absent]
        default: present
      gid:
        description: Its number. Without it the next free one.
        type: int
  users:
    description: The users.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Login name. Dots, V(@) and up to 63 characters are fine.
        type: str
        required: true
      state:
        description: Whether the account is there.
        type: str
        choices: [present, absent]
        default: present
      source:
        description: With V(directory) the account comes from a directory service, and only its memberships and keys are managed here.
        type: str
        choices: [local, directory]
        default: local
      uid:
        description: Its number. Without it the next free one.
        type: int
      group:
        description: Primary group.
        type: str
      groups:
        description: Further groups that the user is added to.
        type: list
        elements: str
        default: []
      comment:
        description: The full name.
        type: str
      home:
        description: Home directory, C(/home/NAME) without it.
        type: path
      shell:
        description: Login shell. A new account gets V(/bin/bash) without it.
        type: path
      ssh_keys:
        description: The lines of C(~/.ssh/authorized_keys), all of them. Without this option the file is the user's own affair.
        type: list
        elements: str
  home_roots:
    description: Directories whose subdirectories are homes.
    type: list
    elements: path
    default: []
  home_mode:
    description: Rights beyond this mode are taken away from every home directly below O(home_roots) that belongs to a person.
    type: str
    default: "0700"
"""

EXAMPLES = r"""
- name: Have a group and two users of it
  ds01.infra.accounts:
    groups:
      - name: student
    users:
      - name: ada.lovelace
        group: student
        ssh_keys:
          - ssh-ed25519 AAAA ada
      - name: gone
        state: absent
    home_roots: [/home]
"""

RETURN = r"""
actions:
  description: What was done, or would be done in check mode, in words.
  type: list
  elements: str
  returned: success
  sample: [create group student, create user ada.lovelace]
"""

import os
import pwd
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.ds01.infra.plugins.module_utils.account_files import (
    KeyChange,
    close_home,
    homes_too_open,
    read_databases,
    read_keys,
    write_keys,
)
from ansible_collections.ds01.infra.plugins.module_utils.core.account_plan import (
    AccountError,
    DesiredAccount,
    DesiredGroup,
    plan_accounts,
)


def build_argument_spec() -> dict[str, Any]:
    """The options, as in the documentation."""
    state = {"type": "str", "choices": ["present", "absent"], "default": "present"}
    group = {"name": {"type": "str", "required": True}, "state": state, "gid": {"type": "int"}}
    user = {
        "name": {"type": "str", "required": True},
        "state": state,
        "source": {"type": "str", "choices": ["local", "directory"], "default": "local"},
        "uid": {"type": "int"},
        "group": {"type": "str"},
        "groups": {"type": "list", "elements": "str", "default": []},
        "comment": {"type": "str"},
        "home": {"type": "path"},
        "shell": {"type": "path"},
        "ssh_keys": {"type": "list", "elements": "str", "no_log": False},
    }
    return {
        "groups": {"type": "list", "elements": "dict", "default": [], "options": group},
        "users": {"type": "list", "elements": "dict", "default": [], "options": user},
        "home_roots": {"type": "list", "elements": "path", "default": []},
        "home_mode": {"type": "str", "default": "0700"},
    }


def desired_account(item: dict[str, Any]) -> DesiredAccount:
    """One element of the option C(users)."""
    kept = {key: item[key] for key in ("name", "uid", "group", "comment", "home", "shell")}
    return DesiredAccount(present=item["state"] == "present", directory=item["source"] == "directory", groups=tuple(item["groups"]), **kept)


def key_changes(users: list[dict[str, Any]], homes: dict[str, tuple[int, int, str]]) -> list[KeyChange]:
    """Whose login keys differ. ``homes`` is (uid, gid, home) by name; who is missing in it is still to be made."""
    changes = []
    for item in users:
        if item["state"] != "present" or item["ssh_keys"] is None:
            continue
        after = tuple(line.strip() for line in item["ssh_keys"])
        if item["name"] in homes:
            uid, gid, home = homes[item["name"]]
            before = read_keys(home, uid, gid)
        else:
            uid, gid, home, before = -1, -1, item["home"] or f"/home/{item['name']}", ()
        if before != after:
            changes.append(KeyChange(item["name"], uid, gid, home, before, after))
    return changes


def known_homes(users: list[dict[str, Any]]) -> dict[str, tuple[int, int, str]]:
    """(uid, gid, home) of the listed users that the system knows, wherever from."""
    found = {}
    for item in users:
        try:
            entry = pwd.getpwnam(item["name"])
        except KeyError:
            continue
        found[item["name"]] = (entry.pw_uid, entry.pw_gid, entry.pw_dir)
    return found


def run(module: AnsibleModule) -> dict[str, Any]:
    """Plans everything, runs the commands outside check mode, and reports under the same keys in every mode."""
    users, groups = module.params["users"], module.params["groups"]
    mode = int(module.params["home_mode"], 8)
    databases = read_databases()
    steps = plan_accounts(
        [DesiredGroup(item["name"], item["state"] == "present", item["gid"]) for item in groups],
        [desired_account(item) for item in users],
        databases,
        existing_homes=frozenset(path for path in (item["home"] or f"/home/{item['name']}" for item in users) if os.path.isdir(path)),
    )
    keys = key_changes(users, known_homes(users))
    open_homes = [found for root in module.params["home_roots"] for found in homes_too_open(root, mode)]
    actions = [step.action for step in steps]
    actions += [f"write the login keys of {change.name}" for change in keys]
    actions += [f"take mode {held:04o} of {path} down to {held & mode:04o}" for path, held in open_homes]
    if not module.check_mode:
        for step in steps:
            module.run_command(list(step.argv), check_rc=True)
        for change in key_changes(users, known_homes(users)):
            write_keys(change)
        for path, _held in open_homes:
            close_home(path, mode)
    result: dict[str, Any] = {"changed": bool(actions), "actions": actions}
    if module._diff:
        result["diff"] = {"before": {}, "after": {}}
        if steps:
            result["diff"]["after"]["commands"] = [" ".join(step.argv) for step in steps]
        for change in keys:
            result["diff"]["before"][f"keys of {change.name}"] = list(change.before)
            result["diff"]["after"][f"keys of {change.name}"] = list(change.after)
        for path, held in open_homes:
            result["diff"]["before"][path] = f"{held:04o}"
            result["diff"]["after"][path] = f"{held & mode:04o}"
    return result


def main() -> None:
    """Entry point."""
    module = AnsibleModule(build_argument_spec(), supports_check_mode=True)
    try:
        module.exit_json(**run(module))
    except (AccountError, OSError) as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
