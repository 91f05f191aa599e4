# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The one table of what may stand in ``ds01_policy``: checker, JSON schema, reference and built-in values all come from it."""

from __future__ import annotations

from .policy_types import (
    Boolean,
    Choice,
    Duration,
    Field,
    GpuName,
    Integer,
    ListOf,
    MapOf,
    Moment,
    Number,
    Record,
    Regex,
    Share,
    Size,
    Text,
)

VERSION = 1
KINDS = ("docker", "compose", "devcontainer", "ds01", "api", "batch", "unknown")
EXEMPTABLE = ("bare_metal", "idle", "runtime")
DEFAULT_POOL = "interactive"

GROUP_NAME = Text("a group name: small letters, digits, - and _, first a letter, at most 32 characters", r"^[a-z][a-z0-9_-]{0,31}$")
USER_NAME = Text(
    "a user name as `id -un` prints it (no spaces, slashes, colons or control characters)",
    r"^[^\s/:,\x00-\x1f\x7f-]"
    r"[^\s/:,\x00-\x1f\x7f]{0,255}$",
)
LINUX_GROUP = Text(
    "a Linux group as `getent group` prints it (no slashes, colons, commas or control characters)", r"^(?! )[^/:,\x00-\x1f\x7f]{1,256}$"
)
POOL_NAME = Text("a pool name: small letters, digits and -, first a letter, at most 32 characters", r"^[a-z][a-z0-9-]{0,31}$")
PROFILE = Text(
    "a MIG profile as nvidia-smi mig -lgip names it, such as 1g.5gb, 3g.20gb or 1g.10gb+me",
    r"^[1-9]g\.[1-9][0-9]{0,3}gb(\+gfx|\+me(\.all)?|-me)?$",
)
CONTAINER_NAME = Text("a container name (letters, digits, _ . -; at least two characters)", r"^[a-zA-Z0-9][a-zA-Z0-9_.-]{1,254}$")
BIND_PATH = Text(
    "an absolute path without . or .. parts; {user}, {uid}, {group} and {home} are filled in",
    r"^(/(?!\.{1,2}(/|$))[^/\x00-\x1f:,]+|\{home\})(/(?!\.{1,2}(/|$))[^/\x00-\x1f:,]+)*$",
)
NAMESPACE = Text("an image namespace: small letters and digits, separated by one of . _ -", r"^[a-z0-9]+([._-][a-z0-9]+)*$")
REGISTRY = Text(
    "a registry host, such as docker.io, ghcr.io or registry.example.org:5000", r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{1,5})?$"
)
REASON = Text("a reason in words", r"^(?=.*\S)[^\x00-\x1f]{1,500}$")
MANY = 1_000_000

GPU = Record(
    {
        "equivalents": Field(Share(), "GPU-equivalents in total (a full GPU is 1)", 1, nullable=True),
        "devices_per_container": Field(Integer(0, 64), "devices (GPUs or MIG instances) in one container", 1),
        "full_gpu": Field(Boolean(), "whether a whole GPU may be asked for", False),
        "by_uuid": Field(Boolean(), "whether a particular device may be asked for by its UUID or index", False),
        "profiles": Field(ListOf(PROFILE), "the MIG profiles that are eligible", None, nullable=True, null_means="every profile"),
        "pools": Field(ListOf(POOL_NAME), "the pools whose devices are eligible", [DEFAULT_POOL]),
        "hours_per_week": Field(
            Number(0.01, MANY, "GPU-equivalent-hours"),
            "hours in seven days, near which the person is told",
            None,
            nullable=True,
        ),
    },
    "GPUs",
)

CONTAINER = Record(
    {
        "count": Field(Integer(0, 10_000), "containers at once, running or not", 3, nullable=True),
        "cpus": Field(Number(0.01, 4096, "CPUs"), "CPUs of one container", 8),
        "memory": Field(Size(), "memory of one container", "32G"),
        "shm": Field(Size(), "/dev/shm of one container", "8G"),
        "pids": Field(Integer(16, 4_194_304), "processes and threads of one container", 4096),
        "disk": Field(Size(), "writable layer of one container, where Docker's filesystem has quotas", None, nullable=True),
        "volume": Field(Size(), "one volume that is made, where Docker's filesystem has quotas", None, nullable=True),
    },
    "One container (upper bound, and what a container gets that asks for nothing)",
)

