# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""CPU, memory, pids and other bounds of one container: what is not asked gets the limit, what is above it is lowered to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..limits import ContainerLimits
from ..refusal import Refusal

_BILLION = 1_000_000_000
_DEFAULT_PERIOD = 100_000
_MIN_PERIOD, _MAX_PERIOD = 1_000, 1_000_000
_CPU_SHARES = range(2, 262_145)
_BLKIO_WEIGHT = range(10, 1_001)
_NOFILE = 1_048_576
_LOG_DRIVERS = frozenset(("", "json-file", "local", "none"))
_LOG_SIZE = {"max-size": "10m", "max-file": "3"}
_LEAST_LAYER = 1 << 20  # dockerd takes a size of 0 for none
_RESTARTS = frozenset(("", "no", "always", "unless-stopped", "on-failure"))


def container_resources(asked: Mapping[str, Any], limits: ContainerLimits, host_cpus: int) -> dict[str, Any]:
    """The resource fields of HostConfig at create: every bound set."""
    memory = _lower(asked.get("Memory", 0), limits.memory)
    fields: dict[str, Any] = {
        "Memory": memory,
        "MemorySwap": memory,
        "NanoCpus": _nano_cpus(asked, limits, host_cpus) or _cpu_limit(limits, host_cpus),
        "PidsLimit": _lower(asked.get("PidsLimit", 0), limits.pids),
        "ShmSize": _lower(asked.get("ShmSize", 0), limits.shm),
    }
    if asked.get("MemoryReservation", 0) > 0:
        fields["MemoryReservation"] = min(asked["MemoryReservation"], memory)
    if asked.get("OomScoreAdj", 0) > 0:
        fields["OomScoreAdj"] = min(asked["OomScoreAdj"], 1000)
    fields.update(_weights(asked))
    if asked.get("MemorySwappiness", -1) not in (-1, 0):
        raise Refusal(
            "HostConfig.MemorySwappiness is refused", "containers have no swap on this server", "Leave it out.", rule="swappiness"
        )
    if "Ulimits" in asked:
        fields["Ulimits"] = [_ulimit(item, memory, limits.pids) for item in asked["Ulimits"]]
    return fields


def layer_size(limits: ContainerLimits, can: bool) -> dict[str, Any]:
    """The bound of the writable layer; nothing where the policy has none, or dockerd would refuse the container for it."""
    return {"StorageOpt": {"size": str(max(limits.disk, _LEAST_LAYER))}} if can and limits.disk is not None else {}


def updated_resources(asked: Mapping[str, Any], limits: ContainerLimits, host_cpus: int) -> dict[str, Any]:
    """The resource fields of an update: what is not named stays, what is named stays within the limits. ``PidsLimit`` may be 0 or -1."""
    fields: dict[str, Any] = _weights(asked)
    if asked.get("Memory", 0) != 0 or asked.get("MemorySwap", 0) != 0:
        fields["Memory"] = _lower(asked.get("Memory", 0), limits.memory)
        fields["MemorySwap"] = fields["Memory"]
    if asked.get("MemoryReservation", 0) > 0:
        fields["MemoryReservation"] = min(asked["MemoryReservation"], limits.memory)
    nano = _nano_cpus(asked, limits, host_cpus)
    if nano:
        fields["NanoCpus"] = nano
    if asked.get("PidsLimit") is not None:
        fields["PidsLimit"] = _lower(asked["PidsLimit"], limits.pids)
    return fields


def log_config(asked: Mapping[str, Any]) -> dict[str, Any]:
    """The log driver: a file of bounded size, or none."""
    driver = asked.get("Type", "")
    if driver not in _LOG_DRIVERS:
        raise Refusal(
            f"log driver {driver!r} is refused",
            "the daemon would open sockets and addresses for it as root",
            "Use json-file, local or none.",
            rule="log-driver",
        )
    return {"Type": "none", "Config": {}} if driver == "none" else {"Type": driver or "json-file", "Config": dict(_LOG_SIZE)}


def restart_policy(asked: Mapping[str, Any]) -> dict[str, Any]:
    """The restart policy; the gate grants the GPU again, or the start fails closed."""
    name, retries = asked.get("Name", ""), asked.get("MaximumRetryCount", 0)
    if name not in _RESTARTS or not 0 <= retries <= 1000:
        raise Refusal(
            f"restart policy {name!r} with {retries} retries is refused",
            "it is not one of docker's",
            "Use no, always, unless-stopped or on-failure:N.",
            rule="restart",
            status=400,
        )
    return {"Name": name or "no", "MaximumRetryCount": retries if name == "on-failure" else 0}


def _lower(asked: int, limit: int) -> int:
    """``asked`` if it is a bound below ``limit``, else ``limit``: 0 and -1 ask for no bound."""
    return asked if 0 < asked < limit else limit


def _cpu_limit(limits: ContainerLimits, host_cpus: int) -> int:
    return int(min(limits.cpus, float(host_cpus)) * _BILLION)


def _nano_cpus(asked: Mapping[str, Any], limits: ContainerLimits, host_cpus: int) -> int:
    """CPUs in billionths, from NanoCpus or from quota over period (Linux CFS), within the limit; 0 when not asked."""
    nano = asked.get("NanoCpus", 0)
    quota = asked.get("CpuQuota", 0)
    if nano == 0 and quota > 0:
        period = asked.get("CpuPeriod", 0) or _DEFAULT_PERIOD
        nano = quota * _BILLION // min(max(period, _MIN_PERIOD), _MAX_PERIOD)
    elif nano == 0 and quota < 0:
        nano = -1
    return _lower(nano, _cpu_limit(limits, host_cpus)) if nano else 0


def _weights(asked: Mapping[str, Any]) -> dict[str, Any]:
    fields = {}
    for name, allowed in (("CpuShares", _CPU_SHARES), ("BlkioWeight", _BLKIO_WEIGHT)):
        if asked.get(name, 0) > 0:
            fields[name] = min(max(asked[name], allowed.start), allowed.stop - 1)
    return fields


def _ulimit(asked: Mapping[str, Any], memory: int, pids: int) -> dict[str, Any]:
    """One ulimit within its cap: nofile 2^20, memlock and stack the container's memory (bytes), nproc its pids, core none."""
    caps = {"nofile": _NOFILE, "memlock": memory, "stack": memory, "nproc": pids, "core": 0}
    name = asked.get("Name", "")
    if name not in caps:
        raise Refusal(
            f"ulimit {name!r} is refused", "only nofile, memlock, stack, nproc and core can be set", "Leave it out.", rule="ulimit"
        )
    hard = asked.get("Hard", 0)
    hard = caps[name] if hard < 0 else min(hard, caps[name])
    soft = asked.get("Soft", 0)
    return {"Name": name, "Soft": hard if soft < 0 else min(soft, hard), "Hard": hard}
