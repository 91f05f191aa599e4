#!/usr/bin/python
# Copyright (c) ds01.infra contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""GPU claims and reservations of this host: asked, granted, taken back."""

from __future__ import annotations

DOCUMENTATION = r"""
module: gpu_allocate
short_description: Grant, end and list GPU claims, and keep the reservations
version_added: 0.1.0
description:
  - A claim is the CDI spec that makes devices reachable for one container. This module goes through the same allocator as the gate, under
    the same lock, by the same policy.
  - A claim that is present is left as it is. One that is granted gets free devices by the policy of its user.
  - Reservations keep devices for some people between two moments. The list is the whole truth; what is not in it is removed.
  - Without O(claims) and O(reservations) it only reports.
author:
  - ds01.infra contributors (@ds01)
extends_documentation_fragment:
  - ds01.infra.attributes
options:
  claims:
    description: Claims that ought to be there, or not.
    type: list
    elements: dict
    default: []
    suboptions:
      claim:
        description: Its id, C(c) and twelve hexadecimal digits, as in the container's label C(ds01.claim).
        type: str
        required: true
      state:
        description: With V(absent) the claim ends now; a container that runs keeps what it has open, and opens no more.
        type: str
        choices: [present, absent]
        default: present
      user:
        description: Whose claim it is. Needed for V(present).
        type: str
      container_id:
        description: Full id of the container. Needed for V(present).
        type: str
      container_name:
        description: Name of the container. The default is the beginning of its id.
        type: str
      request:
        description: What is asked for, as in the label C(ds01.gpu), such as C(2g.10gb), C(full), C(memory=20GiB) or C(all).
        type: str
        default: all
  reservations:
    description: All reservations. Left alone without this option.
    type: list
    elements: dict
    suboptions:
      name:
        description: What it is called.
        type: str
        required: true
      devices:
        description: GPU UUIDs (the GPU and every instance on it) or device keys.
        type: list
        elements: str
        required: true
      users:
        description: Names of people who may use them.
        type: list
        elements: str
        default: []
      groups:
        description: Groups of the policy who may use them.
        type: list
        elements: str
        default: []
      start:
        description: From when, ISO 8601 with a time zone, such as C(2026-12-01T08:00:00+00:00).
        type: str
        required: true
      end:
        description: Until when, likewise.
        type: str
        required: true
      reason:
        description: What for.
        type: str
        default: ""
  policy:
    description: The policy that decides.
    type: path
    default: /etc/ds01/policy.json
  reservations_file:
    description: Where reservations are kept.
    type: path
    default: /etc/ds01/reservations.json
  run_directory:
    description: Where the snapshot of devices, the base CDI spec and the lock are.
    type: path
    default: /run/ds01
  cdi_directory:
    description: Where claims are.
    type: path
    default: /run/cdi
  use_slices:
    description: Whether claims get slices with a device filter. Only for hosts without systemd this is false.
    type: bool
    default: true
"""

EXAMPLES = r"""
- name: See who holds what
  ds01.infra.gpu_allocate:
  register: gpus

- name: Take back the GPU of one container
  ds01.infra.gpu_allocate:
    claims:
      - claim: c0123456789ab
        state: absent

- name: Keep a GPU for a course
  ds01.infra.gpu_allocate:
    reservations:
      - name: deep-learning-exam
        devices: [GPU-5a1e7d2c-0000-4000-8000-000000000003]
        groups: [students]
        start: "2026-12-01T08:00:00+00:00"
        end: "2026-12-01T12:00:00+00:00"
        reason: Exam
"""

RETURN = r"""
actions:
  description: What was done, or would be done in check mode, in words.
  type: list
  elements: str
  returned: success
  sample: ["grant c0123456789ab to alice: 1g.5gb"]
claims:
  description: All claims of the host; in check mode as they would be, with devices chosen from those that are free now.
  type: list
  elements: dict
  returned: success
  sample:
    - claim: c0123456789ab
      user: alice
      uid: 1001
      container_name: train
      equivalents: 1/7
free:
  description: Devices in service that no claim holds; none where no snapshot of devices has been published yet.
  type: list
  elements: dict
  returned: success
corrupt:
  description: Files in the place of claims that can't be read as one, with the devices that they name and that stay taken.
  type: list
  elements: dict
  returned: success
reservations:
  description: All reservations.
  type: list
  elements: dict
  returned: success
"""

