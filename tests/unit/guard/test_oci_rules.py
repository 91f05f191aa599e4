# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Each rule of the runtime guard, attacked: a clean spec passes, and every single change that opens the host is named."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from ds01.core.oci_facts import DEFAULT_CAPABILITIES, ClaimFacts, GuardFacts
from ds01.core.oci_rules import slice_of, violations

ID = "a" * 64
CLAIM = "c0123456789ab"
ROOT = "/var/lib/docker"
MASKED = "acpi asound interrupts kcore keys latency_stats sched_debug scsi timer_list timer_stats"
CPU = GuardFacts(ID, uid=1001)
GPU = GuardFacts(
    ID,
    uid=1001,
    claim_id=CLAIM,
    claim=ClaimFacts(frozenset({(195, 0), (195, 255)}), frozenset({"/usr/lib/libcuda.so.1"}), frozenset({"/usr/bin/nvidia-cdi-hook"})),
)


def clean(slice_name: str = "ds01-u1001-nogpu.slice") -> dict[str, Any]:
    """What dockerd writes for a container that asks for nothing special."""
    bind = {"type": "bind", "options": ["rbind", "rprivate"]}
    return {
        "process": {"capabilities": {"bounding": sorted(DEFAULT_CAPABILITIES)}, "oomScoreAdj": 0},
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"]},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid"]},
            {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "ro"]},
            {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["ro"]},
            {"destination": "/etc/hosts", "source": f"{ROOT}/containers/{ID}/hosts", **bind},
            {"destination": "/data", "source": f"{ROOT}/volumes/work/_data", **bind},
        ],
        "hooks": {"prestart": [{"path": "/proc/812/exe", "args": ["libnetwork-setkey", "-exec-root=/var/run/docker"]}]},
        "linux": {
            "cgroupsPath": f"{slice_name}:docker:{ID}",
            "namespaces": [{"type": kind} for kind in ("mount", "network", "uts", "pid", "ipc", "cgroup")],
            "maskedPaths": [f"/proc/{name}" for name in MASKED.split()] + ["/sys/firmware", "/sys/devices/virtual/powercap"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
            "seccomp": {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": ["read"]}]},
            "sysctl": {"net.ipv4.ip_unprivileged_port_start": "0"},
            "resources": {
                "devices": [{"allow": False, "access": "rwm"}, {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rwm"}]
            },
        },
    }


def test_what_dockerd_writes_passes() -> None:
    assert violations(clean(), CPU) == []
    assert violations(clean(f"ds01-u1001-{CLAIM}.slice"), GPU) == []
    assert violations(clean("ds01-nogpu.slice"), GuardFacts(ID)) == []
    pinned = clean()
    pinned["mounts"].append(
        {"destination": "/w", "type": "bind", "source": f"{ROOT}/tmp/safe-mount867291081", "options": ["rbind", "rprivate"]}
    )
    assert violations(pinned, CPU) == []


def test_the_claim_brings_its_own_devices_libraries_and_hooks() -> None:
    spec = clean(f"ds01-u1001-{CLAIM}.slice")
    spec["linux"]["devices"] = [{"path": "/dev/nvidia0", "type": "c", "major": 195, "minor": 0}]
    spec["linux"]["resources"]["devices"].append({"allow": True, "type": "c", "major": 195, "minor": 0, "access": "rw"})
    spec["mounts"].append(
        {"destination": "/usr/lib/libcuda.so.1", "type": "bind", "source": "/usr/lib/libcuda.so.1", "options": ["ro", "rbind", "rprivate"]}
    )
    spec["hooks"]["createContainer"] = [{"path": "/usr/bin/nvidia-cdi-hook", "args": ["nvidia-cdi-hook", "update-ldcache"]}]
    assert violations(spec, GPU) == []
    spec["linux"]["cgroupsPath"] = f"ds01-u1001-nogpu.slice:docker:{ID}"
    assert {v.rule for v in violations(spec, CPU)} == {"devices", "device rules", "mounts", "hooks"}


def _bind(source: str, *options: str, destination: str = "/m", kind: str = "bind") -> dict[str, Any]:
    return {"destination": destination, "type": kind, "source": source, "options": list(options) or ["rbind", "rprivate"]}


def _allow(rule: dict[str, Any]) -> Any:
    return lambda spec: spec["linux"]["resources"]["devices"].append({"allow": True, **rule})


def _join(path: str) -> Any:
    return lambda spec: spec["linux"]["namespaces"].append({"type": "network", "path": path})


ATTACKS: list[tuple[str, str, Any]] = [
    ("another person's slice", "cgroup", lambda s: s["linux"].update(cgroupsPath=f"ds01-u1002-nogpu.slice:docker:{ID}")),
    ("system slice", "cgroup", lambda s: s["linux"].update(cgroupsPath=f"system.slice:docker:{ID}")),
    ("a claim slice without a claim", "cgroup", lambda s: s["linux"].update(cgroupsPath=f"ds01-u1001-{CLAIM}.slice:docker:{ID}")),
    ("a plain path", "cgroup", lambda s: s["linux"].update(cgroupsPath="/evil")),
    ("no cgroup path", "cgroup", lambda s: s["linux"].pop("cgroupsPath")),
    ("property by annotation", "annotations", lambda s: s.update(annotations={"org.systemd.property.Slice": "'system.slice'"})),
    ("SYS_ADMIN", "capabilities", lambda s: s["process"]["capabilities"]["bounding"].append("CAP_SYS_ADMIN")),
    ("ambient capability", "capabilities", lambda s: s["process"]["capabilities"].update(ambient=["CAP_SYS_PTRACE"])),
    ("disk node", "devices", lambda s: s["linux"].update(devices=[{"path": "/dev/vda", "type": "b", "major": 254, "minor": 0}])),
    ("GPU node", "devices", lambda s: s["linux"].update(devices=[{"path": "/dev/nvidia0", "type": "c", "major": 195, "minor": 0}])),
    ("every device", "device rules", _allow({"access": "rwm"})),
    ("every GPU", "device rules", _allow({"type": "c", "major": 195, "access": "rwm"})),
    ("block device", "device rules", _allow({"type": "b", "major": 1, "minor": 3, "access": "r"})),
    ("host network", "namespaces", lambda s: s["linux"]["namespaces"].remove({"type": "network"})),
    ("host pid", "namespaces", lambda s: s["linux"]["namespaces"].remove({"type": "pid"})),
    ("host ipc", "namespaces", lambda s: s["linux"]["namespaces"].remove({"type": "ipc"})),
    ("host uts", "namespaces", lambda s: s["linux"]["namespaces"].remove({"type": "uts"})),
    ("pid 1's network", "namespaces", _join("/proc/1/ns/net")),
    ("the host's netns file", "namespaces", _join("/run/docker/netns/default")),
    ("netns by dots", "namespaces", _join("/run/docker/netns/../../../proc/1/ns/net")),
    ("the root directory", "mounts", lambda s: s["mounts"].append(_bind("/"))),
    ("/etc", "mounts", lambda s: s["mounts"].append(_bind("/etc"))),
    ("a home, not through the gate", "mounts", lambda s: s["mounts"].append(_bind("/home/alice"))),
    ("the docker socket", "mounts", lambda s: s["mounts"].append(_bind("/run/docker-root/docker.sock"))),
    ("dots out of the volumes", "mounts", lambda s: s["mounts"].append(_bind(f"{ROOT}/volumes/../../../../etc"))),
    ("dots at the end", "mounts", lambda s: s["mounts"].append(_bind(f"{ROOT}/volumes/x/.."))),
    ("another container's files", "mounts", lambda s: s["mounts"].append(_bind(f"{ROOT}/containers/{'b' * 64}/hosts"))),
    ("dockerd's temporary files", "mounts", lambda s: s["mounts"].append(_bind(f"{ROOT}/tmp/docker-export"))),
    ("image layers", "mounts", lambda s: s["mounts"].append(_bind(f"{ROOT}/overlay2"))),
    ("init from elsewhere", "mounts", lambda s: s["mounts"].append(_bind("/home/alice/docker-init", destination="/sbin/docker-init"))),
    ("shared propagation", "mounts", lambda s: s["mounts"].append(_bind(f"{ROOT}/volumes/w/_data", "rbind", "rshared"))),
    ("proc elsewhere", "mounts", lambda s: s["mounts"].append(_bind("proc", kind="proc"))),
    ("overlay of /etc", "mounts", lambda s: s["mounts"].append(_bind("overlay", "lowerdir=/etc:/usr", kind="overlay"))),
    ("writable sysfs", "mounts", lambda s: s["mounts"][2].update(options=["nosuid"])),
    ("writable cgroups", "mounts", lambda s: s["mounts"][3].update(options=["rw"])),
    ("mount without a type", "mounts", lambda s: s["mounts"].append({"destination": "/m", "source": "/etc"})),
    ("unmasked /proc", "confinement", lambda s: s["linux"].update(maskedPaths=[])),
    ("writable /proc/sys", "confinement", lambda s: s["linux"].pop("readonlyPaths")),
    ("no seccomp", "confinement", lambda s: s["linux"].pop("seccomp")),
    ("unmasked but for one path", "confinement", lambda s: s["linux"].update(maskedPaths=["/proc/kcore"])),
    ("sysrq-trigger open", "confinement", lambda s: s["linux"]["readonlyPaths"].remove("/proc/sysrq-trigger")),
    ("seccomp that allows by default", "confinement", lambda s: s["linux"]["seccomp"].update(defaultAction="SCMP_ACT_ALLOW")),
    ("seccomp that only logs", "confinement", lambda s: s["linux"]["seccomp"].update(defaultAction="SCMP_ACT_LOG")),
    ("seccomp without a default", "confinement", lambda s: s["linux"]["seccomp"].pop("defaultAction")),
    ("kernel sysctl", "confinement", lambda s: s["linux"]["sysctl"].update({"kernel.msgmax": "1"})),
    ("shared root", "confinement", lambda s: s["linux"].update(rootfsPropagation="rshared")),
    ("saved from the OOM killer", "confinement", lambda s: s["process"].update(oomScoreAdj=-1000)),
    ("no AppArmor", "confinement", lambda s: s["process"].update(apparmorProfile="unconfined")),
    ("foreign hook", "hooks", lambda s: s["hooks"]["prestart"].append({"path": "/home/alice/x", "args": ["x"]})),
    ("hook dressed as dockerd's", "hooks", lambda s: s["hooks"].update(poststart=[{"path": "/proc/1/exe", "args": ["sh"]}])),
    ("unclaimed CDI hook", "hooks", lambda s: s["hooks"].update(createContainer=[{"path": "/usr/bin/nvidia-cdi-hook", "args": ["x"]}])),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "change"), [pytest.param(rule, change, id=name) for name, rule, change in ATTACKS])
def test_one_change_is_found_and_named(rule: str, change: Any) -> None:
    spec = copy.deepcopy(clean())
    change(spec)
    assert [v.rule for v in violations(spec, CPU)] == [rule]


def test_with_cgroup_v2_a_persons_container_has_a_cgroup_namespace_of_its_own() -> None:
    unified = GuardFacts(ID, uid=1001, unified_cgroups=True)
    spec = clean()
    assert violations(spec, unified) == []
    spec["linux"]["namespaces"].remove({"type": "cgroup"})
    assert [v.where for v in violations(spec, unified)] == ["linux.namespaces.cgroup"]
    assert violations(spec, CPU) == []
    spec["linux"]["cgroupsPath"] = f"ds01-nogpu.slice:docker:{ID}"
    assert violations(spec, GuardFacts(ID, unified_cgroups=True)) == []
    joined = clean()
    joined["linux"]["namespaces"][5]["path"] = "/proc/1/ns/cgroup"
    assert [v.rule for v in violations(joined, unified)] == ["namespaces"]


def test_a_namespace_of_the_same_person_may_be_joined_and_no_other() -> None:
    spec = clean()
    spec["linux"]["namespaces"][1]["path"] = "/proc/4711/ns/net"
    for owner, allowed in ((1001, True), (1002, False), (None, False)):
        facts = GuardFacts(ID, uid=1001, namespace_owner={"/proc/4711/ns/net": owner})
        assert (violations(spec, facts) == []) is allowed
    nobody = GuardFacts(ID, namespace_owner={"/proc/4711/ns/net": None})
    spec["linux"]["cgroupsPath"] = f"ds01-nogpu.slice:docker:{ID}"
    assert [v.rule for v in violations(spec, nobody)] == ["namespaces"]


def test_a_step_of_the_classic_builder_has_no_labels_and_runs_in_a_slice_without_gpus() -> None:
    spec, step = clean(), GuardFacts(ID)
    for parent, allowed in (("ds01-nogpu", True), ("ds01-u1001-nogpu", True), (f"ds01-u1001-{CLAIM}", False), ("ds01-u1001", False)):
        spec["linux"]["cgroupsPath"] = f"{parent}.slice:docker:{ID}"
        assert (violations(spec, step) == []) is allowed, parent


def test_a_step_of_buildkit_has_the_network_hook_of_dockerd_and_no_other() -> None:
    spec, step = clean(), GuardFacts("rooftxp82m3u5xz09im7oozqt", build=True)
    spec["linux"]["cgroupsPath"] = "ds01-build.slice:build:rooftxp82m3u5xz09im7oozqt"
    spec["mounts"] = [mount for mount in spec["mounts"] if mount["destination"] != "/data"]
    assert violations(spec, step) == []
    for path in ("/proc/1/../../tmp/exe", "/proc/self/exe", "/tmp/exe"):
        spec["hooks"] = {"prestart": [{"path": path, "args": ["libnetwork-setkey"]}]}
        assert [v.rule for v in violations(spec, step)] == ["hooks"], path


@pytest.mark.parametrize(
    ("path", "slice_name"),
    [
        ("ds01-u1-nogpu.slice:docker:x", "ds01-u1-nogpu.slice"),
        ("/ds01.slice/ds01-build.slice/build-x", "ds01-build.slice"),
        ("/docker/x", ""),
        ("", ""),
        ("/ds01-u1-nogpu.slice/../x", ""),
    ],
)
def test_the_slice_of_a_path(path: str, slice_name: str) -> None:
    assert slice_of(path) == slice_name
