# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""A grammar of create bodies: fields with harmless and dangerous values, written as text in which keys and values are mutated.

The text is written here and not by a JSON library, because the mutations are what no library writes: the same key twice, folded or escaped
keys, numbers and strings of odd forms.
"""

from __future__ import annotations

import random
from typing import Any

OWN, FOREIGN, FOREIGN_ID = "mine", "bobs", "b" * 12 + "c" * 52
Pool = list[tuple[str, list[Any]]]

HARMLESS_HOST: Pool = [
    ("Memory", [0, 1 << 30, 1 << 50, -1]),
    ("MemorySwap", [0, -1, 1 << 40]),
    ("MemoryReservation", [0, 1 << 29, 1 << 45]),
    ("NanoCpus", [0, 10**9, 10**13, -5]),
    ("CpuQuota", [0, 50_000, -1]),
    ("CpuPeriod", [0, 100_000, 1]),
    ("CpuShares", [0, 512, 1 << 40]),
    ("PidsLimit", [None, 0, -1, 100, 1 << 40]),
    ("ShmSize", [0, 1 << 26, 1 << 45]),
    ("OomScoreAdj", [0, 500, -1000]),
    ("BlkioWeight", [0, 100, 9999]),
    ("Ulimits", [[], None, [{"Name": "nofile", "Soft": 1024, "Hard": 1 << 40}], [{"Name": "core", "Soft": -1, "Hard": -1}]]),
    ("Binds", [None, [], ["/home/alice/p:/w"], ["minevol:/v:ro"], ["/data/set:/d:ro", "/home/alice:/h"]]),
    ("Mounts", [[], [{"Type": "volume", "Source": "minevol", "Target": "/mv"}], [{"Type": "tmpfs", "Target": "/tt"}],
                [{"Type": "bind", "Source": "/scratch/alice/x", "Target": "/sx", "BindOptions": {"Propagation": "rprivate"}}],
                [{"Type": "volume", "Target": "/an", "VolumeOptions": {"Labels": {"ds01.user": "bob"}, "NoCopy": True}}]]),
    ("Tmpfs", [{}, None, {"/tmp1": "size=64m,noexec"}, {"/run1": ""}]),
    ("VolumesFrom", [None, [], ["mine"], ["mine:ro"]]),
    ("Links", [[], ["mine:db"]]),
    ("NetworkMode", ["", "default", "bridge", "none", "alicenet", "container:mine"]),
    ("IpcMode", ["", "private", "none", "container:mine"]),
    ("PidMode", ["", "container:mine"]),
    ("CgroupnsMode", ["", "private"]),
    ("UTSMode", [""]),
    ("UsernsMode", [""]),
    ("CgroupParent", ["", "/evil", "system.slice", "ds01-u5002-nogpu.slice"]),
    ("PortBindings", [{}, {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}]}, {"81/tcp": [{"HostPort": ""}]}, {"82/udp": None}]),
    ("PublishAllPorts", [False, True]),
    ("DeviceRequests", [None, [], [{"Driver": "", "Count": -1, "Capabilities": [["gpu"]]}], [{"Driver": "nvidia", "DeviceIDs": ["0"]}]]),
    ("CapAdd", [None, [], ["CHOWN"], "KILL"]),
    ("CapDrop", [None, ["ALL"], "MKNOD"]),
    ("SecurityOpt", [None, [], ["no-new-privileges"]]),
    ("GroupAdd", [None, ["students"]]),
    ("RestartPolicy", [{}, {"Name": "always"}, {"Name": "on-failure", "MaximumRetryCount": 3}, {"Name": ""}]),
    ("LogConfig", [{}, {"Type": "json-file", "Config": {"max-size": "-1"}}, {"Type": "", "Config": {}}, {"Type": "none"}]),
    ("Privileged", [False, None]),
    ("Devices", [None, []]),
    ("MaskedPaths", [None]),
    ("ReadonlyPaths", [None]),
    ("Annotations", [None, {}]),
    ("Runtime", [""]),
    ("AutoRemove", [True, False]),
    ("Init", [True, False, None]),
    ("ReadonlyRootfs", [True, False]),
    ("Dns", [[], ["192.0.2.53"]]),
    ("ExtraHosts", [["a:192.0.2.1"], None]),
    ("ConsoleSize", [[0, 0], [24, 80]]),
    ("ContainerIDFile", ["", "/tmp/cid"]),
    ("MemorySwappiness", [None, -1, 0]),
    ("OomKillDisable", [False, None]),
]  # fmt: skip
DANGEROUS_HOST: Pool = [
    ("Privileged", [True, 1, "true", [1]]),
    ("CapAdd", [["ALL"], "SYS_ADMIN", ["cap_sys_ptrace", "CHOWN"]]),
    ("Devices", [[{"PathOnHost": "/dev/sda", "PathInContainer": "/d", "CgroupPermissions": "rwm"}], [{}]]),
    ("DeviceCgroupRules", [["a *:* rwm"]]),
    ("Binds", [["/:/m"], ["/etc:/m"], ["/home/bob:/m"], ["bobvol:/m"], ["/home/alice/to-etc:/m"], ["/home/alice:/m:rshared"]]),
    ("Mounts", [[{"Type": "bind", "Source": "/etc", "Target": "/m"}], [{"Target": "/m"}], [{"Type": "BIND", "Source": "/", "Target": "/m"}],
                [{"Type": "volume", "Target": "/m", "VolumeOptions": {"DriverConfig": {"Options": {"o": "bind", "device": "/"}}}}],
                [{"Type": "volume", "Source": "bobvol", "Target": "/m"}]]),
    ("PidMode", ["host", "Host", "container:bobs", "ns:/proc/1/ns/pid"]),
    ("IpcMode", ["host", "container:" + FOREIGN_ID]),
    ("UTSMode", ["host"]),
    ("UsernsMode", ["host"]),
    ("CgroupnsMode", ["host"]),
    ("NetworkMode", ["host", "bobnet", "container:bobs", "ns:/x"]),
    ("VolumesFrom", [["bobs"], ["mine", FOREIGN_ID]]),
    ("Links", [["bobs:x"]]),
    ("SecurityOpt", [["seccomp=unconfined"], ["apparmor:unconfined"], ["label=disable"]]),
    ("MaskedPaths", [[], ["/proc/kcore"], False]),
    ("ReadonlyPaths", [[]]),
    ("Annotations", [{"org.systemd.property.Slice": "'system.slice'"}]),
    ("Sysctls", [{"kernel.core_pattern": "|/x"}]),
    ("StorageOpt", [{"size": "1T"}]),
    ("Runtime", ["nvidia", "runc"]),
    ("VolumeDriver", ["evil"]),
    ("LogConfig", [{"Type": "syslog", "Config": {"syslog-address": "unix:///run/x"}}]),
    ("GroupAdd", [["0"], ["docker"]]),
    ("DeviceRequests", [[{"Driver": "cdi", "DeviceIDs": ["ds01.infra/gpu=c0123456789ab"]}], [{"Driver": "evil", "Count": 1}]]),
    ("PortBindings", [{"22/tcp": [{"HostPort": "22"}]}, {"80/tcp": [{"HostIp": "192.0.2.1", "HostPort": "8080"}]}]),
    ("Tmpfs", [{"/t": "suid,dev"}]),
    ("CpusetCpus", ["0-3"]),
    ("OomKillDisable", [True]),
    ("CpuRealtimeRuntime", [95000]),
    ("Ulimits", [[{"Name": "rtprio", "Hard": 99}]]),
    ("BlkioDeviceReadBps", [[{"Path": "/dev/sda", "Rate": 1}]]),
    ("InitPath", ["/x"]),
]  # fmt: skip
CONFIG: Pool = [
    ("Cmd", [["sleep", "9"], "id", None, []]),
    ("Entrypoint", [None, [], ["sh", "-c"]]),
    ("Env", [["A=b"], None, ["NVIDIA_VISIBLE_DEVICES=all"], ["nvidia_visible_devices=0", "X=é"]]),
    ("Labels", [{}, {"a": "b"}, {"ds01.user": "bob"}, {"ds01.claim": "c0123456789ab"}, {"ds01.gpu": "1"}, {"aime.mlc.USER": "bob"}]),
    ("User", ["", "0", "1000:1000"]),
    ("Hostname", ["box", "", "h\u00f6st"]),
    ("WorkingDir", ["", "/w"]),
    ("Tty", [True, False]),
    ("OpenStdin", [True, False]),
    ("ExposedPorts", [{}, {"80/tcp": {}}, {"53/udp": {}, "8080": {}}]),
    ("Volumes", [{}, None, {"/vol1": {}}]),
    ("Healthcheck", [None, {"Test": ["CMD", "true"], "Interval": 10**9}]),
    ("StopTimeout", [None, 5, -1, 10**9]),
    ("StopSignal", ["", "SIGINT"]),
    ("OnBuild", [None, ["RUN id"]]),
    ("Shell", [["sh"], None]),
    ("NetworkDisabled", [False]),
    ("NetworkingConfig", [{}, None, {"EndpointsConfig": {}}, {"EndpointsConfig": {"alicenet": {"Aliases": ["db"]}}},
                          {"EndpointsConfig": {"alicenet": None}}]),
]  # fmt: skip
DANGEROUS_CONFIG: Pool = [
    *(pool for pool in DANGEROUS_HOST if pool[0] in ("Privileged", "Binds", "PidMode", "CapAdd", "Devices")),
    ("MacAddress", ["02:00:00:00:00:01"]),
    ("Labels", [{"DS01.user": "bob"}, {"ds01.protected": "1"}, {"ds01.us\u0117r": "x"}]),
    ("Volumes", [{"/etc:/m": {}}]),
    ("NetworkingConfig", [{"EndpointsConfig": {"bobnet": {}}}, {"EndpointsConfig": {"host": {}}}]),
    ("Image", ["bobmade", "../x", ""]),
]
_FOLDS = {"s": "\u017f", "S": "\u017f", "k": "\u212a", "K": "\u212a"}


class BodyWriter:
    """Writes one body. ``wild`` is how likely a mutation is that the gate has to refuse."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._wild = rng.choice((0.0, 0.0, 0.0, 0.01, 0.05))

    def body(self) -> str:
        """The text of a create body."""
        rng = self._rng
        host = self._fields(HARMLESS_HOST, rng.randrange(7))
        config = [("Image", rng.choice(("bbx", "pytorch", "labelled", "alice/x"))), *self._fields(CONFIG, rng.randrange(5))]
        if rng.random() < 0.25:
            host += self._fields(DANGEROUS_HOST, 1)
        if rng.random() < 0.08:
            config += self._fields(DANGEROUS_CONFIG, 1)
        members = [*config]
        if rng.random() < 0.95:
            members.append(("HostConfig", dict(host) if rng.random() < 0.97 else host))
        if rng.random() < 0.1:
            members.append((rng.choice(("Nonsense", "x", "HostUsers")), rng.choice((0, None, False, "", {}, []))))
        rng.shuffle(members)
        text = self._members(members, 0)
        return text if rng.random() < 0.995 else text + rng.choice((" ", "\n", "{}", "x", "\x00", "//"))

    def _fields(self, pool: Pool, count: int) -> list[tuple[str, Any]]:
        chosen = self._rng.sample(pool, min(count, len(pool)))
        return [(name, self._rng.choice(values)) for name, values in chosen]

    def _members(self, members: list[tuple[str, Any]], depth: int) -> str:
        written = []
        for key, value in members:
            written.append(f"{self._key(key, depth)}:{self._space()}{self._value(value, depth)}")
            if self._rng.random() < self._wild:
                written.append(f"{self._key(key, depth)}:{self._value(self._rng.choice((None, value, 0, {}, [])), depth)}")
        return "{" + f",{self._space()}".join(written) + "}"

    def _space(self) -> str:
        return self._rng.choice(("", "", "", " ", "\n", "\t "))

    def _key(self, key: str, depth: int) -> str:
        rng = self._rng
        roll = rng.random()
        if roll < 0.08 and depth < 2:
            key = rng.choice((key.lower(), key.upper(), key.swapcase()))
        elif roll < 0.12:
            at = rng.randrange(len(key)) if key else 0
            return '"' + _escaped(key[:at]) + (f"\\u{ord(key[at]):04x}" if key else "") + _escaped(key[at + 1 :]) + '"'
        elif rng.random() < self._wild and any(c in _FOLDS for c in key):
            at = rng.choice([i for i, c in enumerate(key) if c in _FOLDS])
            key = key[:at] + _FOLDS[key[at]] + key[at + 1 :]
        elif rng.random() < self._wild:
            key = rng.choice((key + " ", key + "\u0301", " " + key, key + ".x", "", key[:-1]))
        return '"' + _escaped(key) + '"'

    def _value(self, value: Any, depth: int) -> str:
        rng = self._rng
        if rng.random() < self._wild:
            value = rng.choice((None, True, 0, -1, "x", [value], {"x": value}, [], {}, "host"))
        if isinstance(value, dict):
            return self._members(list(value.items()), depth + 1)
        if isinstance(value, list):
            if value and isinstance(value[0], tuple):
                return self._members(value, depth + 1)
            return "[" + f",{self._space()}".join(self._value(item, depth + 1) for item in value) + "]"
        if isinstance(value, str):
            return self._text(value)
        if value is None or isinstance(value, bool):
            return {None: "null", True: "true", False: "false"}[value]
        return self._number(value)

    def _text(self, value: str) -> str:
        if self._rng.random() < self._wild:
            return self._rng.choice(
                ('"\\ud800"', '"\\u0000"', '"a\x01"', "'x'", '"' + value + "\\ud83d\\ude00" + '"', '"\ud800"', '"\\x41"')
            )
        if self._rng.random() < 0.03:
            return '"' + "".join(f"\\u{ord(c):04x}" for c in value if ord(c) < 0x10000) + '"'
        return '"' + _escaped(value) + '"'

    def _number(self, value: int) -> str:
        if self._rng.random() < self._wild:
            return self._rng.choice(
                (f"{value}.0", f"{value}e0", f"+{value}", f"0{value}", "1e400", "-0", "NaN", "9" * 30, f'"{value}"', "0x1")
            )
        return str(value)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
