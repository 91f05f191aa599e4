# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Attacks that are not refused but come to nothing: (what, create body without Image, what the rebuilt body must say at each path).

``ABSENT`` stands for a field that must not be in the body at all.
"""

from __future__ import annotations

from typing import Any

from tests.unit.gate.gate_world import GIB, NEW_CLAIM, OWN_ID

ABSENT: Any = object()
OWN_SLICE = "ds01-u5001-nogpu.slice"
CLAIM_SLICE = f"ds01-u5001-{NEW_CLAIM}.slice"
LOG = {"max-size": "10m", "max-file": "3"}
VOID = "NVIDIA_VISIBLE_DEVICES=void"
LOCAL = [{"HostIp": "127.0.0.1", "HostPort": ""}]

Rebuilt = tuple[str, dict[str, Any], dict[str, Any]]


def host(**fields: Any) -> dict[str, Any]:
    """A body with that HostConfig."""
    return {"HostConfig": fields}


LIMITS_OF_HOST: list[Rebuilt] = [
    ("another's slice as parent", host(CgroupParent="ds01-u5002-nogpu.slice"), {"HostConfig.CgroupParent": OWN_SLICE}),
    ("a slice below the own one", host(CgroupParent="ds01-u5001-x.slice"), {"HostConfig.CgroupParent": OWN_SLICE}),
    ("the root as parent", host(CgroupParent="-.slice"), {"HostConfig.CgroupParent": OWN_SLICE}),
    ("parent in odd case", host(cgroupparent="/evil"), {"HostConfig.CgroupParent": OWN_SLICE, "HostConfig.cgroupparent": ABSENT}),
    ("parent that is no text", host(CgroupParent=["/x"]), {"HostConfig.CgroupParent": OWN_SLICE}),
    ("memory of -1", host(Memory=-1), {"HostConfig.Memory": 32 * GIB, "HostConfig.MemorySwap": 32 * GIB}),
    ("memory of 2^63-1", host(Memory=2**63 - 1, MemorySwap=2**63 - 1), {"HostConfig.Memory": 32 * GIB, "HostConfig.MemorySwap": 32 * GIB}),
    ("swap beside little memory", host(Memory=GIB, MemorySwap=50 * GIB), {"HostConfig.Memory": GIB, "HostConfig.MemorySwap": GIB}),
    ("reservation beyond the memory", host(Memory=GIB, MemoryReservation=9 * GIB), {"HostConfig.MemoryReservation": GIB}),
    ("negative reservation", host(MemoryReservation=-5), {"HostConfig.MemoryReservation": ABSENT}),
    ("CPUs by quota", host(CpuQuota=10**12, CpuPeriod=1000), {"HostConfig.NanoCpus": 8 * 10**9, "HostConfig.CpuQuota": ABSENT}),
    ("CPUs by a negative quota", host(CpuQuota=-1), {"HostConfig.NanoCpus": 8 * 10**9, "HostConfig.CpuPeriod": ABSENT}),
    ("CPUs by a period of nothing", host(CpuQuota=800_000, CpuPeriod=1), {"HostConfig.NanoCpus": 8 * 10**9}),
    ("negative CPUs", host(NanoCpus=-(2**63)), {"HostConfig.NanoCpus": 8 * 10**9}),
    ("shares without end", host(CpuShares=2**62), {"HostConfig.CpuShares": 262144}),
    ("weight without end", host(BlkioWeight=65535), {"HostConfig.BlkioWeight": 1000}),
    ("pids of 2^62", host(PidsLimit=2**62), {"HostConfig.PidsLimit": 2048}),
    ("shared memory of -1", host(ShmSize=-1), {"HostConfig.ShmSize": 8 * GIB}),
    ("saved from the OOM killer", host(OomScoreAdj=-999), {"HostConfig.OomScoreAdj": ABSENT}),
    ("OOM score beyond", host(OomScoreAdj=5000), {"HostConfig.OomScoreAdj": 1000}),
    (
        "core dumps",
        host(Ulimits=[{"Name": "core", "Soft": -1, "Hard": -1}]),
        {"HostConfig.Ulimits": [{"Name": "core", "Soft": 0, "Hard": 0}]},
    ),
    (
        "processes by ulimit",
        host(Ulimits=[{"Name": "nproc", "Soft": 10**9, "Hard": -1}]),
        {"HostConfig.Ulimits": [{"Name": "nproc", "Soft": 2048, "Hard": 2048}]},
    ),
    (
        "soft above hard",
        host(Ulimits=[{"Name": "nofile", "Soft": 10**9, "Hard": 10}]),
        {"HostConfig.Ulimits": [{"Name": "nofile", "Soft": 10, "Hard": 10}]},
    ),
    (
        "log into another file",
        host(LogConfig={"Type": "json-file", "Config": {"labels": "x", "path": "/etc/x", "max-file": "1000000"}}),
        {"HostConfig.LogConfig": {"Type": "json-file", "Config": LOG}},
    ),
    (
        "log that is not rotated",
        host(LogConfig={"Type": "local", "Config": {"max-size": "-1", "compress": "false"}}),
        {"HostConfig.LogConfig": {"Type": "local", "Config": LOG}},
    ),
    ("log that blocks", host(LogConfig={"Config": {"mode": "blocking"}}), {"HostConfig.LogConfig": {"Type": "json-file", "Config": LOG}}),
    ("stop that never comes", {"StopTimeout": 2**40}, {"StopTimeout": 3600}),
    ("stop of minus one", {"StopTimeout": -1}, {"StopTimeout": 0}),
]

NAMESPACES: list[Rebuilt] = [
    ("published on all addresses", host(PortBindings={"80/tcp": [{"HostIp": "::", "HostPort": "8080"}]}),
     {"HostConfig.PortBindings": {"80/tcp": [{"HostIp": "::1", "HostPort": "8080"}]}}),
    ("published by a name", host(PortBindings={"80/tcp": [{"HostIp": "localhost", "HostPort": "0"}]}),
     {"HostConfig.PortBindings": {"80/tcp": LOCAL}}),
    ("all ports at once", {"ExposedPorts": {"80/tcp": {}, "53/udp": {}}, **host(PublishAllPorts=True)},
     {"HostConfig.PublishAllPorts": ABSENT, "HostConfig.PortBindings": {"80/tcp": LOCAL, "53/udp": LOCAL}}),
    ("all ports, one without a protocol", {"ExposedPorts": {"81": {}}, **host(publishallports=True)},
     {"HostConfig.PublishAllPorts": ABSENT, "HostConfig.PortBindings": {"81/tcp": LOCAL}}),
    ("all ports and one of them chosen",
     {"ExposedPorts": {"80/tcp": {}, "81/tcp": {}}, **host(PublishAllPorts=True, PortBindings={"80/tcp": [{"HostPort": "8080"}]})},
     {"HostConfig.PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}], "81/tcp": LOCAL}}),
    ("own container by name", host(PidMode="container:mine"), {"HostConfig.PidMode": f"container:{OWN_ID}"}),
    ("own container by prefix", host(IpcMode="container:aaaa"), {"HostConfig.IpcMode": f"container:{OWN_ID}"}),
    ("own network of a container", host(NetworkMode="container:mine"), {"HostConfig.NetworkMode": f"container:{OWN_ID}"}),
    ("volumes of an own container", host(VolumesFrom=["mine:ro"]), {"HostConfig.VolumesFrom": [f"{OWN_ID}:ro"]}),
    ("link to an own container", host(Links=["mine:db"]), {"HostConfig.Links": [f"{OWN_ID}:db"]}),
    ("an own group by name", host(GroupAdd=["students"]), {"HostConfig.GroupAdd": ["6000"]}),
    ("capabilities that all have", host(CapAdd=["cap_chown", "Kill"]), {"HostConfig.CapAdd": ["CHOWN", "KILL"]}),
    ("file where the id was written", host(ContainerIDFile="/etc/cron.d/x"), {"HostConfig.ContainerIDFile": ABSENT}),
    ("default isolation", host(Isolation="default"), {"HostConfig.Isolation": ABSENT}),
    ("paths masked as usual", host(MaskedPaths=None, ReadonlyPaths=None),
     {"HostConfig.MaskedPaths": ABSENT, "HostConfig.ReadonlyPaths": ABSENT}),
    ("zero values of what is denied", host(Privileged=False, Devices=[], Sysctls={}, Runtime="", CpusetCpus="", OomKillDisable=False),
     {"HostConfig.Privileged": ABSENT, "HostConfig.Devices": ABSENT, "HostConfig.Runtime": ABSENT, "HostConfig.OomKillDisable": ABSENT}),
    ("zero values of what is unknown", {"HostConfig": {"Nonsense": 0, "x": {}}, "Extra": []},
     {"Extra": ABSENT, "HostConfig.Nonsense": ABSENT}),
    ("triggers of an image", {"OnBuild": ["RUN id"]}, {"OnBuild": ABSENT}),
    ("no new privileges", host(SecurityOpt=["no-new-privileges:true"]), {"HostConfig.SecurityOpt": ["no-new-privileges"]}),
]  # fmt: skip

MOUNTS: list[Rebuilt] = [
    ("bind of the home", host(Binds=["/home/alice:/m"]), {"HostConfig.Binds": ABSENT, "HostConfig.Mounts.0.Type": "volume"}),
    ("bind by many slashes", host(Binds=["////home//alice//p:/m"]),
     {"HostConfig.Mounts.0.VolumeOptions": {"NoCopy": True, "Subpath": "p"}}),
    ("bind by a link into another root", host(Binds=["/home/alice/to-scratch:/m"]),
     {"HostConfig.Mounts.0.VolumeOptions": {"NoCopy": True, "Subpath": "deep"}}),
    ("bind of a file", host(Binds=["/home/alice/file:/m:ro"]),
     {"HostConfig.Mounts.0.ReadOnly": True, "HostConfig.Mounts.0.Type": "volume"}),
    ("mount of type bind", host(Mounts=[{"Type": "bind", "Source": "/home/alice/p", "Target": "/m"}]),
     {"HostConfig.Mounts.0.Type": "volume", "HostConfig.Mounts.0.BindOptions": ABSENT}),
    ("recursion asked for", host(Mounts=[{"Type": "bind", "Source": "/home/alice", "Target": "/m", "BindOptions": {"NonRecursive": True}}]),
     {"HostConfig.Mounts.0.BindOptions": ABSENT}),
    ("read-only data asked to be written", host(Mounts=[{"Type": "bind", "Source": "/data/x", "Target": "/m", "ReadOnly": False}]),
     {"HostConfig.Mounts.0.ReadOnly": True}),
    ("target by dots", host(Binds=["minevol:/a/../b"]), {"HostConfig.Mounts.0.Target": "/b"}),
    ("anonymous volume with forged labels",
     host(Mounts=[{"Type": "volume", "Target": "/m", "VolumeOptions": {"Labels": {"ds01.user": "bob", "DS01.uid": "0", "a": "1"}}}]),
     {"HostConfig.Mounts.0.VolumeOptions.Labels": {"a": "1", "ds01.user": "alice", "ds01.uid": "5001"}}),
    ("anonymous volume of the config", {"Volumes": {"/v": {}}},
     {"Volumes": ABSENT, "HostConfig.Mounts.0.VolumeOptions.Labels": {"ds01.user": "alice", "ds01.uid": "5001"}}),
    ("tmpfs of all memory", host(Mounts=[{"Type": "tmpfs", "Target": "/t", "TmpfsOptions": {"SizeBytes": 2**50}}]),
     {"HostConfig.Memory": 32 * GIB, "HostConfig.Mounts.0.Type": "tmpfs"}),
]  # fmt: skip

LABELS_AND_ENV: list[Rebuilt] = [
    ("owner by label", {"Labels": {"ds01.user": "bob", "ds01.uid": "5002"}}, {"Labels.ds01\0user": "alice", "Labels.ds01\0uid": "5001"}),
    ("group by label", {"Labels": {"ds01.group": "admins"}}, {"Labels.ds01\0group": "student"}),
    ("claim by label", {"Labels": {"ds01.claim": "c0123456789ab", "ds01.gpu.request": "all"}},
     {"Labels.ds01\0claim": ABSENT, "Labels.ds01\0gpu\0request": ABSENT, "HostConfig.DeviceRequests": ABSENT,
     "HostConfig.CgroupParent": OWN_SLICE}),
    ("old platform's owner", {"Labels": {"aime.mlc.USER": "bob", "aime.mlc": "x._.5002"}},
     {"Labels.ds01\0user": "alice", "Labels.aime\0mlc\0USER": "bob"}),
    ("creation in the past", {"Labels": {"ds01.created_at": "1970-01-01T00:00:00Z"}}, {"Labels.ds01\0created_at": "2026-01-02T03:04:05Z"}),
    ("kind by label", {"Labels": {"ds01.kind": "admin"}}, {"Labels.ds01\0kind": "docker"}),
    ("GPU by environment, last wins", {"Env": ["NVIDIA_VISIBLE_DEVICES=all", "NVIDIA_VISIBLE_DEVICES=none"]},
     {"Env": [VOID], "HostConfig.DeviceRequests": ABSENT}),
    ("GPU by environment in odd case", {"Env": ["Nvidia_Visible_Devices=all"]}, {"Env": [VOID], "HostConfig.DeviceRequests": ABSENT}),
    ("MIG by environment", {"Env": ["NVIDIA_MIG_CONFIG_DEVICES=all", "NVIDIA_MIG_MONITOR_DEVICES=all", "A=b"]}, {"Env": ["A=b", VOID]}),
    ("direct storage by environment", {"Env": ["NVIDIA_GDS=enabled", "NVIDIA_MOFED=enabled", "NVIDIA_IMEX_CHANNELS=0"]}, {"Env": [VOID]}),
    ("environment taken back", {"Env": ["NVIDIA_VISIBLE_DEVICES"]}, {"Env": [VOID]}),
    ("GPU with its index", {**host(DeviceRequests=[{"Driver": "nvidia", "DeviceIDs": ["7"]}])},
     {"HostConfig.DeviceRequests": [{"Driver": "cdi", "DeviceIDs": [f"ds01.infra/gpu={NEW_CLAIM}"]}],
     "HostConfig.CgroupParent": CLAIM_SLICE}),
    ("GPU by the runtime's CDI name", {**host(DeviceRequests=[{"Driver": "cdi", "DeviceIDs": ["runtime.nvidia.com/gpu=all"]}])},
     {"HostConfig.DeviceRequests": [{"Driver": "cdi", "DeviceIDs": [f"ds01.infra/gpu={NEW_CLAIM}"]}]}),
    ("GPU asked for by all ways",
     {"Labels": {"ds01.gpu": "1"}, "Env": ["NVIDIA_VISIBLE_DEVICES=all"], **host(DeviceRequests=[{"Driver": "nvidia", "Count": -1}])},
     {"Labels.ds01\0gpu\0request": "count=1", "Labels.ds01\0gpu": ABSENT, "Env": [VOID]}),
]  # fmt: skip
