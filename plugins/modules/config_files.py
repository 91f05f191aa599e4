#!/usr/bin/python
# Copyright (c) ds01.infra contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many files, directories and links in one run, validated as a set before the first is written."""

from __future__ import annotations

DOCUMENTATION = r"""
module: config_files
short_description: Make a set of files, directories and links what it ought to be
version_added: 0.1.0
description:
  - Converges a whole set of paths in one run of one module, with one diff.
  - Everything is checked before the first write, that is owners, groups, conflicts of kind, and the validation of every changed file alone
    and of the set together. When anything is refused, nothing has changed.
  - A file is written beside its place, synced and renamed. A reader sees the old file or the whole new one.
  - Nothing is written below a directory that somebody else than root could change.
  - Missing directories above a listed path are made with mode 0755 for root.
author:
  - ds01.infra contributors (@ds01)
extends_documentation_fragment:
  - ds01.infra.attributes
options:
  files:
    description: The paths and what they ought to be.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Absolute path.
        type: path
        required: true
      state:
        description:
          - With V(file) a regular file. Without O(files[].content) it must exist, and only its mode and owner are set.
          - With V(directory) a directory. What is in it is left alone.
          - With V(link) a symbolic link to O(files[].target).
          - With V(absent) nothing. A directory is only removed when it is empty.
        type: str
        choices: [file, directory, link, absent]
        default: file
      content:
        description: The whole content of a file, as UTF-8 text.
        type: str
      target:
        description: What a link points at.
        type: str
      mode:
        description: Mode in octal, as text. The default is V(0644) for a file and V(0755) for a directory.
        type: str
      owner:
        description: Name or number of the owner.
        type: str
        default: root
      group:
        description: Name or number of the group.
        type: str
        default: root
      validate:
        description:
          - A command that must succeed on the new content before anything is written. C(%s) stands for the file with the new content,
            which has the same base name as O(files[].path).
          - Only run when the content changes.
        type: str
      sensitive:
        description: Keeps the content out of the diff.
        type: bool
        default: false
  validate_set:
    description:
      - Commands that must succeed before anything is written, when anything changes. C(%s) stands for a directory below which all new and
        unchanged files of O(files) lie under their full paths.
    type: list
    elements: str
    default: []
  validate_needs:
    description:
      - In check mode, validation is left out while one of these paths does not exist, because what would make it has not really run.
      - Outside check mode this option does nothing.
    type: list
    elements: path
    default: []
  purge:
    description:
      - Glob patterns. Files and links that match one and are not in O(files) are removed.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Write the daemon's configuration and one unit drop-in
  ds01.infra.config_files:
    files:
      - path: /etc/docker/daemon.json
        content: "{{ docker_daemon | to_nice_json }}\n"
        validate: dockerd --validate --config-file=%s
      - path: /etc/systemd/system/docker.service.d/10-ds01.conf
        content: |
          [Service]
          LimitNOFILE=1048576
    purge:
      - /etc/systemd/system/docker.service.d/*.conf

- name: Hold a directory to its mode
  ds01.infra.config_files:
    files:
      - path: /scratch
        state: directory
        mode: "1777"
"""

RETURN = r"""
files:
  description: Every path of O(files) as it is after the run, or would be in check mode.
  type: list
  elements: dict
  returned: success
  contains:
    path:
      description: The path.
      type: str
      returned: always
    state:
      description: What is there, V(file), V(directory), V(link) or V(absent).
      type: str
      returned: always
    changed:
      description: Whether this path was changed.
      type: bool
      returned: always
changed_paths:
  description: The paths that were changed, purged ones included.
  type: list
  elements: str
  returned: success
  sample: [/etc/docker/daemon.json]
actions:
  description: What was done, or would be done in check mode, in words.
  type: list
  elements: str
  returned: success
  sample: [write /etc/docker/daemon.json]
"""

import glob
import os
import shlex
import shutil
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.ds01.infra.plugins.module_utils.file_set import (
    ABSENT,
    DIRECTORY,
    FILE,
    LINK,
    Attributes,
    Change,
    DesiredEntry,
    FileSetError,
    apply,
    missing_parents,
    plan,
)

DEFAULT_MODES = {FILE: "0644", DIRECTORY: "0755", LINK: "0777", ABSENT: "0000"}
HIDDEN = "VALUE_HIDDEN"


def build_argument_spec() -> dict[str, Any]:
    """The options, as in the documentation."""
    file_options = {
        "path": {"type": "path", "required": True},
        "state": {"type": "str", "choices": [FILE, DIRECTORY, LINK, ABSENT], "default": FILE},
        "content": {"type": "str"},
        "target": {"type": "str"},
        "mode": {"type": "str"},
        "owner": {"type": "str", "default": "root"},
        "group": {"type": "str", "default": "root"},
        "validate": {"type": "str"},
        "sensitive": {"type": "bool", "default": False},
    }
    return {
        "files": {"type": "list", "elements": "dict", "default": [], "options": file_options, "required_if": [("state", LINK, ["target"])]},
        "validate_set": {"type": "list", "elements": "str", "default": []},
        "validate_needs": {"type": "list", "elements": "path", "default": []},
        "purge": {"type": "list", "elements": "str", "default": []},
    }


