#!/usr/bin/python
# Copyright (c) ds01.infra contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Shows the containers of before the gate, and carries named ones over."""

from __future__ import annotations

DOCUMENTATION = r"""
module: legacy_containers
short_description: Containers of before the gate, and carrying them over
version_added: 0.1.0
description:
  - Lists the containers that the tools of before marked (label C(aime.mlc.USER), C(ds01.user) without C(ds01.uid), a name like
    C(train._.1001)), whose they are by that, and what of each would be refused today.
  - A container that is named in O(carry_over) gets its files kept as an image below its owner's name, and is created anew through the gate
    in the owner's name, so that every rule of today judges it. The old container stays as it is, until its owner removes it.
  - Labels of a container can't be changed, so nothing else is done to it.
author:
  - ds01.infra contributors (@ds01)
extends_documentation_fragment:
  - ds01.infra.attributes
options:
  carry_over:
    description: Names or full ids of containers to carry over; V(all) stands for every one that can be. They must be stopped.
    type: list
    elements: str
    default: []
  docker_socket:
    description: The daemon's own socket.
    type: path
    default: /run/docker-root/docker.sock
  gate_socket:
    description: The gate's socket.
    type: path
    default: /run/docker.sock
  policy:
    description: The policy, for people's bind roots.
    type: path
    default: /etc/ds01/policy.json
"""

EXAMPLES = r"""
- name: Show what there is of before the gate
  ds01.infra.legacy_containers:

- name: Carry one over
  ds01.infra.legacy_containers:
    carry_over: [train._.1001]
"""

RETURN = r"""
containers:
  description: The containers of before the gate.
  type: list
  elements: dict
  returned: success
  contains:
    name:
      description: Its name.
      type: str
    id:
      description: Its full id.
      type: str
    user:
      description: Whose it is; none where its marks name nobody, or two people.
      type: str
    uid:
      description: The owner's uid.
      type: int
    marked_by:
      description: By which mark, V(label), V(aime label) or V(name).
      type: str
    image:
      description: Its image.
      type: str
    running:
      description: Whether it runs.
      type: bool
    left_out:
      description: What of it would be refused today, or does not come along.
      type: list
      elements: str
    becomes:
      description: The name of the container that takes its place.
      type: str
    there:
      description: Whether that one exists already.
      type: bool
    obstacle:
      description: Why it can't be carried over now.
      type: str
actions:
  description: What was done, or would be, in words.
  type: list
  elements: str
  returned: success
"""

import contextlib
import pwd
from typing import Any
from urllib.parse import urlencode

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.ds01.infra.plugins.module_utils.as_person import call_as
from ansible_collections.ds01.infra.plugins.module_utils.core.container_marks import LEGACY_LABEL, LEGACY_NAME, OWNER_LABEL, UID_LABEL
from ansible_collections.ds01.infra.plugins.module_utils.core.legacy_plan import FROM_LABEL, TAG, Legacy, is_legacy, plan
from ansible_collections.ds01.infra.plugins.module_utils.core.policy_problems import PolicyError
from ansible_collections.ds01.infra.plugins.module_utils.docker_upstream import (
    DaemonRefused,
    DaemonUnavailable,
    DockerClient,
    label_filter,
    segment,
)
from ansible_collections.ds01.infra.plugins.module_utils.legacy_containers import own_name
from ansible_collections.ds01.infra.plugins.module_utils.policy_file import PolicyFile, Resolver

ALL = "all"


def build_argument_spec() -> dict[str, Any]:
    """The options, as in the documentation."""
    return {
        "carry_over": {"type": "list", "elements": "str", "default": []},
        "docker_socket": {"type": "path", "default": "/run/docker-root/docker.sock"},
        "gate_socket": {"type": "path", "default": "/run/docker.sock"},
        "policy": {"type": "path", "default": "/etc/ds01/policy.json"},
    }


def read_accounts(listed: list[dict[str, Any]]) -> dict[int, str]:
    """The accounts that the containers' marks name, by uid; each is asked for, because a directory service need not list its people."""
    names = {str((one.get("Labels") or {}).get(label, "")) for one in listed for label in (OWNER_LABEL, LEGACY_LABEL)}
    numbers = {int(match.group(1)) for one in listed if (match := LEGACY_NAME.fullmatch(own_name(one)))}
    found: dict[int, str] = {}
    for name in names - {""}:
        with contextlib.suppress(KeyError, ValueError):
            found[pwd.getpwnam(name).pw_uid] = name
    for number in numbers:
        with contextlib.suppress(KeyError, OverflowError):
            found[number] = pwd.getpwuid(number).pw_name
    return found