import secrets
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.ds01.infra.plugins.module_utils.allocator import AllocationError, AllocationPaths, Allocator
from ansible_collections.ds01.infra.plugins.module_utils.cgroup_fs import CgroupFs
from ansible_collections.ds01.infra.plugins.module_utils.claim_occupants import ProcOccupants, SliceOccupants
from ansible_collections.ds01.infra.plugins.module_utils.core.chooser import choose
from ansible_collections.ds01.infra.plugins.module_utils.core.claim import CLAIM_ID, Claim
from ansible_collections.ds01.infra.plugins.module_utils.core.claim_report import report_claim, report_free
from ansible_collections.ds01.infra.plugins.module_utils.core.gpu_request import GpuRequest
from ansible_collections.ds01.infra.plugins.module_utils.core.limits import Limits
from ansible_collections.ds01.infra.plugins.module_utils.core.policy_problems import PolicyError
from ansible_collections.ds01.infra.plugins.module_utils.core.refusal import Refusal
from ansible_collections.ds01.infra.plugins.module_utils.core.request_text import parse_request_text
from ansible_collections.ds01.infra.plugins.module_utils.core.reservation import Reservation, reservation_from_dict, reservation_to_dict
from ansible_collections.ds01.infra.plugins.module_utils.policy_file import PolicyFile, Resolver, facts_by_name
from ansible_collections.ds01.infra.plugins.module_utils.reservation_file import ReservationFileError, load, locked, save, to_text
from ansible_collections.ds01.infra.plugins.module_utils.slice_control import NoSlices, Slices
from ansible_collections.ds01.infra.plugins.module_utils.systemd_bus import SystemdBus
from ansible_collections.ds01.infra.plugins.module_utils.systemd_slices import SystemdSlices


def build_argument_spec() -> dict[str, Any]:
    """The options, as in the documentation."""
    claim = {
        "claim": {"type": "str", "required": True},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        "user": {"type": "str"},
        "container_id": {"type": "str"},
        "container_name": {"type": "str"},
        "request": {"type": "str", "default": "all"},
    }
    reservation = {
        "name": {"type": "str", "required": True},
        "devices": {"type": "list", "elements": "str", "required": True},
        "users": {"type": "list", "elements": "str", "default": []},
        "groups": {"type": "list", "elements": "str", "default": []},
        "start": {"type": "str", "required": True},
        "end": {"type": "str", "required": True},
        "reason": {"type": "str", "default": ""},
    }
    needed = [("state", "present", ("user", "container_id"))]
    return {
        "claims": {"type": "list", "elements": "dict", "default": [], "options": claim, "required_if": needed},
        "reservations": {"type": "list", "elements": "dict", "options": reservation},
        "policy": {"type": "path", "default": "/etc/ds01/policy.json"},
        "reservations_file": {"type": "path", "default": "/etc/ds01/reservations.json"},
        "run_directory": {"type": "path", "default": "/run/ds01"},
        "cdi_directory": {"type": "path", "default": "/run/cdi"},
        "use_slices": {"type": "bool", "default": True},
    }


def moment(name: str, key: str, text: str) -> float:
    """Seconds since the epoch of an ISO 8601 time with a zone; raises ValueError."""
    try:
        at = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError as error:
        raise ValueError(f"reservation {name}: {key} {text!r}: expected ISO 8601, such as 2026-12-01T08:00:00+00:00") from error
    if at.tzinfo is None:
        raise ValueError(f"reservation {name}: {key} {text!r} has no time zone; expected 2026-12-01T08:00:00+00:00")
    return at.timestamp()


def wanted_reservations(items: list[dict[str, Any]]) -> list[Reservation]:
    """The listed reservations, checked; raises ValueError."""
    names = [item["name"] for item in items]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"reservation {name}: is listed twice")
    return [
        reservation_from_dict(
            {
                **{key: item[key] for key in ("devices", "users", "groups", "reason")},
                "id": item["name"],
                "start": moment(item["name"], "start", item["start"]),
                "end": moment(item["name"], "end", item["end"]),
            }
        )
        for item in items
    ]


class Planned:
    """One claim that has to be granted: by whose limits, and for what."""

    def __init__(self, item: dict[str, Any], resolver: Resolver) -> None:
        self.id: str = item["claim"]
        facts = facts_by_name(item["user"])
        self.uid = facts.uid
        self.limits: Limits = resolver.limits(facts.uid)
        self.request: GpuRequest = parse_request_text(item["request"])
        self.container_id: str = item["container_id"]
        self.container_name: str = item["container_name"] or item["container_id"][:12]


