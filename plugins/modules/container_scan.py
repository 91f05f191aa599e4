#!/usr/bin/python
# Copyright (c) ds01.infra contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who uses which GPU now: containers that can open one, and processes on them, with their kind and owner."""

from __future__ import annotations

DOCUMENTATION = r"""
module: container_scan
short_description: The inventory of containers and processes that use GPUs
version_added: 0.1.0
description:
  - Looks at the daemon's containers, the GPUs' processes and the claims at one moment, and says of each workload what kind it is, whose it
    is, and by what evidence. Nothing is guessed; a workload without evidence is nobody's.
  - It asks the daemon and the driver itself and needs no service of the platform to run.
  - A source that does not answer is said under RV(sources); what the others know is returned all the same.
author:
  - ds01.infra contributors (@ds01)
extends_documentation_fragment:
  - ds01.infra.attributes.info
options:
  docker_socket:
    description: The daemon's own socket.
    type: path
    default: /run/docker-root/docker.sock
  cdi_directory:
    description: Where claims are.
    type: path
    default: /run/cdi
  run_directory:
    description: Where the snapshot of devices is, which stands in when the driver does not answer.
    type: path
    default: /run/ds01
"""

EXAMPLES = r"""
- name: Look who uses GPUs
  ds01.infra.container_scan:
  vars:
    ansible_python_interpreter: /opt/ds01/venv/bin/python
  register: scan

- name: Refuse to go on while somebody uses a GPU outside the platform
  ansible.builtin.assert:
    that: scan.workloads | rejectattr('tracked') | length == 0
"""

RETURN = r"""
workloads:
  description: Containers that can open a GPU, then processes on GPUs outside of them.
  type: list
  elements: dict
  returned: success
  contains:
    kind:
      description: One of V(managed), V(devcontainer), V(compose), V(raw), V(other-engine), V(slurm), V(host), V(system).
      type: str
    tracked:
      description: Whether the platform (or the system) gave it its GPU.
      type: bool
    user:
      description: Whose it is; none where there is no evidence.
      type: str
    attributed_by:
      description: The evidence.
      type: str
    container_id:
      description: Full id of the container.
      type: str
    claim:
      description: Id of its claim.
      type: str
    access_by:
      description: By which way it comes to a GPU, V(claim), V(privileged), V(devices), V(runtime) or V(process).
      type: str
    gpus:
      description: The GPUs, each with UUID, index and profile.
      type: list
      elements: dict
    processes:
      description: Its processes on GPUs.
      type: list
      elements: dict
containers:
  description: How many containers the daemon has, and how many of them run.
  type: dict
  returned: success
  sample: {total: 12, running: 9}
v:
  description: Version of the document, whose schema is C(docs/inventory.schema.json); RV(workloads) and RV(sources) are as the watcher's.
  type: int
  returned: success
  sample: 1
time:
  description: When it was made, in seconds since the epoch, UTC.
  type: float
  returned: success
  sample: 1790000000.5
sources:
  description: Whether the daemon and the driver answered, and what was wrong.
  type: dict
  returned: success
  sample: {docker: {ok: true, error: null}, gpu: {ok: true, error: null}}
simulated:
  description: Whether the GPUs are simulated.
  type: bool
  returned: success
"""

import pwd
import time
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.ds01.infra.plugins.module_utils.claim_store import ClaimStore
from ansible_collections.ds01.infra.plugins.module_utils.container_reader import read_container
from ansible_collections.ds01.infra.plugins.module_utils.core.cgroup_path import place
from ansible_collections.ds01.infra.plugins.module_utils.core.devices import Inventory
from ansible_collections.ds01.infra.plugins.module_utils.core.devices_json import SnapshotError
from ansible_collections.ds01.infra.plugins.module_utils.core.workload_document import document, workloads
from ansible_collections.ds01.infra.plugins.module_utils.core.workload_facts import ContainerFacts, People, ProcessFacts
from ansible_collections.ds01.infra.plugins.module_utils.devices_snapshot import load
from ansible_collections.ds01.infra.plugins.module_utils.docker_upstream import DaemonRefused, DaemonUnavailable, DockerClient
from ansible_collections.ds01.infra.plugins.module_utils.gpu_process_facts import read_gpu_processes
from ansible_collections.ds01.infra.plugins.module_utils.nvml import open_nvml
from ansible_collections.ds01.infra.plugins.module_utils.nvml_binding import NvmlError
from ansible_collections.ds01.infra.plugins.module_utils.own_scope import leave_session