AGGREGATE = Record(
    {
        "cpus": Field(Number(0.01, 4096, "CPUs"), "CPUs of all containers of the person together", 16, nullable=True),
        "memory_high": Field(Size(), "memory above which the kernel slows the person's containers down and reclaims", "60G", nullable=True),
        "memory_max": Field(Size(), "memory above which the kernel kills in the person's containers", "64G", nullable=True),
        "tasks": Field(Integer(16, 4_194_304), "processes and threads of all containers together", 8192, nullable=True),
        "io_weight": Field(Integer(1, 10_000), "share of disk time when the disk is busy (100 is usual)", 100),
        "io_read_bps": Field(Size(), "bytes a second read from each disk", None, nullable=True),
        "io_write_bps": Field(Size(), "bytes a second written to each disk", None, nullable=True),
        "disk": Field(Size(), "disk space, where the filesystem has quotas", None, nullable=True),
        "volumes": Field(Integer(0, 100_000), "volumes of the person, named and anonymous", 100, nullable=True),
        "images": Field(Size(), "disk space of the images that the person makes, above which no more are made", "200G", nullable=True),
    },
    "All containers of a person together (their slice)",
)

LIFECYCLE = Record(
    {
        "idle": Field(Duration(), "how long a container may be idle before it is stopped", "30m", nullable=True, null_means="never"),
        "runtime": Field(Duration(), "how long a container may run", "24h", nullable=True, null_means="for ever"),
        "runtime_counts": Field(
            Choice(("life", "start")), "whether the runtime is counted over the container's life, or anew from each start", "life"
        ),
        "idle_halves_at": Field(
            Integer(1, 10_000),
            "people waiting for GPUs from which on `idle` is half as long for containers that hold one",
            None,
            nullable=True,
            null_means="never",
        ),
        "unknown_use": Field(
            Choice(("wait", "idle", "active")),
            "when a signal is not known and no other is active: the idle clock stands still, the other signals decide, or it is active",
            "wait",
        ),
        "gpu_hold": Field(Duration(), "how long a stopped container keeps its GPU", "15m"),
        "container_hold": Field(Duration(), "how long a stopped container is kept", None, nullable=True, null_means="for ever"),
        "created_hold": Field(
            Duration(), "how long a container is kept that was never started", "30m", nullable=True, null_means="for ever"
        ),
        "stop_grace": Field(Duration(), "time between the request to stop and the kill", "60s"),
        "start_grace": Field(Duration(), "time after the start in which a container is never idle", "30m"),
        "idle_window": Field(Duration(), "span over which use is averaged before it is called idle", "15m"),
        "idle_cpu_percent": Field(Number(0, 100, "percent of one CPU"), "CPU use below which a container is idle", 2.0),
        "idle_gpu_percent": Field(Number(0, 100, "percent"), "GPU use below which a container is idle", 5.0),
        "idle_network_bps": Field(Size(), "bytes a second received below which a container is idle", "10K"),
        "keep_alive": Field(
            Duration(), "how long a request to be kept alive holds the idle stop off", "24h", nullable=True, null_means="for ever"
        ),
    },
    "Lifecycle",
)

LIMITS = Record(
    {
        "gpu": Field(GPU, "GPUs"),
        "container": Field(CONTAINER, "one container"),
        "aggregate": Field(AGGREGATE, "all containers of a person together"),
        "lifecycle": Field(LIFECYCLE, "idle, runtime and hold times"),
    },
    "Limits",
)

GROUP = Record(
    {
        "priority": Field(Integer(0, 1000), "rank in the queue and in the choice of device; higher goes first", 0),
        "admin": Field(Boolean(), "whether members administer the platform (see and touch everybody's containers)", False),
        "members": Field(ListOf(USER_NAME), "people by name", []),
        "linux_groups": Field(ListOf(LINUX_GROUP), "Linux, LDAP or AD groups whose members belong to this group", []),
        "match": Field(ListOf(Regex()), "rules on the name: regular expressions that must match the whole of it", []),
        "limits": Field(LIMITS, "what differs from the defaults"),
    },
    "A group",
)

USER = Record(
    {
        "group": Field(
            GROUP_NAME, "the person's group; beats membership and rules", None, nullable=True, null_means="by membership and rules"
        ),
        "limits": Field(LIMITS, "what differs from the group"),
    },
    "A user",
)

EXEMPTION = Record(
    {
        "user": Field(USER_NAME, "whom it is for", None),
        "group": Field(GROUP_NAME, "or for which group", None),
        "container": Field(CONTAINER_NAME, "only this container of that user, by the name its owner gave it", None),
        "from": Field(ListOf(Choice(EXEMPTABLE)), "from which rules", required=True),
        "reason": Field(REASON, "why", required=True),
        "granted_by": Field(REASON, "who decided", required=True),
        "expires": Field(Moment(), "when it ends", required=True, nullable=True, null_means="never"),
    },
    "An exemption",
)

