# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""What must hold of every container that a person gets, whatever was asked: read from the request that dockerd was sent or from inspect."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.fuzz.docker_types import HOST_FIELDS

Told = dict[str, Any]
_CAPABILITIES = frozenset(
    [
        *("AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "NET_RAW", "SETFCAP"),
        *("SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"),
    ]
)
_MUST_BE_EMPTY = (
    *("Privileged", "Devices", "DeviceCgroupRules", "Annotations", "Sysctls", "StorageOpt", "Cgroup", "UsernsMode", "UTSMode"),
    *("VolumeDriver", "CpusetCpus", "CpusetMems", "CpuRealtimePeriod", "CpuRealtimeRuntime", "OomKillDisable", "KernelMemory"),
    *("KernelMemoryTCP", "BlkioWeightDevice", "BlkioDeviceReadBps", "BlkioDeviceWriteBps", "BlkioDeviceReadIOps", "BlkioDeviceWriteIOps"),
    *("CpuCount", "CpuPercent", "IOMaximumIOps", "IOMaximumBandwidth", "CpuQuota", "PublishAllPorts", "Binds", "Isolation"),
)
_HIDDEN = {
    "MaskedPaths": frozenset(("/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/scsi", "/sys/firmware")),
    "ReadonlyPaths": frozenset(("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")),
}
_PROPAGATIONS = ("", "private", "rprivate")
_ULIMITS = ("nofile", "memlock", "stack", "nproc", "core")
_TMPFS = re.compile(r"(?:(?:rw|ro|exec|noexec|nosuid|nodev|noatime|size=[0-9]+[kmgKMG%]?|mode=[0-7]+|[ug]id=[0-9]+)(?:,|$))*")


@dataclass(frozen=True)
class Rights:
    """What one person may have. ``containers`` are full ids, ``volumes`` and ``networks`` names or ids of their own."""

    user: str
    uid: int
    memory: int
    nano_cpus: int
    pids: int
    shm: int
    groups: frozenset[str] = frozenset()
    containers: frozenset[str] = frozenset()
    volumes: frozenset[str] = frozenset()
    networks: frozenset[str] = frozenset(("default", "bridge", "none", ""))
    foreign: tuple[str, ...] = field(default=(), hash=False)


def broken(told: Told, rights: Rights) -> Iterator[str]:
    """Everything about the container that may not be, in words."""
    host = told.get("HostConfig")
    if host is None:
        host = {name: told[name] for name in HOST_FIELDS if name in told}
    yield from (f"{name} = {host[name]!r}" for name in _MUST_BE_EMPTY if host.get(name))
    if told.get("MacAddress"):
        yield f"MacAddress = {told['MacAddress']}"
    for check in (_privileges, _namespaces, _limits, _mounts, _ports, _devices, _labels, _networks):
        yield from check(told, host, rights)
    text = repr(told)
    yield from (f"{name} is somebody else's" for name in rights.foreign if name in text)


def _privileges(_told: Told, host: Told, rights: Rights) -> Iterator[str]:
    added = {str(name).upper().removeprefix("CAP_") for name in host.get("CapAdd") or ()}
    if added - _CAPABILITIES:
        yield f"CapAdd = {added}"
    if set(host.get("SecurityOpt") or ()) - {"no-new-privileges"}:
        yield f"SecurityOpt = {host['SecurityOpt']}"
    for name, must in _HIDDEN.items():
        if host.get(name) is not None and must - set(host[name]):
            yield f"{name} = {host[name]}"
    if host.get("Runtime", "") not in ("", "runc"):
        yield f"Runtime = {host['Runtime']}"
    if set(host.get("GroupAdd") or ()) - rights.groups:
        yield f"GroupAdd = {host['GroupAdd']}"
    if host.get("OomScoreAdj", 0) < 0:
        yield f"OomScoreAdj = {host['OomScoreAdj']}"
    if host.get("MemorySwappiness") not in (None, -1):
        yield f"MemorySwappiness = {host['MemorySwappiness']}"


def _namespaces(_told: Told, host: Told, rights: Rights) -> Iterator[str]:
    own = {f"container:{identity}" for identity in rights.containers}
    for name, free in (
        ("IpcMode", {"", "none", "private", "shareable"}),
        ("PidMode", {""}),
        ("CgroupnsMode", {"private"}),
        ("NetworkMode", set(rights.networks)),
    ):
        if host.get(name, "") not in (free if name == "CgroupnsMode" else free | own):
            yield f"{name} = {host[name]}"
    for name in ("VolumesFrom", "Links"):
        for item in host.get(name) or ():
            if item.partition(":")[0] not in rights.containers:
                yield f"{name} = {item}"


def _limits(_told: Told, host: Told, rights: Rights) -> Iterator[str]:
    memory = host.get("Memory", 0)
    if not 0 < memory <= rights.memory or host.get("MemorySwap") != memory:
        yield f"Memory = {memory}, MemorySwap = {host.get('MemorySwap')}"
    for name, most in (("NanoCpus", rights.nano_cpus), ("PidsLimit", rights.pids), ("ShmSize", rights.shm)):
        if not 0 < (host.get(name) or 0) <= most:
            yield f"{name} = {host.get(name)}"
    if not str(host.get("CgroupParent", "")).startswith(f"ds01-u{rights.uid}-"):
        yield f"CgroupParent = {host.get('CgroupParent')}"
    log = host.get("LogConfig") or {}
    bounds = {} if log.get("Type") == "none" else {"max-size": "10m", "max-file": "3"}
    if log.get("Type") not in ("json-file", "local", "none") or (log.get("Config") or {}) != bounds:
        yield f"LogConfig = {log}"
    for limit in host.get("Ulimits") or ():
        if limit.get("Name") not in _ULIMITS or not 0 <= limit.get("Hard", 0) <= max(rights.memory, 1 << 20):
            yield f"Ulimits = {limit}"


def _mounts(told: Told, host: Told, rights: Rights) -> Iterator[str]:
    for mount in host.get("Mounts") or ():
        kind, source, options = mount.get("Type"), mount.get("Source", ""), mount.get("VolumeOptions") or {}
        if kind not in ("volume", "tmpfs", "image"):
            yield f"mount of type {kind}: {mount}"
        if kind == "volume" and source and source not in rights.volumes and not source.startswith(f"ds01.root.{rights.uid}."):
            yield f"volume {source}"
        if kind == "volume" and not source and (options.get("Labels") or {}).get("ds01.user") != rights.user:
            yield f"anonymous volume without its owner: {mount}"
        if options.get("DriverConfig") or mount.get("ClusterOptions") or (mount.get("TmpfsOptions") or {}).get("Options"):
            yield f"options of a driver: {mount}"
        if (mount.get("BindOptions") or {}).get("Propagation", "") not in _PROPAGATIONS:
            yield f"propagation: {mount}"
        subpath = options.get("Subpath", "")
        if subpath.startswith("/") or ".." in subpath.split("/"):
            yield f"subpath {subpath}"
        yield from _target(str(mount.get("Target", "")))
    for target, options in (host.get("Tmpfs") or {}).items():
        yield from _target(target)
        if _TMPFS.fullmatch(options) is None:
            yield f"tmpfs {target} with {options}"
    for target in told.get("Volumes") or ():
        yield from _target(target)


def _target(target: str) -> Iterator[str]:
    if not target.startswith("/") or ":" in target or "nvidia-container-devices" in target:
        yield f"mount on {target}"


def _ports(_told: Told, host: Told, _rights: Rights) -> Iterator[str]:
    for port, bindings in (host.get("PortBindings") or {}).items():
        for binding in bindings or ():
            first = binding.get("HostPort", "").partition("-")[0]
            if binding.get("HostIp") not in ("127.0.0.1", "::1") or (first and int(first) < 1024):
                yield f"port {port} published as {binding}"


def _devices(told: Told, host: Told, rights: Rights) -> Iterator[str]:
    claim = (told.get("Labels") or {}).get("ds01.claim")
    requests = host.get("DeviceRequests") or []
    wanted = [{"Driver": "cdi", "DeviceIDs": [f"ds01.infra/gpu={claim}"]}] if claim else []
    if [{key: value for key, value in request.items() if value} for request in requests] != wanted:
        yield f"DeviceRequests = {requests} with claim {claim}"
    slice_name = f"ds01-u{rights.uid}-{claim or 'nogpu'}.slice"
    if host.get("CgroupParent") != slice_name:
        yield f"CgroupParent = {host.get('CgroupParent')}, expected {slice_name}"
    chosen = [entry for entry in told.get("Env") or () if entry.partition("=")[0].upper() == "NVIDIA_VISIBLE_DEVICES"]
    if chosen != ["NVIDIA_VISIBLE_DEVICES=void"]:
        yield f"Env = {chosen}"


def _labels(told: Told, _host: Told, rights: Rights) -> Iterator[str]:
    labels = told.get("Labels") or {}
    expected = {"ds01.user": rights.user, "ds01.uid": str(rights.uid)}
    if {key: labels.get(key) for key in expected} != expected:
        yield f"owner's labels {labels}"
    known = {*expected, "ds01.group", "ds01.kind", "ds01.created_at", "ds01.claim", "ds01.gpu.request", "ds01.gpu.wait"}
    strange = {key for key, value in labels.items() if key.lower().startswith("ds01.") and key not in known and value}
    if strange:
        yield f"labels {strange}"


def _networks(told: Told, _host: Told, rights: Rights) -> Iterator[str]:
    for name, endpoint in ((told.get("NetworkingConfig") or {}).get("EndpointsConfig") or {}).items():
        endpoint = endpoint or {}
        if name not in rights.networks:
            yield f"network {name}"
        if endpoint.get("MacAddress") or endpoint.get("DriverOpts") or (endpoint.get("IPAMConfig") or {}).get("LinkLocalIPs"):
            yield f"endpoint {endpoint}"
        if any(link.partition(":")[0] not in rights.containers for link in endpoint.get("Links") or ()):
            yield f"links {endpoint['Links']}"
