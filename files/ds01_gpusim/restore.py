# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""What a driver does when it is loaded: the configured GPUs are there, in the state they were left in, with their nodes and tables.

state       the state file
mig-minors  beside it: the table of capability minors, as /proc/driver/nvidia-caps/mig-minors
devices     beside it: majors, as the lines of /proc/devices
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from . import majors
from .device_nodes import all_nodes, make_nodes
from .library import settle_if_rebooted
from .new_host import new_gpu, new_host
from .state_file import boot_id, boot_time_ms, changing, create, read
from .state_text import State, StateError

DEFAULT_CONFIG = Path("/etc/ds01-gpusim/gpus.json")
DEFAULT_SAVED = Path("/var/lib/ds01-gpusim/state")


@dataclass(frozen=True)
class Restored:
    """What was changed, in words."""

    actions: list[str]


def configured_models(config: Path) -> list[str]:
    """Models in order of index, from ``{"models": [...]}``. Raises StateError."""
    try:
        document = json.loads(config.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StateError(f"{config}: {error}") from None
    models = document.get("models") if isinstance(document, dict) else None
    if not isinstance(models, list) or not all(isinstance(m, str) for m in models):
        raise StateError(f'{config}: not of the form {{"models": ["a100-40gb", ...]}}')
    return models


def fit_models(state: State, models: list[str], now_ms: int) -> list[str]:
    """Make the state have exactly these models. A GPU whose model stays keeps everything. Returns what was changed."""
    actions = []
    for gpu in state.gpus():
        index = gpu.ids[0]
        if index < len(models) and gpu.fields.get("model") == models[index]:
            continue
        state.remove([r for r in state.records if r.kind in ("gpu", "gi", "ci", "proc", "acct") and r.ids[0] == index])
        actions.append(f"removed GPU {index} ({gpu.fields.get('model')})")
    have = {gpu.ids[0] for gpu in state.gpus()}
    for index, model in enumerate(models):
        if index not in have:
            state.records.append(new_gpu(index, model, now_ms))
            actions.append(f"added GPU {index} ({model})")
    return actions


def _restore_state(state_path: Path, models: list[str], library: Path) -> list[str]:
    fresh = new_host(models, boot=boot_id(), now_ms=boot_time_ms())
    try:
        actions = ["applied a reboot"] if settle_if_rebooted(state_path, library) else []
    except StateError:  # none yet, or one that nobody can read
        create(state_path, fresh)
        return [f"added GPU {i} ({m})" for i, m in enumerate(models)]
    with changing(state_path) as state:
        return actions + fit_models(state, models, boot_time_ms())


def _publish(path: Path, text: str) -> list[str]:
    if path.exists() and path.read_text(encoding="ascii") == text:
        return []
    new = path.with_name(f".{path.name}.new")
    new.write_text(text, encoding="ascii")
    new.chmod(0o644)
    new.rename(path)
    return [f"wrote {path}"]


def publish_minors(state_path: Path) -> list[str]:
    """Write the table of capability minors beside the state."""
    gpu_minors = [gpu.number("minor") for gpu in read(state_path).gpus()]
    return _publish(state_path.with_name("mig-minors"), majors.mig_minors(gpu_minors))


def make_device_nodes(state_path: Path, dev: Path = Path("/dev")) -> list[str]:
    """Make the nodes, publish their majors, and tell the library that nodes decide who sees what. Needs root."""
    used = majors.used_majors(Path("/proc/devices").read_text(encoding="ascii"))
    with changing(state_path) as state:
        system = state.system
        uvm = majors.free_major(used, system.number("uvm_major") or majors.UVM_PREFERRED)
        caps = majors.free_major(used | {uvm}, system.number("caps_major") or majors.CAPS_PREFERRED)
        changed = make_nodes(all_nodes(state, uvm, caps), dev)
        system.set(nodes=1, uvm_major=uvm, caps_major=caps)
    return [f"made or removed {path}" for path in changed] + _publish(state_path.with_name("devices"), majors.devices_table(uvm, caps))


def save(state_path: Path, saved: Path) -> list[str]:
    """Keep the state over a shutdown, as a GPU keeps its settings without power: /run does not."""
    return _publish(saved, state_path.read_text(encoding="ascii"))


def restore(config: Path, state_path: Path, saved: Path, library: Path) -> Restored:
    """All of it, at boot and after a change of the configuration. Needs root."""
    actions = []
    if saved.exists() and not state_path.exists():
        actions += _publish(state_path, saved.read_text(encoding="ascii"))
    actions += _restore_state(state_path, configured_models(config), library)
    actions += publish_minors(state_path)
    actions += make_device_nodes(state_path)
    return Restored(actions)
