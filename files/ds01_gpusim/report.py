# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Simulated GPUs for a human reader, and the same as plain values for a program."""

from __future__ import annotations

from typing import Any

from .state_text import NO_INSTANCE, Record, State

MIB = 1 << 20


def _process(process: Record) -> dict[str, Any]:
    gi, ci = process.number("gi"), process.number("ci")
    return {
        "pid": process.ids[1],
        "kind": process.fields.get("kind", "C"),
        "memory_mib": process.number("memory") // MIB,
        "sm_util": process.number("sm_util"),
        "instance": None if gi == NO_INSTANCE else f"{gi}/{ci}",
    }


def as_values(state: State) -> dict[str, Any]:
    """The host: driver, faults in force, and every GPU with instances and processes."""
    system = state.system
    gpus = []
    for gpu in state.gpus():
        index = gpu.ids[0]
        instances = {r.ids[1]: r for r in state.of_kind("gi", index)}
        gpus.append(
            {
                "index": index,
                "uuid": gpu.fields["uuid"],
                "model": gpu.fields["model"],
                "minor": gpu.number("minor"),
                "mig": bool(gpu.number("mig_mode")),
                "mig_pending": bool(gpu.number("mig_pending")),
                "util": gpu.number("util"),
                "temperature": gpu.number("temperature"),
                "power_mw": gpu.number("power_mw"),
                "lost": bool(gpu.number("lost")),
                "instances": [
                    {
                        "instance": f"{r.ids[1]}/{r.ids[2]}",
                        "profile": instances[r.ids[1]].fields.get("name"),
                        "start": instances[r.ids[1]].number("start"),
                        "uuid": r.fields["uuid"],
                    }
                    for r in state.of_kind("ci", index)
                ],
                "processes": [_process(r) for r in state.of_kind("proc", index)],
            }
        )
    return {
        "simulated": True,
        "driver": system.fields["driver"],
        "latency_ms": system.number("latency_us") / 1000,
        "hang": bool(system.number("hang")),
        "gpus": gpus,
    }


def as_text(state: State) -> str:
    """The same as lines."""
    values = as_values(state)
    lines = [f"simulated GPUs, driver {values['driver']}" + (", every call hangs" if values["hang"] else "")]
    for gpu in values["gpus"]:
        mig = "MIG" if gpu["mig"] else "no MIG"
        if gpu["mig"] != gpu["mig_pending"]:
            mig += " (switch pending)"
        condition = "LOST" if gpu["lost"] else f"{gpu['util']} %, {gpu['temperature']} °C, {gpu['power_mw'] / 1000:.0f} W"
        lines.append(f"GPU {gpu['index']}  {gpu['model']:<11} {gpu['uuid']}  /dev/nvidia{gpu['minor']}  {mig}  {condition}")
        lines += [f"  {i['instance']:<5} {i['profile']:<11} at {i['start']}  {i['uuid']}" for i in gpu["instances"]]
        for process in gpu["processes"]:
            where = f" on {process['instance']}" if process["instance"] else ""
            lines.append(f"  process {process['pid']} ({process['kind']}){where}: {process['memory_mib']} MiB, {process['sm_util']} %")
    return "\n".join(lines)
