# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The fields of POST /containers/create (API 1.41 to 1.51: 25 of Config, 70 of HostConfig), and what becomes of each.

Data only. ``Treatment.TAKE`` fields are copied or rewritten by ``create_rules``; all others never reach the daemon.
"""

from __future__ import annotations

from .body_fields import Field, Kind, Table, Treatment

DENY, DENY_SET, DROP = Treatment.DENY, Treatment.DENY_SET, Treatment.DROP
_GPU_HINT = "For a GPU say --gpus all (or gpus: in compose); it becomes the GPU that is allocated to the container."


def _deny(why: str, instead: str = "") -> Field:
    return Field(Kind.ANY, DENY, why=why, instead=instead)


TEXT, FLAG, INTEGER, TEXTS, WORDS = (Field(kind) for kind in (Kind.TEXT, Kind.FLAG, Kind.INTEGER, Kind.TEXTS, Kind.WORDS))
_KEPT_INTEGER = Field(Kind.INTEGER, keep_zero=True)
_KEPT_FLAG = Field(Kind.FLAG, keep_zero=True)
_KEPT_WORDS = Field(Kind.WORDS, keep_zero=True)
_DROPPED = Field(Kind.ANY, DROP)
_NO_IO_DEVICE = _deny("limits on single block devices of the host are set by policy")
_WINDOWS = _deny("it exists on Windows only")
_RUNTIME_CPU = _deny("real-time and pinned CPUs belong to the whole server", "Use --cpus.")

HEALTHCHECK = Table(
    {"Test": WORDS, "Interval": INTEGER, "Timeout": INTEGER, "StartPeriod": INTEGER, "StartInterval": INTEGER, "Retries": INTEGER}
)

BIND_OPTIONS = Table(
    {
        "Propagation": TEXT,
        "NonRecursive": _DROPPED,
        "CreateMountpoint": FLAG,
        "ReadOnlyNonRecursive": _DROPPED,
        "ReadOnlyForceRecursive": _deny("read-only is enforced by the gate"),
    }
)
DRIVER_CONFIG = Table(
    {
        "Name": TEXT,
        "Options": _deny(
            "options of the volume driver can mount any path or device of the host", "Use a bind mount below one of your directories."
        ),
    }
)
VOLUME_OPTIONS = Table(
    {"NoCopy": FLAG, "Labels": Field(Kind.TEXT_MAP), "Subpath": TEXT, "DriverConfig": Field(Kind.OBJECT, table=DRIVER_CONFIG)}
)
MOUNT = Table(
    {
        "Type": TEXT,
        "Source": TEXT,
        "Target": TEXT,
        "ReadOnly": FLAG,
        "Consistency": _DROPPED,
        "BindOptions": Field(Kind.OBJECT, table=BIND_OPTIONS),
        "VolumeOptions": Field(Kind.OBJECT, table=VOLUME_OPTIONS),
        "ImageOptions": Field(Kind.OBJECT, table=Table({"Subpath": TEXT})),
        "TmpfsOptions": Field(
            Kind.OBJECT,
            table=Table(
                {
                    "SizeBytes": INTEGER,
                    "Mode": INTEGER,
                    "Options": _deny("free options of tmpfs are not checked", "Use SizeBytes and Mode."),
                }
            ),
        ),
        "ClusterOptions": _deny("this server is no swarm"),
    }
)
DEVICE_REQUEST = Table(
    {
        "Driver": TEXT,
        "Count": INTEGER,
        "DeviceIDs": TEXTS,
        "Capabilities": Field(Kind.ANY),
        "Options": _deny("options of the GPU driver are set by the gate"),
    }
)
ENDPOINT = Table(
    {
        "IPAMConfig": Field(
            Kind.OBJECT,
            table=Table({"IPv4Address": TEXT, "IPv6Address": TEXT, "LinkLocalIPs": _deny("link-local addresses are the host's")}),
        ),
        "Links": TEXTS,
        "Aliases": TEXTS,
        "GwPriority": INTEGER,
        "MacAddress": _deny("a chosen MAC address can take another container's traffic"),
        "DriverOpts": _deny("options of the network driver reach into the host's network"),
        # What the daemon fills in; some clients send back what they read.
        **dict.fromkeys(
            (
                "NetworkID",
                "EndpointID",
                "Gateway",
                "IPAddress",
                "IPPrefixLen",
                "IPv6Gateway",
                "GlobalIPv6Address",
                "GlobalIPv6PrefixLen",
                "DNSNames",
            ),
            _DROPPED,
        ),
    }
)

HOST_CONFIG = Table(
    {
        # taken as they are, or checked, limited and rewritten by the rules
        "Binds": TEXTS,
        "Mounts": Field(Kind.OBJECTS, table=MOUNT),
        "Tmpfs": Field(Kind.TEXT_MAP),
        "VolumesFrom": TEXTS,
        "NetworkMode": TEXT,
        "PortBindings": Field(Kind.OBJECT_LIST_MAP, table=Table({"HostIp": TEXT, "HostPort": TEXT})),
        "PublishAllPorts": FLAG,
        "Links": TEXTS,
        "Dns": TEXTS,
        "DnsOptions": TEXTS,
        "DnsSearch": TEXTS,
        "ExtraHosts": TEXTS,
        "RestartPolicy": Field(Kind.OBJECT, table=Table({"Name": TEXT, "MaximumRetryCount": INTEGER})),
        "AutoRemove": FLAG,
        "ReadonlyRootfs": FLAG,
        "Init": _KEPT_FLAG,
        "CapAdd": WORDS,
        "CapDrop": WORDS,
        "GroupAdd": TEXTS,
        "SecurityOpt": TEXTS,
        "IpcMode": TEXT,
        "PidMode": TEXT,
        "UTSMode": TEXT,
        "UsernsMode": TEXT,
        "CgroupnsMode": TEXT,
        "Isolation": TEXT,
        "ConsoleSize": Field(Kind.INTEGERS),
        "LogConfig": Field(Kind.OBJECT, table=Table({"Type": TEXT, "Config": Field(Kind.TEXT_MAP)})),
        "Memory": INTEGER,
        "MemorySwap": INTEGER,
        "MemoryReservation": INTEGER,
        "MemorySwappiness": _KEPT_INTEGER,
        "NanoCpus": INTEGER,
        "CpuQuota": INTEGER,
        "CpuPeriod": INTEGER,
        "CpuShares": INTEGER,
        "PidsLimit": INTEGER,
        "ShmSize": INTEGER,
        "OomScoreAdj": INTEGER,
        "BlkioWeight": INTEGER,
        "Ulimits": Field(Kind.OBJECTS, table=Table({"Name": TEXT, "Soft": INTEGER, "Hard": INTEGER})),
        "DeviceRequests": Field(Kind.OBJECTS, table=DEVICE_REQUEST),
        "VolumeDriver": TEXT,
        # set by the gate whatever is asked
        "CgroupParent": _DROPPED,
        # the client's own business: where its CLI wrote the id
        "ContainerIDFile": _DROPPED,
        # refused
        "Privileged": _deny("a privileged container is root on the host", _GPU_HINT),
        "Devices": _deny("device files of the host are not handed out", _GPU_HINT),
        "DeviceCgroupRules": _deny("device rules give access to every disk and GPU of the host", _GPU_HINT),
        "Runtime": _deny("the runtime is chosen by the server", _GPU_HINT),
        "Annotations": _deny("annotations can move a container out of its slice"),
        "MaskedPaths": Field(Kind.ANY, DENY_SET, why="masked paths protect the host's /proc, and even an empty list unmasks them"),
        "ReadonlyPaths": Field(Kind.ANY, DENY_SET, why="read-only paths protect the host's /proc/sys, and even an empty list opens them"),
        "Cgroup": _deny("a container lives in its owner's slice"),
        "Sysctls": _deny("kernel settings are the server's"),
        "StorageOpt": _deny("storage options are the server's"),
        "KernelMemory": _deny("kernel memory limits do not exist with cgroup v2", "Use --memory."),
        "KernelMemoryTCP": _deny("kernel memory limits do not exist with cgroup v2", "Use --memory."),
        "CpuRealtimePeriod": _RUNTIME_CPU,
        "CpuRealtimeRuntime": _RUNTIME_CPU,
        "CpusetCpus": _RUNTIME_CPU,
        "CpusetMems": _RUNTIME_CPU,
        "OomKillDisable": _deny("a container that cannot be killed can stop the server", "Ask for more memory with --memory."),
        "BlkioWeightDevice": _NO_IO_DEVICE,
        "BlkioDeviceReadBps": _NO_IO_DEVICE,
        "BlkioDeviceWriteBps": _NO_IO_DEVICE,
        "BlkioDeviceReadIOps": _NO_IO_DEVICE,
        "BlkioDeviceWriteIOps": _NO_IO_DEVICE,
        "CpuCount": _WINDOWS,
        "CpuPercent": _WINDOWS,
        "IOMaximumIOps": _WINDOWS,
        "IOMaximumBandwidth": _WINDOWS,
    }
)

CREATE = Table(
    {
        "Hostname": TEXT,
        "Domainname": TEXT,
        "User": TEXT,
        "AttachStdin": FLAG,
        "AttachStdout": FLAG,
        "AttachStderr": FLAG,
        "ExposedPorts": Field(Kind.SET),
        "Tty": FLAG,
        "OpenStdin": FLAG,
        "StdinOnce": FLAG,
        "Env": TEXTS,
        "Cmd": _KEPT_WORDS,
        "Healthcheck": Field(Kind.OBJECT, table=HEALTHCHECK),
        "ArgsEscaped": FLAG,
        "Image": TEXT,
        "Volumes": Field(Kind.SET),
        "WorkingDir": TEXT,
        "Entrypoint": _KEPT_WORDS,
        "NetworkDisabled": FLAG,
        "MacAddress": _deny("a chosen MAC address can take another container's traffic"),
        "OnBuild": _DROPPED,
        "Labels": Field(Kind.TEXT_MAP),
        "StopSignal": TEXT,
        "StopTimeout": _KEPT_INTEGER,
        "Shell": WORDS,
        "HostConfig": Field(Kind.OBJECT, table=HOST_CONFIG),
        "NetworkingConfig": Field(Kind.OBJECT, table=Table({"EndpointsConfig": Field(Kind.OBJECT_MAP, table=ENDPOINT)})),
    }
)
