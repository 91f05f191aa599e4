# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Verdicts on the programs of the platform, from what systemd says of their units and what they answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .health import Finding, Level, fail, ok, warn

INVENTORY_OLD_S = 60.0
LIFECYCLE_OLD_S = 3600.0
_PLATFORM = ("ds01-", "docker.", "containerd.", "prometheus")


@dataclass(frozen=True)
class UnitFacts:
    """What systemd says of a unit. ``since`` is when it became active, seconds since the epoch, None while it is not;
    ``watchdog_s`` 0 without one; ``restarts`` how often systemd has started it again."""

    name: str
    loaded: bool = True
    active: str = "active"
    result: str = "success"
    since: float | None = None
    watchdog_s: float = 0.0
    restarts: int = 0
    enabled: str = "enabled"
    device_policy: str = ""
    device_allow: str = ""

    @property
    def runs(self) -> bool:
        """Active, or on its way."""
        return self.active in ("active", "activating", "reloading")


def _not_running(part: str, unit: UnitFacts, meaning: str) -> Finding:
    if not unit.loaded:
        return fail(part, f"{unit.name} is not installed: {meaning}", "ansible-playbook playbooks/site.yml")
    state = f"{unit.active} ({unit.result})" if unit.result != "success" else unit.active
    return fail(part, f"{unit.name} is {state}: {meaning}", f"journalctl -u {unit.name} -n 50; systemctl restart {unit.name}")


def _after_reboot(part: str, units: Sequence[UnitFacts]) -> list[Finding]:
    return [
        warn(part, f"{unit.name} runs but is {unit.enabled}: it will not come back after a reboot", f"systemctl enable {unit.name}")
        for unit in units
        if unit.loaded and unit.enabled in ("disabled", "masked")
    ]


def _older_than_release(part: str, unit: UnitFacts, installed_at: float | None) -> list[Finding]:
    if installed_at is None or unit.since is None or unit.since >= installed_at:
        return []
    return [warn(part, f"{unit.name} runs an older release than is installed", f"systemctl restart {unit.name}")]


def gate(
    socket: UnitFacts,
    service: UnitFacts,
    direct: UnitFacts | None,
    answer: str | None,
    asked_in_s: float | None,
    installed_at: float | None,
) -> list[Finding]:
    """``direct`` is the emergency socket; ``answer`` what is wrong with its answer (None: nothing), which took ``asked_in_s``."""
    if direct is not None and direct.active == "active":
        return [
            fail(
                "gate",
                "ds01-direct.socket is active: the emergency group reaches Docker around the gate",
                "ansible-playbook playbooks/gate_on.yml",
            )
        ]
    if socket.active != "active":
        return [_not_running("gate", socket, "nobody but root reaches Docker")]
    if service.active == "failed":
        return [_not_running("gate", service, "nobody but root reaches Docker")]
    if answer is not None:
        return [fail("gate", answer, "journalctl -u ds01-gate -n 50; systemctl restart ds01-gate")]
    found = [*_older_than_release("gate", service, installed_at), *_after_reboot("gate", (socket, service))]
    if service.watchdog_s == 0 and service.loaded:
        found.append(
            warn("gate", "ds01-gate.service has no watchdog: a gate that hangs stays so", "ansible-playbook playbooks/site.yml --tags gate")
        )
    took = "" if asked_in_s is None else f" in {asked_in_s * 1000:.0f} ms"
    return found or [ok("gate", f"answers{took}")]


def splice(socket: UnitFacts, service: UnitFacts) -> list[Finding]:
    """The carrier of terminals is started by its socket; it need not run."""
    if socket.active != "active":
        return [_not_running("splice", socket, "terminals end with the next restart of the gate")]
    if service.active == "failed":
        return [_not_running("splice", service, "terminals end with the next restart of the gate")]
    return _after_reboot("splice", (socket,)) or [ok("splice", "takes terminals over")]


def guard(info: Mapping[str, Any], wanted: str, observing: bool) -> list[Finding]:
    """``info`` is dockerd's ``/info``; ``wanted`` the path of the guard."""
    site = "ansible-playbook playbooks/site.yml --tags docker -e allow_restart=true"
    runtimes = info.get("Runtimes") or {}
    path = (runtimes.get("ds01-guard") or {}).get("path")
    if info.get("DefaultRuntime") != "ds01-guard":
        return [fail("guard", f"dockerd's default runtime is {info.get('DefaultRuntime')!r}, not the guard", site)]
    found = []
    if path != wanted:
        found.append(fail("guard", f"the runtime ds01-guard is {path}, not {wanted}", site))
    if observing:
        found.append(warn("guard", "it only observes: nothing is refused", "docker_guard_mode: enforce in the inventory"))
    if info.get("CgroupDriver") != "systemd":
        found.append(fail("guard", f"dockerd's cgroup driver is {info.get('CgroupDriver')!r}: containers are in no slice", site))
    if not info.get("LiveRestoreEnabled", True):
        found.append(warn("guard", "live-restore is off: a restart of dockerd ends every container", site))
    return found or [ok("guard", f"is dockerd's default runtime (Docker {info.get('ServerVersion', '?')})")]


