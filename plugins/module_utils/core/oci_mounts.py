# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The runtime guard's rule for mounts: kernel file systems where they belong, bind mounts only from dockerd's own directories.

The gate turns every bind of a person's directory into a volume with a subpath, which dockerd resolves itself and mounts
from below its data directory; a source anywhere else did not come through the gate.
"""

from __future__ import annotations

from .exact_text import is_docker_id, number_between
from .oci_facts import GuardFacts, Violation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

_KERNEL_MOUNTS = {
    "proc": ("/proc",),
    "sysfs": ("/sys",),
    "cgroup": ("/sys/fs/cgroup",),
    "cgroup2": ("/sys/fs/cgroup",),
    "devpts": ("/dev/pts",),
    "mqueue": ("/dev/mqueue",),
}
_READ_ONLY = ("sysfs", "cgroup", "cgroup2")
_PROPAGATION = ("shared", "rshared", "slave", "rslave")
_INIT = "/sbin/docker-init"
_OF_A_CONTAINER = {
    "mounts/shm": "/dev/shm",
    "resolv.conf": "/etc/resolv.conf",
    "hostname": "/etc/hostname",
    "hosts": "/etc/hosts",
}
"""What dockerd mounts from a container's own directory, and where."""


def _below(path: str, root: str) -> bool:
    return path.startswith(root.rstrip("/") + "/") and "/../" not in path + "/"


def _roots(facts: GuardFacts) -> tuple[str, ...]:
    own = f"{facts.data_root}/containers/{facts.container_id}"
    if facts.build:
        return (f"{facts.data_root}/buildkit", f"{facts.data_root}/overlay2", f"{facts.data_root}/tmp")
    run = facts.exec_root.replace("/var/run/", "/run/")
    return (
        own,
        f"{facts.data_root}/volumes",
        f"{facts.exec_root}/containerd",
        f"{run}/containerd",
    )


def _of_joined_namespace(source: str, destination: str, facts: GuardFacts) -> bool:
    """What comes along with another container's IPC or network namespace; whose that is, the namespace rule says."""
    containers = f"{facts.data_root}/containers/"
    if not source.startswith(containers):
        return False
    container_id, _, name = source[len(containers) :].partition("/")
    return is_docker_id(container_id) and destination == _OF_A_CONTAINER.get(name)


def _bind_allowed(mount: dict[str, Any], facts: GuardFacts) -> bool:
    source, destination = str(mount.get("source", "")), str(mount.get("destination", ""))
    if source in facts.claim.mount_sources:
        return True
    if destination == _INIT:
        return source.endswith("/docker-init") and source.startswith(("/usr/bin/", "/usr/libexec/", "/usr/local/bin/"))
    if number_between(source, f"{facts.data_root}/tmp/safe-mount", "") is not None:
        return True  # where dockerd pins a volume's subpath (moby, volume/safepath)
    if _of_joined_namespace(source, destination, facts):
        return True
    return any(_below(source, root) for root in _roots(facts))


def mounts(spec: dict[str, Any], facts: GuardFacts) -> Iterator[Violation]:
    """Every mount is a kernel file system in its place, a tmpfs, or a bind from where the gate lets binds come from."""
    for mount in spec.get("mounts") or ():
        kind, destination = mount.get("type") or "bind", str(mount.get("destination", ""))
        options = mount.get("options") or ()
        where = f"mounts {destination}"
        if kind in _KERNEL_MOUNTS:
            if destination not in _KERNEL_MOUNTS[kind]:
                yield Violation("mounts", where, f"{kind} outside {', '.join(_KERNEL_MOUNTS[kind])}")
            if kind in _READ_ONLY and "ro" not in options:
                yield Violation("mounts", where, f"{kind} is writable")
        elif kind == "tmpfs":
            continue
        elif kind == "bind":
            if not _bind_allowed(mount, facts):
                yield Violation("mounts", where, f"bind of {mount.get('source')}, which the gate did not make")
            if not facts.build and any(option in _PROPAGATION for option in options):
                yield Violation("mounts", where, "mount propagation reaches the host")
        else:
            yield Violation("mounts", where, f"file system type {kind!r}")
