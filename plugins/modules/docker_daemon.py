#!/usr/bin/python
# Copyright (c) ds01.infra contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Docker daemon runs what its files say, and no container stops for it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: docker_daemon
short_description: Have the Docker daemon run what its configuration says, without stopping containers
version_added: 0.1.0
description:
  - Compares the files with those that the running daemon was started with, which its unit copies to O(started_directory) at every start.
  - Does nothing when they are equal, reloads when only keys differ that the daemon takes up on reload, and restarts otherwise.
  - A restart keeps containers when the running daemon was started with C(live-restore). Without it, and while containers run, the restart
    is only reported as pending, until O(allow_restart) is set or no container runs.
author:
  - ds01.infra contributors (@ds01)
extends_documentation_fragment:
  - ds01.infra.attributes
options:
  config:
    description: The daemon's configuration.
    type: path
    default: /etc/docker/daemon.json
  unit_files:
    description: Drop-ins of the daemon's service and socket.
    type: list
    elements: path
    default: []
  started_directory:
    description: Where the unit copies these files at every start of the daemon.
    type: path
    default: /run/docker-root/started
  allow_restart:
    description: Restart also when that stops containers.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Bring the daemon up to date
  ds01.infra.docker_daemon:
    unit_files: [/etc/systemd/system/docker.service.d/10-ds01.conf]
    allow_restart: "{{ allow_restart | default(false) }}"
"""

RETURN = r"""
verdict:
  description: What was needed, one of V(nothing), V(start), V(reload), V(restart) and V(pending).
  type: str
  returned: success
pending:
  description: Whether a restart is needed and waits, because it would stop containers.
  type: bool
  returned: success
reasons:
  description: What differs between what runs and what the files say.
  type: list
  elements: str
  returned: success
  sample: ["daemon.json: log-opts"]
containers:
  description: How many containers ran.
  type: int
  returned: success
actions:
  description: What was done, or would be done in check mode, in words.
  type: list
  elements: str
  returned: success
"""

import glob
import os
import shutil
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.ds01.infra.plugins.module_utils.core.daemon_restart import Decision, Verdict, decide
from ansible_collections.ds01.infra.plugins.module_utils.core.unit_plan import UnitError
from ansible_collections.ds01.infra.plugins.module_utils.systemd_units import read_units, systemctl

SERVICE = "docker.service"
SOCKET = "docker.socket"


def build_argument_spec() -> dict[str, Any]:
    """The options, as in the documentation."""
    return {
        "config": {"type": "path", "default": "/etc/docker/daemon.json"},
        "unit_files": {"type": "list", "elements": "path", "default": []},
        "started_directory": {"type": "path", "default": "/run/docker-root/started"},
        "allow_restart": {"type": "bool", "default": False},
    }


def read_files(paths: list[str]) -> dict[str, str]:
    """Content by path; what is missing is left out."""
    found = {}
    for path in paths:
        if os.path.exists(path):
            with open(path, encoding="utf-8") as stream:
                found[path] = stream.read()
    return found


def copied_name(path: str) -> str:
    """The name of the copy: the path with its slashes made dashes, so that two drop-ins of one name stay apart."""
    return path.strip("/").replace("/", "-")


def started_with(directory: str, paths: list[str]) -> dict[str, str] | None:
    """Content by original path of what the daemon was started with; None when it was started without our drop-in."""
    if not os.path.isdir(directory):
        return None
    copies = read_files([os.path.join(directory, copied_name(path)) for path in paths])
    names = {path: os.path.join(directory, copied_name(path)) for path in paths}
    return {path: copies[name] for path, name in names.items() if name in copies}


def running_containers() -> int:
    """How many shims of Docker's containers run: known without asking the daemon, wherever its socket is."""
    count = 0
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            with open(path, "rb") as stream:
                words = stream.read().split(b"\0")
        except OSError:
            continue
        if b"containerd-shim" in words[0] and b"moby" in words:
            count += 1
    return count


def steps_of(decision: Decision, socket_moves: bool) -> list[list[str]]:
    """systemctl calls for a decision. A socket can only be made anew while its service is stopped."""
    if decision.verdict is Verdict.RELOAD:
        return [["reload", SERVICE]]
    if decision.verdict is Verdict.START:
        return [["restart", SOCKET], ["start", SERVICE]]
    if decision.verdict is Verdict.RESTART:
        return [["stop", SERVICE], ["restart", SOCKET], ["start", SERVICE]] if socket_moves else [["restart", SERVICE]]
    return []


def run(module: AnsibleModule) -> dict[str, Any]:
    """Decides, acts outside check mode, and reports under the same keys in every mode."""
    options = module.params
    paths = [options["config"], *options["unit_files"]]
    units = read_units([SERVICE, SOCKET])
    containers = running_containers()
    before = started_with(options["started_directory"], paths)
    wanted = read_files(paths)
    decision = decide(units[SERVICE].active, before, wanted, options["config"], containers, options["allow_restart"])
    socket_files = [path for path in paths if "docker.socket" in path]
    socket_moves = before is None or any(before.get(path) != wanted.get(path) for path in socket_files)
    steps = [["enable", name] for name in (SERVICE, SOCKET) if units[name].file_state not in ("enabled", "enabled-runtime")]
    if any(unit.needs_daemon_reload for unit in units.values()):
        steps.insert(0, ["daemon-reload"])
    steps += steps_of(decision, socket_moves)
    if not module.check_mode:
        for words in steps:
            systemctl(*words)
        if decision.verdict is Verdict.RELOAD:
            shutil.copy2(options["config"], os.path.join(options["started_directory"], copied_name(options["config"])))
    if decision.verdict is Verdict.PENDING:
        module.warn(
            f"Restart of Docker pending ({', '.join(decision.reasons)}): {containers} containers run, and the daemon was started without"
            " live-restore, so that a restart would stop them. Converge again when they are done, or now with -e allow_restart=true."
        )
    result: dict[str, Any] = {
        "changed": bool(steps),
        "verdict": decision.verdict.value,
        "pending": decision.verdict is Verdict.PENDING,
        "reasons": list(decision.reasons),
        "containers": containers,
        "actions": [" ".join(words) for words in steps],
    }
    if module._diff:
        held = "other files" if decision.reasons else "these files"
        result["diff"] = {"before": {"runs with": held}, "after": {"runs with": "these files"}}
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
