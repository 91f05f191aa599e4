# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""What an existing container was made with, and what of it keeps it from being started or entered here.

A container that the gate made passes always. But labels are no proof that it did: root writes them, and before the gate everybody could.
So each start looks at the container as dockerd holds it, and refuses what a create would refuse today. Bind mounts are the hard case:
dockerd follows their path at every start and at every ``docker cp``, as root, and the owner may have made it a link since. Therefore they
can't be started; who is inside already may go on, where the path is below their own directories.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..claim import cdi_name
from ..container_marks import UID_LABEL
from ..refusal import Refusal
from ..slice_names import NOGPU, claim_slice, nogpu_slice
from .bind_rules import root_volume
from .case import Case
from .facts import Container, ContainerFact, Question, RootFact, Volume, VolumeFact
from .identity import INTERNAL_LABEL
from .label_rules import CLAIM_LABEL
from .namespace_rules import DEFAULT_CAPABILITIES, NO_NEW_PRIVILEGES
from .ownership import owns_container
from .storage_rules import is_plain

# Not CgroupnsMode: where the host has cgroup v1, its namespace is what dockerd gives every container.
_HOST_MODES = ("PidMode", "IpcMode", "UTSMode", "UsernsMode", "NetworkMode")
_OF_THE_HOST = {"Devices": "devices", "DeviceCgroupRules": "device rules", "Sysctls": "sysctls", "Annotations": "annotations"}
_JOINABLE = ("PidMode", "IpcMode", "NetworkMode")
_ANONYMOUS = re.compile(r"[0-9a-f]{64}")
_LOCAL = frozenset(("127.0.0.1", "::1"))
_LOGS = frozenset(("", "json-file", "local", "none"))
# Mounted nosuid and nodev on every host, and yet nothing for a container.
_NEVER_ROOTS = ("/run", "/var/run", "/proc", "/sys", "/dev")


@dataclass(frozen=True)
class Objection:
    """``what`` in words. ``reaches``: it reaches beyond the container, so that nobody may enter it either."""

    what: str
    reaches: bool = True


def check_start(case: Case, container: Container) -> None:
    """Nothing if the container may be started or copied to and from; else ``Refusal``."""
    _need(case, container)
    found = [*_settings(container), *_joined(case, container), *_mounts(case, container)]
    if found:
        raise _refusal("start", container, found)


def check_copy(case: Case, container: Container) -> None:
    """Nothing if files may be copied to and from the container: dockerd mounts its volumes and binds anew for that."""
    _need(case, container)
    found = list(_mounts(case, container))
    if found:
        raise _refusal("docker cp", container, found)


def check_enter(case: Case, container: Container) -> None:
    """Nothing if the caller may run a process in the container, or wake it up; else ``Refusal``."""
    case.facts.require(*(ContainerFact(ref) for ref in _joins(container)))
    found = [one for one in (*_settings(container), *_joined(case, container), *_binds(case, container)) if one.reaches]
    if found:
        raise _refusal("a process", container, found)


def _need(case: Case, container: Container) -> None:
    asked: list[Question] = [ContainerFact(ref) for ref in _joins(container)]
    volumes = _volume_names(container)
    asked += [VolumeFact(name) for name in volumes]
    case.facts.require(*asked)
    found = [volume for name in volumes if (volume := case.facts.volume(name)) is not None]
    devices = [volume.options.get("device", "") for volume in found if not is_plain(volume)]
    if devices:
        case.facts.require(*(RootFact(path) for path in (*devices, *(root.path for root in case.limits.bind_roots))))


def _refusal(what: str, container: Container, found: Sequence[Objection]) -> Refusal:
    return Refusal(
        f"{what} in container {container.name} is refused" if what == "a process" else f"{what} of container {container.name} is refused",
        f"it was not made through this gate, and has {'; '.join(one.what for one in found)}",
        f"Keep its files as an image (docker commit {container.name} YOURNAME/{_image_name(container.name)}) and make it again "
        "with docker run, or ask an administrator to carry it over (playbook migrate_labels.yml).",
        rule="made-elsewhere",
        status=403,
    )


def _image_name(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.partition("._.")[0].lower()).strip("-") or "saved"


def _settings(container: Container) -> Iterator[Objection]:
    """What stands in HostConfig, but for mounts and joined containers."""
    host = container.host
    if host.get("Privileged"):
        yield Objection("all privileges (--privileged)")
    capabilities = sorted({str(name).upper().removeprefix("CAP_") for name in host.get("CapAdd") or ()} - DEFAULT_CAPABILITIES)
    if capabilities:
        yield Objection(f"capabilities {', '.join(capabilities)}")
    for field, words in _OF_THE_HOST.items():
        if host.get(field):
            yield Objection(f"{words} of the host")
    for field in _HOST_MODES:
        if host.get(field) == "host":
            yield Objection(f"the host's namespace ({field})")
    if any(option not in NO_NEW_PRIVILEGES for option in host.get("SecurityOpt") or ()):
        yield Objection("a loosened security profile")
    for field, must in (("MaskedPaths", "/proc/kcore"), ("ReadonlyPaths", "/proc/sys")):
        if host.get(field) is not None and must not in host[field]:
            yield Objection(f"{must} of the host open")
    yield from _resources(container)
    yield from _unlike_today(container)


def _resources(container: Container) -> Iterator[Objection]:
    """Limits and cgroups that others would suffer from."""
    host, uid, claim = container.host, container.labels.get(UID_LABEL, ""), container.labels.get(CLAIM_LABEL, "")
    if host.get("OomKillDisable") or int(host.get("OomScoreAdj") or 0) < 0:
        yield Objection("protection from the kernel's out-of-memory killer")
    parent = str(host.get("CgroupParent") or "")
    right = (claim_slice(int(uid), claim) if claim else nogpu_slice(int(uid)),) if uid.isdigit() else ("", NOGPU)
    if host and (host.get("Cgroup") or parent not in right):
        yield Objection(f"the control group {parent or 'of nobody'}, where your limits don't hold", reaches=False)


