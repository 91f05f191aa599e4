# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The runtime guard's rules: what the final OCI spec of a person's container may contain.

The gate judged the request; this judges what dockerd made of it, so that one mistake does not open the host.
Each rule is a function ``(spec, facts) -> violations``; ``violations`` runs them all. Field names are those of the
OCI runtime specification, config.md and config-linux.md.
"""

from __future__ import annotations

from .exact_text import number_between
from .oci_facts import DEFAULT_CAPABILITIES, GuardFacts, Violation
from .oci_mounts import mounts
from .slice_names import BUILD, NOGPU, claim_slice, is_nogpu_slice, nogpu_slice

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, TypeAlias

    Spec: TypeAlias = dict[str, Any]
    Rule: TypeAlias = Callable[[Spec, GuardFacts], Iterator[Violation]]

_DEFAULT_DEVICES = frozenset({(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1), (5, 2)})
_PTS_MAJOR = 136
_REQUIRED_NAMESPACES = ("ipc", "mount", "network", "pid", "uts")
_SYSCTLS = ("net.ipv4.ip_unprivileged_port_start", "net.ipv4.ping_group_range")
# What Docker 26 and newer and BuildKit hide in every container (moby oci/defaults.go, containerd oci/spec.go); newer ones hide more.
_MASKED = (
    "/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/sched_debug", "/proc/scsi",
    "/proc/timer_list", "/proc/timer_stats", "/sys/firmware",
)  # fmt: skip
_READ_ONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
_SECCOMP_DEFAULTS = ("SCMP_ACT_ERRNO", "SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_TRAP")
_CAPABILITY_SETS = ("bounding", "effective", "inheritable", "permitted", "ambient")


def _linux(spec: Spec) -> dict[str, Any]:
    linux = spec.get("linux")
    return linux if isinstance(linux, dict) else {}


def expected_slices(facts: GuardFacts) -> tuple[str, ...]:
    """The slices in which this container may run."""
    if facts.build:
        return (BUILD,)
    if facts.uid is None:
        return (NOGPU,)
    if facts.claim_id is None:
        return (nogpu_slice(facts.uid),)
    return (claim_slice(facts.uid, facts.claim_id),)


def slice_of(cgroups_path: str) -> str:
    """The slice of a ``cgroupsPath``: the first part of ``slice:prefix:name``, else the last ``*.slice`` of a path; "" if there is none."""
    if ".." in cgroups_path:
        return ""
    if not cgroups_path.startswith("/") and cgroups_path.count(":") == 2:
        return cgroups_path.split(":", 1)[0]
    slices = [part for part in cgroups_path.split("/") if part.endswith(".slice")]
    return slices[-1] if slices else ""


def cgroup(spec: Spec, facts: GuardFacts) -> Iterator[Violation]:
    """The cgroup is the person's slice, whatever annotations or parents were asked for.

    A step of the classic builder is a container without labels, which the gate puts into the slice without a GPU of whoever builds.
    """
    path = _linux(spec).get("cgroupsPath", "")
    found = slice_of(str(path))
    classic_build = facts.uid is None and not facts.build and is_nogpu_slice(found)
    if found not in expected_slices(facts) and not classic_build:
        yield Violation("cgroup", "linux.cgroupsPath", f"{path!r}, expected a scope in {' or '.join(expected_slices(facts))}")


def no_annotations(spec: Spec, facts: GuardFacts) -> Iterator[Violation]:
    """No annotations: runc turns ``org.systemd.property.*`` into properties of the scope, CDI hooks read others."""
    for key in spec.get("annotations") or {}:
        yield Violation("annotations", f"annotations.{key}", "set")


def capabilities(spec: Spec, facts: GuardFacts) -> Iterator[Violation]:
    """Nothing beyond Docker's default set."""
    sets = (spec.get("process") or {}).get("capabilities") or {}
    for name in sets:
        extra = sorted(set(sets[name] or ()) - DEFAULT_CAPABILITIES) if name in _CAPABILITY_SETS else [f"unknown set {name}"]
        if extra:
            yield Violation("capabilities", f"process.capabilities.{name}", ", ".join(extra))


def device_nodes(spec: Spec, facts: GuardFacts) -> Iterator[Violation]:
    """Device nodes made in the container are those of the claim."""
    for node in _linux(spec).get("devices") or ():
        number = (node.get("major", -1), node.get("minor", -1))
        if node.get("type") not in ("c", "u") or number not in facts.claim.device_nodes:
            found = f"{node.get('type')} {number[0]}:{number[1]} is not in the claim"
            yield Violation("devices", f"linux.devices {node.get('path')}", found)


def device_rules(spec: Spec, facts: GuardFacts) -> Iterator[Violation]:
    """The device cgroup allows Docker's defaults and the claim, by number: no wildcard."""
    for rule in (_linux(spec).get("resources") or {}).get("devices") or ():
        if not rule.get("allow"):
            continue
        kind, major, minor = rule.get("type"), rule.get("major"), rule.get("minor")
        number = (major, minor)
        if kind == "c" and (major == _PTS_MAJOR or number in _DEFAULT_DEVICES or number in facts.claim.device_nodes):
            continue
        found = f"allows {kind or 'a'} {'*' if major is None else major}:{'*' if minor is None else minor}"
        yield Violation("device rules", "linux.resources.devices", found)


