# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""What each command does. Every one returns its answer: values for ``--json``, and lines for a human reader."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from . import changes
from .cdi_spec import cdi_spec
from .library import settle, settle_if_rebooted
from .new_host import new_host
from .processes import start_ticks
from .report import as_text, as_values
from .restore import make_device_nodes, publish_minors, restore, save
from .state_file import boot_id, boot_time_ms, changing, create, read
from .state_text import State, StateError


@dataclass(frozen=True)
class Answer:
    """``values`` is what ``--json`` prints; ``text`` is printed otherwise, where it is not None."""

    values: Any
    text: str | None = None


Command = Callable[[argparse.Namespace], Answer]


def _done(*actions: str) -> Answer:
    return Answer({"changed": bool(actions), "actions": list(actions)}, "\n".join(actions) or "nothing to do")


@contextmanager
def _changing(args: argparse.Namespace) -> Iterator[State]:
    settle_if_rebooted(args.state, args.library)
    with changing(args.state) as state:
        yield state


def _now_us() -> int:
    return time.time_ns() // 1000


def init(args: argparse.Namespace) -> Answer:
    """Make a new host."""
    models = [model for model in args.model for _ in range(args.count)]
    create(args.state, new_host(models, boot=boot_id(), now_ms=boot_time_ms(), admin_uid=args.admin_uid))
    publish_minors(args.state)
    return _done(f"made {len(models)} simulated GPUs in {args.state}")


def show(args: argparse.Namespace) -> Answer:
    """GPUs, instances and processes."""
    state = read(args.state)
    return Answer(as_values(state), as_text(state))


def add_process(args: argparse.Namespace) -> Answer:
    """A process begins to use a GPU."""
    with _changing(args) as state:
        changes.add_process(
            state,
            args.gpu,
            args.pid,
            args.memory,
            started=start_ticks(args.pid),
            now_us=_now_us(),
            instance=args.instance,
            kind=args.kind,
            sm_util=args.util,
        )
    return _done(f"process {args.pid} uses GPU {args.gpu}")


def remove_process(args: argparse.Namespace) -> Answer:
    """A process leaves all GPUs."""
    with _changing(args) as state:
        changes.remove_process(state, args.pid, _now_us())
    return _done(f"process {args.pid} uses no GPU")


_PLAIN_VALUES = {
    "memory_util": "mem_util",
    "temperature": "temperature",
    "throttle": "throttle",
    "remapped_corrected": "remapped_corrected",
    "remapped_uncorrected": "remapped_uncorrected",
    "remap_pending": "remap_pending",
    "remap_failure": "remap_failure",
    "reset_blocked": "reset_blocked",
}


def set_values(args: argparse.Namespace) -> Answer:
    """Values of a GPU, and the utilisation of an instance."""
    values = {key: int(getattr(args, name)) for name, key in _PLAIN_VALUES.items() if getattr(args, name) is not None}
    if args.power is not None:
        values["power_mw"] = args.power * 1000
    if args.util is not None and args.instance is None:
        values["util"] = args.util
    if args.instance is not None and args.util is None:
        raise StateError("--instance needs --util: the utilisation of the instance")
    with _changing(args) as state:
        changes.set_values(state, args.gpu, boot_time_ms(), **values)
        if args.instance is not None:
            changes.find_gpu_instance(state, args.gpu, args.instance[0]).set(sm_util=args.util)
            values["instance_util"] = args.util
    return _done(*(f"GPU {args.gpu}: {key} is {value}" for key, value in values.items()))


def count_ecc_errors(args: argparse.Namespace) -> Answer:
    """Memory errors happen."""
    with _changing(args) as state:
        changes.count_ecc_errors(state, args.gpu, args.corrected, args.uncorrected)
    return _done(f"GPU {args.gpu}: {args.corrected} corrected and {args.uncorrected} uncorrected errors more")


def report_xid(args: argparse.Namespace) -> Answer:
    """The driver reports an XID."""
    with _changing(args) as state:
        changes.report_xid(state, args.gpu, args.code, args.instance)
    return _done(f"GPU {args.gpu}: XID {args.code}")


def lose_gpu(args: argparse.Namespace) -> Answer:
    """A GPU falls off the bus."""
    with _changing(args) as state:
        changes.lose_gpu(state, args.gpu)
    return _done(f"GPU {args.gpu} is lost")


def recover_gpu(args: argparse.Namespace) -> Answer:
    """A lost GPU answers again."""
    with _changing(args) as state:
        changes.restore_gpu(state, args.gpu)
    return _done(f"GPU {args.gpu} answers")


def set_latency(args: argparse.Namespace) -> Answer:
    """Every call is slower."""
    with _changing(args) as state:
        state.system.set(latency_us=args.milliseconds * 1000)
    return _done(f"every NVML call takes {args.milliseconds} ms longer")


def set_hang(args: argparse.Namespace) -> Answer:
    """Every call waits."""
    with _changing(args) as state:
        state.system.set(hang=args.hang)
    return _done("every NVML call hangs" if args.hang else "NVML calls return")


def reboot(args: argparse.Namespace) -> Answer:
    """What a reboot does to the GPUs."""
    with _changing(args) as state:
        changes.forget_boot(state)
    settle(args.state, args.library)
    return _done("the GPUs have seen a reboot")


def cdi(args: argparse.Namespace) -> Answer:
    """The CDI spec; JSON in any case."""
    state_directory = args.state.resolve().parent
    return Answer(cdi_spec(read(args.state), args.library.resolve(), state_directory))


def mig_minors(args: argparse.Namespace) -> Answer:
    """The table of capability minors."""
    return _done(*publish_minors(args.state))


def device_nodes(args: argparse.Namespace) -> Answer:
    """Device nodes of the host as it is."""
    settle_if_rebooted(args.state, args.library)
    return _done(*make_device_nodes(args.state))


def restore_host(args: argparse.Namespace) -> Answer:
    """The configured host, as at boot."""
    return _done(*restore(args.config, args.state, args.saved, args.library).actions)


def save_state(args: argparse.Namespace) -> Answer:
    """The state, kept over a shutdown."""
    return _done(*save(args.state, args.saved))