def run(module: AnsibleModule) -> dict[str, Any]:
    """Plans, acts outside check mode, and reports under the same keys in every mode."""
    options = module.params
    for item in options["claims"]:
        if not CLAIM_ID.fullmatch(item["claim"]):
            raise ValueError(f"claim {item['claim']!r}: expected c and twelve hexadecimal digits")
    run_directory, reservations_file = Path(options["run_directory"]), Path(options["reservations_file"])
    paths = AllocationPaths(
        Path(options["cdi_directory"]),
        run_directory / "claims.lock",
        run_directory / "devices.json",
        run_directory / "cdi-base.json",
        reservations_file,
    )
    slices: Slices = SystemdSlices(SystemdBus(), CgroupFs()) if options["use_slices"] else NoSlices()
    occupants = SliceOccupants(CgroupFs()) if options["use_slices"] else ProcOccupants()
    allocator = Allocator(paths, slices, occupants=occupants)
    table = allocator.table()
    present = {c.id: c for c in table.claims}
    reserved = list(load(reservations_file))
    wanted = reserved if options["reservations"] is None else wanted_reservations(options["reservations"])
    resolver = Resolver(PolicyFile(options["policy"]))
    grants = [Planned(i, resolver) for i in options["claims"] if i["state"] == "present" and i["claim"] not in present]
    ends = [present[i["claim"]] for i in options["claims"] if i["state"] == "absent" and i["claim"] in present]
    rewrite = to_text(wanted) != to_text(reserved)

    actions = [f"end {c.id} of {c.user}: {c.container_name}" for c in ends]
    actions += [f"keep {len(wanted)} reservations in {reservations_file}"] if rewrite else []
    if module.check_mode:
        claims = _predict(allocator, [c for c in table.claims if c not in ends], grants, wanted, table.blocked)
    else:
        for claim in ends:
            allocator.drop(claim.id)
        if rewrite:
            with locked(reservations_file):
                save(reservations_file, wanted)
        for g in grants:
            allocator.grant(g.id, g.limits, g.uid, g.request, g.container_id, g.container_name)
        claims = list(allocator.claims()) if grants or ends else list(table.claims)
    granted = {c.id: c for c in claims}
    for g in grants:
        actions.append(f"grant {g.id} to {g.limits.user}: {' + '.join(d.kind for d in granted[g.id].devices)}")
    result: dict[str, Any] = {
        "changed": bool(actions),
        "actions": actions,
        "claims": [report_claim(c) for c in sorted(claims, key=lambda c: c.id)],
        "free": report_free(allocator.inventory(), claims) if paths.devices.exists() else [],
        "corrupt": [{"path": str(c.path), "reason": c.reason, "devices": sorted(c.devices)} for c in table.corrupt],
        "reservations": [reservation_to_dict(r) for r in sorted(wanted, key=lambda r: r.id)],
    }
    if module._diff:
        result["diff"] = {
            "before": _lines(table.claims) + to_text(reserved),
            "after": _lines(claims) + to_text(wanted),
        }
    return result


def _predict(
    allocator: Allocator, claims: list[Claim], grants: list[Planned], reservations: list[Reservation], blocked: frozenset[str]
) -> list[Claim]:
    """The claims as they would be; raises Refusal as the real run would."""
    found = list(claims)
    for g in grants:
        now = time.time()
        devices = choose(allocator.inventory(), found, g.limits, g.request, uid=g.uid, now=now, reservations=reservations, blocked=blocked)
        found.append(
            Claim(g.id, g.uid, g.limits.user, g.container_id, g.container_name, g.request.text(), devices, now, secrets.token_hex(8))
        )
    return found


def _lines(claims: Any) -> str:
    return "".join(
        f"{c.id} {c.user} {c.container_name}: {', '.join(d.key for d in c.devices)}\n" for c in sorted(claims, key=lambda c: c.id)
    )


def main() -> None:
    """Entry point."""
    module = AnsibleModule(build_argument_spec(), supports_check_mode=True)
    try:
        module.exit_json(**run(module))
    except Refusal as refusal:
        module.fail_json(msg=str(refusal), rule=refusal.rule)
    except (AllocationError, PolicyError, ReservationFileError, LookupError, ValueError, OSError) as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