def desired_entry(item: dict[str, Any]) -> DesiredEntry:
    """One element of the option C(files); raises FileSetError for a mode that is none."""
    text = item["mode"] or DEFAULT_MODES[item["state"]]
    if not all(digit in "01234567" for digit in text) or not 3 <= len(text) <= 5 or int(text, 8) > 0o7777:
        raise FileSetError(f"{item['path']}: mode {text!r} is not an octal mode such as '0644'; quote it")
    content = None if item["content"] is None else item["content"].encode()
    return DesiredEntry(item["path"], item["state"], content, item["target"], int(text, 8), item["owner"], item["group"], item["sensitive"])


def entries_to_purge(patterns: list[str], listed: set[str]) -> list[DesiredEntry]:
    """Removals of what matches a pattern and is not listed; directories are never purged."""
    found: set[str] = set()
    for pattern in patterns:
        if not pattern.startswith("/"):
            raise FileSetError(f"purge: {pattern!r} must be absolute")
        found.update(path for path in glob.glob(pattern) if os.path.islink(path) or os.path.isfile(path))
    return [DesiredEntry(path, ABSENT) for path in sorted(found - listed)]


def stage(root: str, entries: list[DesiredEntry]) -> None:
    """Writes the content of every file below the root, under its full path."""
    for entry in entries:
        if entry.state == FILE and entry.content is not None:
            path = root + entry.path
            os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
            with open(path, "wb", opener=lambda name, flags: os.open(name, flags, 0o600)) as stream:
                stream.write(entry.content)


def run_validators(module: AnsibleModule, changes: list[Change], entries: list[DesiredEntry]) -> None:
    """Fails the module when a validator refuses the new content."""
    alone = {item["path"]: item["validate"] for item in module.params["files"] if item["validate"]}
    commands = [(change.entry.path, alone[change.entry.path]) for change in changes if change.writes_content and change.entry.path in alone]
    together = module.params["validate_set"] if changes else []
    if not commands and not together:
        return
    if module.check_mode and not all(os.path.exists(path) for path in module.params["validate_needs"]):
        return
    root = os.path.join(module.tmpdir, "staged")
    stage(root, entries)
    try:
        for path, command in commands:
            run_validator(module, command, root + path, f"{path}: the new content")
        for command in together:
            run_validator(module, command, root, "the set of files")
    finally:
        shutil.rmtree(root)


def run_validator(module: AnsibleModule, command: str, staged: str, what: str) -> None:
    """Runs one command; a program that is not installed yet is no failure in check mode."""
    argv = [word.replace("%s", staged) for word in shlex.split(command)]
    if shutil.which(argv[0], path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin") is None and module.check_mode:
        return
    code, out, err = module.run_command(argv)
    if code != 0:
        report = "\n".join(part.strip() for part in (out, err) if part.strip()).replace(staged, "")
        module.fail_json(msg=f"{what} is refused by {argv[0]} (exit status {code}), nothing was written: {report}", command=command)


def attributes_for_diff(state: Attributes) -> dict[str, Any]:
    """Mode and owner as data."""
    mode = None if state.mode is None else f"{state.mode:04o}"
    return {"state": state.kind, "mode": mode, "uid": state.uid, "gid": state.gid, "target": state.target}


def header(path: str, state: Attributes) -> str:
    """The path and, for what is there, mode and owner."""
    return path if state.mode is None else f"{path} ({state.mode:04o} {state.uid}:{state.gid})"


def diff_of(changes: list[Change]) -> list[dict[str, Any]]:
    """One list for the whole set: the content of a path where that differs, else its attributes."""
    result: list[dict[str, Any]] = []
    for change in changes:
        path, before, after = change.entry.path, change.before, change.after
        entry: dict[str, Any] = {"before_header": header(path, before), "after_header": header(path, after)}
        if before.content != after.content:
            texts = [(state.content or b"").decode(errors="replace") for state in (before, after)]
            if change.entry.sensitive:
                texts = [HIDDEN + " (old)\n" if texts[0] else "", HIDDEN + "\n"]
            result.append({**entry, "before": texts[0], "after": texts[1]})
        else:
            result.append({**entry, "before": attributes_for_diff(before), "after": attributes_for_diff(after)})
    return result


def run(module: AnsibleModule) -> dict[str, Any]:
    """Plans, validates, applies outside check mode, and reports; the keys are the same in every mode."""
    entries = [desired_entry(item) for item in module.params["files"]]
    entries += entries_to_purge(module.params["purge"], {entry.path for entry in entries})
    changes = plan(entries, may_be_missing=module.check_mode)
    actions = [f"create {path}" for path in missing_parents(changes)] + [change.action for change in changes]
    run_validators(module, changes, entries)
    if not module.check_mode:
        apply(changes)
    changed_paths = [change.entry.path for change in changes]
    listed = [item["path"] for item in module.params["files"]]
    result: dict[str, Any] = {
        "changed": bool(changes),
        "files": [
            {"path": entry.path, "state": entry.state, "changed": entry.path in changed_paths} for entry in entries if entry.path in listed
        ],
        "changed_paths": changed_paths,
        "actions": actions,
    }
    if module._diff:
        result["diff"] = diff_of(changes)
    return result


def main() -> None:
    """Entry point."""
    module = AnsibleModule(build_argument_spec(), supports_check_mode=True)
    try:
        module.exit_json(**run(module))
    except (FileSetError, OSError) as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