NOTIFICATIONS = Record(
    {
        "quota_percent": Field(Integer(1, 100), "use of any quota, in percent, at which the person is told", 80),
        "idle_warning": Field(Duration(), "how long before an idle stop the person is warned", "15m"),
        "runtime_warning": Field(Duration(), "how long before the end of the runtime the person is warned", "30m"),
        "channels": Field(
            ListOf(Choice(("terminal", "container", "mail"))),
            "where: their terminals, a file in the container, mail",
            ["terminal", "container"],
        ),
    },
    "Notifications",
)

BIND_ROOT = Record(
    {
        "path": Field(BIND_PATH, "directory below which bind mounts are allowed", required=True),
        "mode": Field(Choice(("rw", "ro")), "read-write, or forced read-only", "rw"),
        "groups": Field(ListOf(GROUP_NAME), "only for these groups", None, nullable=True, null_means="for everybody"),
    },
    "A bind root",
)

POOL = Record({"gpus": Field(ListOf(GpuName()), "the GPUs of the pool, by index or UUID", required=True)}, "A pool")

MODES = ("enforce", "observe")
OBSERVABLE = {
    "containers": "how many containers one person may run",
    "gpus": "a person's GPU-equivalents",
    "images": "the registries from which images may be pulled, and the disk space of a person's own",
    "builds": "how many builds one person may run at once",
    "networks": "how many networks one person may have",
    "volumes": "how many volumes one person may have",
}

GATE_MODES = Record(
    {
        name: Field(Choice(MODES), f"the same for {what} alone", None, nullable=True, null_means="as `gate.mode` says")
        for name, what in OBSERVABLE.items()
    },
    "Modes of the gate by group of rules",
)

GATE = Record(
    {
        "mode": Field(Choice(MODES), "refuse, or only log what would be refused by a quota", "enforce"),
        "modes": Field(GATE_MODES, "the mode of single groups of rules"),
        "connections": Field(Integer(1, 10_000), "open connections of one person", 128),
        "creates_per_minute": Field(Integer(1, MANY), "containers that one person may create in a minute", 30),
        "builds": Field(Integer(0, 1000), "image builds of one person at once", 2),
        "queue_hold": Field(Duration(), "how long a device is kept for the person whose turn in the queue it is", "10m"),
    },
    "The gate",
)

NETWORK = Record(
    {
        "default": Field(
            Choice(("per-user", "bridge", "none")),
            "network of a container that asks for none: the person's own, Docker's bridge, or none",
            "per-user",
        )
    },
    "Network",
)

IMAGES = Record(
    {
        "shared_namespaces": Field(ListOf(NAMESPACE), "image namespaces that everybody may use and only admins write", []),
        "registries": Field(ListOf(REGISTRY), "registries from which images may be pulled", None, nullable=True, null_means="any"),
    },
    "Images",
)

ENERGY = Record(
    {
        "grid_gco2e_per_kwh": Field(Number(0, 2000, "g CO2e per kWh"), "carbon intensity of the grid", 380.95),
        "pue": Field(Number(1, 5), "power usage effectiveness of the room: all power over the servers' power", 1.5),
    },
    "Energy",
)

KIND = Record(
    {"lifecycle": Field(LIFECYCLE, "what differs for containers of this kind; beats the user's own values")}, "A kind of container"
)

POLICY = Record(
    {
        "version": Field(Integer(VERSION, VERSION), "version of this shape", required=True),
        "default_group": Field(GROUP_NAME, "group of everybody whom nothing else puts into one", required=True),
        "defaults": Field(LIMITS, "limits of everybody, where nothing says otherwise"),
        "groups": Field(MapOf("group", GROUP_NAME, GROUP), "the groups, in the order in which rules are tried", required=True),
        "users": Field(MapOf("user", USER_NAME, USER), "single people", {}),
        "kinds": Field(
            Record({kind: Field(KIND, f"containers of kind {kind}") for kind in KINDS}, "Kinds of container"), "kinds of container"
        ),
        "exemptions": Field(ListOf(EXEMPTION), "who is let off which rule, why, and until when", []),
        "notifications": Field(NOTIFICATIONS, "when people are told"),
        "bind_roots": Field(ListOf(BIND_ROOT), "what may be bind mounted", [{"path": "{home}", "mode": "rw"}]),
        "pools": Field(MapOf("pool", POOL_NAME, POOL), "which GPUs are for what; a GPU in no pool is interactive", {}),
        "gate": Field(GATE, "the gate in front of Docker"),
        "network": Field(NETWORK, "networks of containers"),
        "images": Field(IMAGES, "images"),
        "energy": Field(ENERGY, "figures for energy and carbon"),
    },
    "Policy",
)