def watcher(unit: UnitFacts, inventory: Mapping[str, Any] | None, uptime: float, installed_at: float | None) -> list[Finding]:
    """``inventory`` is what it published last; ``uptime`` seconds since boot."""
    restart = "journalctl -u ds01-watch -n 50; systemctl restart ds01-watch"
    if not unit.runs:
        return [_not_running("watcher", unit, "nothing on the GPUs is seen")]
    if inventory is None:
        return [fail("watcher", "it has published no inventory since boot", restart)]
    found = []
    age = uptime - float(inventory.get("uptime", 0.0))
    if not 0 <= age <= INVENTORY_OLD_S:
        found.append(fail("watcher", f"its inventory is {age:.0f} s old", restart))
    for name, state in sorted((inventory.get("sources") or {}).items()):
        if not state.get("ok"):
            step = "systemctl status docker" if name == "docker" else "nvidia-smi; journalctl -k -g 'NVRM|Xid'"
            found.append(fail("watcher", f"{name} does not answer it: {state.get('error')}", step))
    if unit.watchdog_s == 0:
        found.append(warn("watcher", "ds01-watch.service has no watchdog", "ansible-playbook playbooks/site.yml --tags watch"))
    found += [*_older_than_release("watcher", unit, installed_at), *_after_reboot("watcher", (unit,))]
    return found or [ok("watcher", f"sees dockerd and NVML; its inventory is {age:.0f} s old")]


def slices(units: Sequence[UnitFacts]) -> list[Finding]:
    """The slices that must open no GPU: of dockerd, of builds, and of people's containers without a claim."""
    step = "ansible-playbook playbooks/site.yml --tags slices"
    missing = [unit.name for unit in units if not unit.loaded]
    if missing:
        return [fail("slices", f"{', '.join(missing)} not known to systemd", step)]
    found = []
    for unit in units:
        if unit.device_policy != "closed":
            found.append(
                fail("slices", f"{unit.name} has no device filter (DevicePolicy={unit.device_policy or '?'}): it can open GPUs", step)
            )
        elif opens_gpu(unit.device_allow):
            found.append(fail("slices", f"{unit.name} may open GPUs: DeviceAllow={opens_gpu(unit.device_allow)}", step))
    return found or [ok("slices", f"{len(units)} slices are closed to GPUs")]


def opens_gpu(device_allow: str) -> str:
    """The entry of systemd's DeviceAllow that lets an NVIDIA node through, empty when there is none."""
    for entry in device_allow.split("\n"):
        word = entry.strip().split(" ")[0]
        if word.startswith(("/dev/nvidia", "char-nvidia", "char-195:")) or word in ("char-*", "char-nv*", "char-n*"):
            return entry.strip()
    return ""


def fence(unit: UnitFacts, sessions: Sequence[UnitFacts], exempt: Sequence[int], enforced: bool) -> list[Finding]:
    """``sessions`` are the live user-UID.slice units; ``exempt`` the uids that may use GPUs outside containers."""
    if not enforced:
        return [warn("fence", "it is switched off: everybody may use GPUs outside containers", "bare_metal_fence in the inventory")]
    if unit.active != "active":
        return [_not_running("fence", unit, "nobody knows whether people's sessions can open GPUs")]
    open_ones = [one.name for one in sessions if one.device_policy != "closed" and _uid(one.name) not in (0, *exempt)]
    if open_ones:
        return [fail("fence", f"{', '.join(open_ones)} can open GPUs and nobody is exempt there", "ds01-fence apply; ds01-fence list")]
    found = _after_reboot("fence", (unit,))
    return found or [ok("fence", f"{len(sessions)} people are logged in; {len(exempt)} may use GPUs outside containers")]


def _uid(slice_name: str) -> int | None:
    text = slice_name.removeprefix("user-").removesuffix(".slice")
    return int(text) if text.isdigit() else None


def lifecycle(timer: UnitFacts, service: UnitFacts) -> list[Finding]:
    """The timer that stops idle containers and sends warnings."""
    if timer.active != "active":
        return [_not_running("lifecycle", timer, "nobody is warned and nothing idle is stopped")]
    if service.active == "failed":
        return [_not_running("lifecycle", service, "the last look ended in an error")]
    return _after_reboot("lifecycle", (timer,)) or [ok("lifecycle", "looks at the containers by its timer")]


def failed_units(names: Sequence[str]) -> list[Finding]:
    """``names`` are the units that systemd calls failed."""
    if not names:
        return [ok("units", "no unit has failed")]
    ours = [name for name in names if name.startswith(_PLATFORM)]
    level = Level.FAIL if ours else Level.WARN
    shown = ", ".join((ours or list(names))[:5]) + (f" and {len(names) - 5} more" if len(ours or names) > 5 else "")
    return [Finding("units", level, f"{shown} failed", f"systemctl status {(ours or list(names))[0]}; systemctl --failed")]