def _unlike_today(container: Container) -> Iterator[Objection]:
    """What is refused at a start without being a danger to a process that is inside already."""
    host = container.host
    claim = container.labels.get(CLAIM_LABEL, "")
    for request in host.get("DeviceRequests") or ():
        if request.get("Driver") != "cdi" or request.get("DeviceIDs") != [cdi_name(claim)]:
            yield Objection("a GPU that was chosen once and for all when it was made", reaches=False)
    if str(host.get("Runtime") or "").startswith("nvidia"):
        yield Objection("NVIDIA's runtime, which hands out every GPU", reaches=False)
    addresses = {str(item.get("HostIp") or "every address") for items in (host.get("PortBindings") or {}).values() for item in items or ()}
    if addresses - _LOCAL:
        yield Objection(f"ports on {', '.join(sorted(addresses - _LOCAL))}", reaches=False)
    if str((host.get("LogConfig") or {}).get("Type") or "") not in _LOGS:
        yield Objection(f"the log driver {host['LogConfig']['Type']}", reaches=False)
    if host.get("Links") and UID_LABEL not in container.labels:
        yield Objection("links to other containers", reaches=False)


def _joins(container: Container) -> list[str]:
    modes = (str(container.host.get(field) or "") for field in _JOINABLE)
    return [mode.partition(":")[2] for mode in modes if mode.startswith("container:")]


def _joined(case: Case, container: Container) -> Iterator[Objection]:
    """Whose namespaces it shares: the same person's only. A container that is gone can't be joined."""
    for ref in _joins(container):
        other = case.facts.container(ref)
        if other is not None and not _same_owner(case, container, other):
            yield Objection("the namespace of somebody else's container")


def _same_owner(case: Case, one: Container, other: Container) -> bool:
    if UID_LABEL in one.labels or UID_LABEL in other.labels:
        return one.labels.get(UID_LABEL) == other.labels.get(UID_LABEL)
    return not case.identity.admin and owns_container(case.identity, one) and owns_container(case.identity, other)


def _volume_names(container: Container) -> list[str]:
    return [str(mount.get("Name") or "") for mount in container.mounts if mount.get("Type") == "volume" and mount.get("Name")]


def _binds(case: Case, container: Container) -> Iterator[Objection]:
    for mount in container.mounts:
        if mount.get("Type") not in ("volume", "tmpfs", "image"):
            source = str(mount.get("Source") or "")
            below = any(source == root.path or source.startswith(root.path.rstrip("/") + "/") for root in case.limits.bind_roots)
            yield Objection(f"the bind mount {source}", reaches=not below)


def _mounts(case: Case, container: Container) -> Iterator[Objection]:
    """Bind mounts, and volumes that are somebody else's or stand for a directory of the host."""
    yield from _binds(case, container)
    for name in _volume_names(container):
        volume = case.facts.volume(name)
        if volume is not None and not _volume_fine(case, container, volume):
            yield Objection(f"the volume {name}, which is not known to be yours")


def _volume_fine(case: Case, container: Container, volume: Volume) -> bool:
    """A volume of the owner's, an anonymous one of before, or the gate's own for one of the owner's directories."""
    if is_plain(volume):
        owner = container.labels.get(UID_LABEL) or str(case.identity.uid)
        nobodys = UID_LABEL not in volume.labels and _ANONYMOUS.fullmatch(volume.name) is not None
        return nobodys or volume.labels.get(UID_LABEL, "") == owner
    device, mode, uid = volume.options.get("device", ""), volume.options.get("o", ""), container.labels.get(UID_LABEL, "")
    if not uid.isdigit() or INTERNAL_LABEL not in volume.labels:
        return False
    made = root_volume(int(uid), device, writable=mode == "rbind")
    return made.name == volume.name and dict(made.options) == dict(volume.options) and _is_root(case, int(uid), device)


def _is_root(case: Case, uid: int, device: str) -> bool:
    """Whether a directory is one of the owner's bind roots; for an admin, who acts for somebody else, whether it can be one at all."""
    there = case.facts.root(device)
    if there is None or there.real != device or not (there.nosuid and there.nodev):
        return False
    if uid == case.identity.uid:
        return any((root := case.facts.root(rule.path)) is not None and root.real == device for rule in case.limits.bind_roots)
    return not any(device == path or device.startswith(f"{path}/") for path in _NEVER_ROOTS)


def check_made_here(found: Mapping[str, Any]) -> None:
    """Nothing if a container as inspect shows it may be started by the gate itself, in nobody's name; else ``Refusal``."""
    labels, name = found["Config"].get("Labels") or {}, str(found["Name"]).lstrip("/")
    words = summary(found.get("HostConfig") or {}, found.get("Mounts") or (), labels)
    if words:
        raise _refusal("start", Container("", name, labels), [Objection(one) for one in words])


def summary(host: Mapping[str, Any], mounts: Sequence[Mapping[str, Any]], labels: Mapping[str, str]) -> list[str]:
    """What of a container would be refused, in words, for a report; volumes are left aside."""
    container = Container("", "", labels, host=host, mounts=tuple(mounts))
    found = [one.what for one in _settings(container)]
    found += [f"the bind mount {mount.get('Source')}" for mount in mounts if mount.get("Type") not in ("volume", "tmpfs", "image")]
    return found