def read_plans(docker: DockerClient, policy: str) -> list[Legacy]:
    """The plan for every container of before the gate, by name."""
    listed = [one for one in docker.call("GET", "/containers/json?all=1") if is_legacy(one.get("Labels") or {}, own_name(one))]
    accounts = read_accounts(listed)
    resolver = Resolver(PolicyFile(policy))
    roots: dict[int, list[str]] = {}
    found: list[Legacy] = []
    for entry in listed:
        inspected = docker.find(f"/containers/{segment(entry['Id'])}/json")
        if inspected is None:
            continue
        first = plan(inspected, accounts, roots)
        if first.uid is not None and first.uid not in roots:
            roots[first.uid] = [root.path for root in resolver.limits(first.uid).bind_roots]
            first = plan(inspected, accounts, roots)
        found.append(first)
    return sorted(found, key=lambda one: one.name)


def carried(docker: DockerClient, plans: list[Legacy]) -> set[str]:
    """The ids of the old containers that have a successor of the same owner."""
    listed = docker.call("GET", f"/containers/json?all=1&{label_filter(FROM_LABEL)}")
    said = {(str(entry["Labels"][FROM_LABEL]), str(entry["Labels"].get(UID_LABEL))) for entry in listed}
    return {one.id for one in plans if (one.id, str(one.uid)) in said}


def carry_over(gate: str, one: Legacy) -> None:
    """Keep the files as an image and create the container, both through the gate and as its owner: the image is theirs alone, too."""
    if one.uid is None:
        raise DaemonRefused(409, f"{one.name}: {one.obstacle}")
    query = urlencode({"container": one.id, "repo": one.repository, "tag": TAG, "pause": "1"})
    call_as(one.uid, gate, "POST", f"/v1.45/commit?{query}")
    body = {**one.body, "Image": f"{one.repository}:{TAG}"}
    call_as(one.uid, gate, "POST", f"/v1.45/containers/create?{urlencode({'name': one.new_name})}", body)


def run(module: AnsibleModule) -> dict[str, Any]:
    """Report; carry over what was named."""
    options = module.params
    docker = DockerClient(options["docker_socket"])
    plans = read_plans(docker, options["policy"])
    there = carried(docker, plans)
    wanted = set(options["carry_over"])
    unknown = wanted - {ALL} - {name for one in plans for name in (one.name, one.id)}
    if unknown:
        module.fail_json(msg=f"carry_over: {', '.join(sorted(unknown))}: no container of before the gate has that name or id")
    named = [one for one in plans if one.id not in there and wanted & {one.name, one.id}]
    for one in named:
        if one.obstacle is not None:
            module.fail_json(msg=f"{one.name} can't be carried over: {one.obstacle}")
    chosen = [one for one in plans if one.id not in there and (one in named or (ALL in wanted and one.obstacle is None))]
    actions = [f"carry over {one.name} of {one.user} as {one.new_name}" for one in chosen]
    if not module.check_mode:
        for one in chosen:
            try:
                carry_over(options["gate_socket"], one)
            except (DaemonRefused, DaemonUnavailable, LookupError) as error:
                module.fail_json(msg=f"{one.name} of {one.user} was not carried over, and is as it was: {error}", actions=actions)
        there |= {one.id for one in chosen}
    diff = {"before": "", "after": "".join(f"{line}\n" for line in actions)}
    return {"changed": bool(chosen), "actions": actions, "diff": diff, "containers": [_report(one, one.id in there) for one in plans]}


def _report(one: Legacy, there: bool) -> dict[str, Any]:
    return {
        "name": one.name,
        "id": one.id,
        "user": one.user,
        "uid": one.uid,
        "marked_by": one.marked_by,
        "image": one.image,
        "running": one.running,
        "left_out": list(one.left_out),
        "becomes": one.new_name,
        "there": there,
        "obstacle": None if there else one.obstacle,
    }


def main() -> None:
    """Entry point."""
    module = AnsibleModule(build_argument_spec(), supports_check_mode=True)
    try:
        module.exit_json(**run(module))
    except (DaemonRefused, DaemonUnavailable, PolicyError, OSError, LookupError) as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