FIRST_PERSON = 1000


def build_argument_spec() -> dict[str, Any]:
    """The options, as in the documentation."""
    return {
        "docker_socket": {"type": "path", "default": "/run/docker-root/docker.sock"},
        "cdi_directory": {"type": "path", "default": "/run/cdi"},
        "run_directory": {"type": "path", "default": "/run/ds01"},
    }


def read_containers(socket: str) -> tuple[tuple[ContainerFacts, ...], str | None]:
    """Every container, and what was wrong with the daemon."""
    try:
        docker = DockerClient(socket)
        listed = [str(entry["Id"]) for entry in docker.call("GET", "/containers/json?all=1")]
        found = [facts for facts in (read_container(docker, one) for one in listed) if facts is not None]
    except (DaemonUnavailable, DaemonRefused, OSError) as error:
        return (), str(error)
    return tuple(sorted(found, key=lambda facts: facts.name)), None


def read_gpus(snapshot: Path) -> tuple[Inventory, tuple[ProcessFacts, ...], str | None]:
    """The devices and the processes on them; the published devices and what was wrong, when the driver does not answer."""
    try:
        with open_nvml() as nvml:
            inventory = nvml.inventory()
            return inventory, read_gpu_processes(nvml, inventory), None
    except NvmlError as error:
        try:
            return load(snapshot), (), str(error)
        except SnapshotError:
            return Inventory((), "", False, 0.0), (), str(error)


def read_people(containers: tuple[ContainerFacts, ...], processes: tuple[ProcessFacts, ...]) -> People:
    """The account database, with the people that only a directory service knows and who own something here."""
    entries = {entry.pw_uid: entry for entry in pwd.getpwall()}
    uids = {uid for p in processes for uid in (p.uid, p.login_uid) if uid is not None}
    uids |= {uid for c in containers for uid in (place(c.cgroup_path).uid, *c.bind_sources.values()) if uid is not None}
    uids |= {int(c.labels["ds01.uid"]) for c in containers if c.labels.get("ds01.uid", "").isdigit()}
    for uid in uids - entries.keys():
        try:
            entries[uid] = pwd.getpwuid(uid)
        except (KeyError, OverflowError):
            continue
    homes = {e.pw_name: e.pw_dir for e in entries.values() if e.pw_uid >= FIRST_PERSON}
    return People({uid: e.pw_name for uid, e in entries.items()}, homes)


def run(module: AnsibleModule) -> dict[str, Any]:
    """Reads and reports; changes nothing."""
    options = module.params
    inventory, processes, gpu_error = read_gpus(Path(options["run_directory"]) / "devices.json")
    containers, docker_error = read_containers(options["docker_socket"])
    claims = ClaimStore(Path(options["cdi_directory"]), Path(options["run_directory"]) / "claims.lock").read().claims
    found = workloads(inventory, containers, processes, claims, read_people(containers, processes))
    sources = {name: {"ok": error is None, "error": error} for name, error in (("docker", docker_error), ("gpu", gpu_error))}
    result = document(found, inventory, time.time(), sources)
    return {
        "changed": False,
        "workloads": result["workloads"],
        "v": result["v"],
        "time": result["time"],
        "containers": {"total": len(containers), "running": sum(1 for c in containers if c.running)},
        "sources": result["sources"],
        "simulated": result["simulated"],
    }


def main() -> None:
    """Entry point."""
    module = AnsibleModule(build_argument_spec(), supports_check_mode=True)
    stayed = leave_session("ds01-container-scan")
    if stayed is not None:
        module.warn(stayed)
    module.exit_json(**run(module))


if __name__ == "__main__":
    main()