def namespaces(spec: Spec, facts: GuardFacts) -> Iterator[Violation]:
    """Own namespaces, or those of another container of the same person.

    With cgroup v2 dockerd gives a cgroup namespace, and the gate lets nobody ask for the host's.
    """
    present = {}
    for entry in _linux(spec).get("namespaces") or ():
        present[entry.get("type")] = entry.get("path") or ""
    persons = facts.uid is not None and facts.unified_cgroups
    for kind in (*_REQUIRED_NAMESPACES, "cgroup") if persons else _REQUIRED_NAMESPACES:
        if kind not in present:
            yield Violation("namespaces", f"linux.namespaces.{kind}", "missing: the host's would be used")
    for kind, path in present.items():
        if not path or _daemon_made(kind, path, facts):
            continue
        owner = facts.namespace_owner.get(path)
        if facts.uid is None or owner != facts.uid:
            yield Violation("namespaces", f"linux.namespaces.{kind}", f"joins {path}, which is not the same person's")


def _daemon_made(kind: str, path: str, facts: GuardFacts) -> bool:
    """A network namespace that dockerd or BuildKit made beforehand for this container."""
    roots = (f"{facts.exec_root}/netns/", f"{facts.exec_root.replace('/var/run/', '/run/')}/netns/")
    build = (f"{facts.data_root}/buildkit/net/", f"{facts.exec_root}/netns/")
    return kind == "network" and ".." not in path and path.startswith(build if facts.build else roots) and not path.endswith("/default")


def confinement(spec: Spec, facts: GuardFacts) -> Iterator[Violation]:
    """Masked and read-only paths and seccomp are there; sysctls are Docker's own; nothing is protected from the OOM killer."""
    linux = _linux(spec)
    for name, must in (("maskedPaths", _MASKED), ("readonlyPaths", _READ_ONLY_PATHS)):
        missing = sorted(set(must) - set(linux.get(name) or ()))
        if missing:
            yield Violation("confinement", f"linux.{name}", f"lacks {', '.join(missing)}")
    seccomp = linux.get("seccomp") or {}
    if not seccomp.get("syscalls") or seccomp.get("defaultAction") not in _SECCOMP_DEFAULTS:
        yield Violation("confinement", "linux.seccomp", "no filter that forbids what it does not name")
    for key in linux.get("sysctl") or {}:
        if key not in _SYSCTLS:
            yield Violation("confinement", f"linux.sysctl.{key}", "set")
    if linux.get("rootfsPropagation") not in (None, "", "private", "rprivate", "slave", "rslave"):
        yield Violation("confinement", "linux.rootfsPropagation", str(linux.get("rootfsPropagation")))
    process = spec.get("process") or {}
    if (process.get("oomScoreAdj") or 0) < 0:
        yield Violation("confinement", "process.oomScoreAdj", str(process.get("oomScoreAdj")))
    if process.get("apparmorProfile") == "unconfined":
        yield Violation("confinement", "process.apparmorProfile", "unconfined")
    for key in ("uidMappings", "gidMappings", "intelRdt"):
        if linux.get(key):
            yield Violation("confinement", f"linux.{key}", "set")


def hooks(spec: Spec, facts: GuardFacts) -> Iterator[Violation]:
    """Hooks run as root on the host: dockerd's own network hook, in builds too, and those of the claim's spec, no other."""
    for stage, entries in (spec.get("hooks") or {}).items():
        for hook in entries or ():
            path, arguments = str(hook.get("path", "")), hook.get("args") or [""]
            # How dockerd names itself in a hook: it runs its own program again.
            dockerd = number_between(path, "/proc/", "/exe") is not None and arguments[0] == "libnetwork-setkey"
            if not dockerd and path not in facts.claim.hook_paths:
                yield Violation("hooks", f"hooks.{stage}", path)


def exec_violations(process: object) -> list[Violation]:
    """What the process of an exec may not bring: capabilities beyond Docker's default set.

    A privileged exec brings all of them (moby, daemon/exec_linux.go); an ordinary one has at most those of its container.
    """
    if not isinstance(process, dict) or any(key != "capabilities" and str(key).casefold() == "capabilities" for key in process):
        return [Violation("exec", "process", "not in the form that containerd writes")]
    return list(capabilities({"process": process}, GuardFacts("")))


RULES: tuple[Rule, ...] = (
    cgroup, no_annotations, capabilities, device_nodes, device_rules, namespaces, mounts, confinement, hooks,
)  # fmt: skip


def violations(spec: Spec, facts: GuardFacts) -> list[Violation]:
    """Everything in ``spec`` that is not allowed for a container with these facts; empty when it may start."""
    return [violation for rule in RULES for violation in rule(spec, facts)]
