# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The Go types of a create body, from moby's api/types/container, mount and network (26.1 and 28.5): what dockerd looks for, not what the
gate knows."""

from __future__ import annotations

from tests.fuzz.go_json import FLAG, INT, TEXT, Int, Items, Map, Pointer, Struct, Type, Words

TEXTS, WORDS, TEXT_MAP, EMPTY = Items(TEXT), Words(), Map(TEXT), Struct()
_RATES = Items(Pointer(Struct(Path=TEXT, Rate=INT)))


def _all(kind: Type, names: str) -> dict[str, Type]:
    return dict.fromkeys(names.split(), kind)


_MOUNT = Struct(
    **_all(TEXT, "Type Source Target Consistency"),
    ReadOnly=FLAG,
    BindOptions=Pointer(
        Struct(Propagation=TEXT, **_all(FLAG, "NonRecursive CreateMountpoint ReadOnlyNonRecursive ReadOnlyForceRecursive"))
    ),
    VolumeOptions=Pointer(Struct(NoCopy=FLAG, Labels=TEXT_MAP, Subpath=TEXT, DriverConfig=Pointer(Struct(Name=TEXT, Options=TEXT_MAP)))),
    ImageOptions=Pointer(Struct(Subpath=TEXT)),
    TmpfsOptions=Pointer(Struct(SizeBytes=INT, Mode=Int(0, 2**32 - 1), Options=Items(TEXTS))),
    ClusterOptions=Pointer(EMPTY),
)
_RESOURCES: dict[str, Type] = {
    **_all(INT, "CpuShares Memory NanoCpus CpuPeriod CpuQuota CpuRealtimePeriod CpuRealtimeRuntime KernelMemory KernelMemoryTCP"),
    **_all(INT, "MemoryReservation MemorySwap CpuCount CpuPercent IOMaximumIOps IOMaximumBandwidth"),
    **_all(TEXT, "CgroupParent CpusetCpus CpusetMems"),
    **_all(_RATES, "BlkioDeviceReadBps BlkioDeviceWriteBps BlkioDeviceReadIOps BlkioDeviceWriteIOps"),
    "BlkioWeight": Int(0, 65535),
    "BlkioWeightDevice": Items(Pointer(Struct(Path=TEXT, Weight=Int(0, 65535)))),
    "Devices": Items(Struct(PathOnHost=TEXT, PathInContainer=TEXT, CgroupPermissions=TEXT)),
    "DeviceCgroupRules": TEXTS,
    "DeviceRequests": Items(Struct(Driver=TEXT, Count=INT, DeviceIDs=TEXTS, Capabilities=Items(TEXTS), Options=TEXT_MAP)),
    **_all(Pointer(INT), "MemorySwappiness PidsLimit"),
    "OomKillDisable": Pointer(FLAG),
    "Ulimits": Items(Pointer(Struct(Name=TEXT, Hard=INT, Soft=INT))),
}
_HOST: dict[str, Type] = {
    **_RESOURCES,
    **_all(TEXTS, "Binds VolumesFrom Dns DnsOptions DnsSearch ExtraHosts GroupAdd Links SecurityOpt MaskedPaths ReadonlyPaths"),
    **_all(TEXT, "ContainerIDFile NetworkMode VolumeDriver CgroupnsMode IpcMode Cgroup PidMode UTSMode UsernsMode Runtime Isolation"),
    **_all(FLAG, "AutoRemove Privileged PublishAllPorts ReadonlyRootfs"),
    **_all(TEXT_MAP, "Annotations StorageOpt Tmpfs Sysctls"),
    **_all(WORDS, "CapAdd CapDrop"),
    **_all(INT, "OomScoreAdj ShmSize"),
    "LogConfig": Struct(Type=TEXT, Config=TEXT_MAP),
    "PortBindings": Map(Items(Struct(HostIp=TEXT, HostPort=TEXT))),
    "RestartPolicy": Struct(Name=TEXT, MaximumRetryCount=INT),
    "ConsoleSize": Items(Int(0, 2**64 - 1)),
    "Mounts": Items(_MOUNT),
    "Init": Pointer(FLAG),
}
_CONFIG: dict[str, Type] = {
    **_all(TEXT, "Hostname Domainname User Image WorkingDir MacAddress StopSignal"),
    **_all(FLAG, "AttachStdin AttachStdout AttachStderr Tty OpenStdin StdinOnce ArgsEscaped NetworkDisabled"),
    **_all(Map(EMPTY), "ExposedPorts Volumes"),
    **_all(WORDS, "Cmd Entrypoint Shell"),
    **_all(TEXTS, "Env OnBuild"),
    "Healthcheck": Pointer(Struct(Test=TEXTS, **_all(INT, "Interval Timeout StartPeriod StartInterval Retries"))),
    "Labels": TEXT_MAP,
    "StopTimeout": Pointer(INT),
}
_ENDPOINT = Struct(
    IPAMConfig=Pointer(Struct(IPv4Address=TEXT, IPv6Address=TEXT, LinkLocalIPs=TEXTS)),
    **_all(TEXTS, "Links Aliases"),
    **_all(TEXT, "MacAddress NetworkID EndpointID Gateway IPAddress"),
    DriverOpts=TEXT_MAP,
    GwPriority=INT,
)
HOST_FIELDS = tuple(_HOST)
_INNER: dict[str, Type] = {
    "HostConfig": Pointer(Struct(**_HOST)),
    "NetworkingConfig": Pointer(Struct(EndpointsConfig=Map(Pointer(_ENDPOINT)))),
}
CREATE_28 = Struct(**_CONFIG, **_INNER)
"""container.CreateRequest."""
CREATE_26 = Struct(**{**_HOST, **_CONFIG, **_INNER, "Cpuset": TEXT})
"""runconfig.ContainerConfigWrapper: fields of HostConfig count at the top, too, where there is no HostConfig."""
