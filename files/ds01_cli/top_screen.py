# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The picture of ``ds01 top``: GPUs, the queue, people and workloads in 80 columns, made of the watcher's document and the gate's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from .inventory_source import warnings
from .screen import bar, duration, paint, printable, size
from .workloads_command import gpus_of, memory_of, user_of

_BAR = 10
_BUSY, _HOT = 80.0, 85.0
_WAITERS = 5
_NO_QUEUE: Mapping[str, Any] = {"waiting": 0, "entries": []}


def _cell(text: object, width: int, *, right: bool = False) -> str:
    plain = printable(text)
    if len(plain) > width:
        plain = plain[: width - 1] + "~"
    return plain.rjust(width) if right else plain.ljust(width)


def _gpu(gpu: Mapping[str, Any]) -> str:
    busy = gpu["busy_percent"]
    if not gpu["answers"]:
        use = "does not answer"
    elif busy is None:
        use = "not told in MIG mode" if gpu["mig"] else "not known"
    else:
        use = f"{bar(busy, 100.0, _BAR) or '[..........]'} {busy:3.0f} %"
    used, total = gpu["memory_used"], gpu["memory_total"]
    memory = "" if used is None or not total else f"{bar(used, total, _BAR)} {size(used)}/{size(total)}"
    heat = "" if gpu["temperature"] is None else f"{gpu['temperature']:.0f}C"
    power = "" if gpu["power"] is None else f"{gpu['power']:.0f}W"
    name = str(gpu["model"]).removeprefix("NVIDIA ")
    cells = [
        _cell(gpu["index"], 3),
        _cell(name, 18),
        _cell(use, 20),
        _cell(memory, 24),
        _cell(heat, 4, right=True),
        _cell(power, 5, right=True),
    ]
    colour = "red" if not gpu["answers"] or (gpu["temperature"] or 0) >= _HOT else "green" if busy is not None and busy >= _BUSY else None
    text = " ".join(cells).rstrip()
    return paint(text, colour) if colour else text


def _people(found: Sequence[Mapping[str, Any]]) -> list[str]:
    people: dict[str, list[Mapping[str, Any]]] = {}
    for one in found:
        people.setdefault(user_of(one), []).append(one)
    lines = []
    for user, own in sorted(people.items(), key=lambda item: (-sum(one["gpu_memory"] or 0 for one in item[1]), item[0])):
        devices = len({(gpu["uuid"], gpu["profile"]) for one in own for gpu in one["gpus"]})
        memory = memory_of(own)
        processes = sum(len(one["processes"]) for one in own)
        counts = (
            _cell(len(own), 9, right=True),
            _cell(devices, 7, right=True),
            _cell(memory, 10, right=True),
            _cell(processes, 9, right=True),
        )
        lines.append(" ".join([_cell(user, 34), *counts]))
    return lines


def _workload(one: Mapping[str, Any], now: float) -> str:
    since = "" if not one["since"] else duration(now - one["since"])
    memory = "" if one["gpu_memory"] is None else size(one["gpu_memory"])
    cells = [
        _cell(f"{user_of(one)}/{one['name']}", 34),
        _cell(one["kind"], 12),
        _cell(gpus_of(one), 14),
        _cell(memory, 7, right=True),
        _cell(since if one["running"] else "stopped", 8, right=True),
    ]
    text = " ".join(cells).rstrip()
    return paint(text, "yellow") if not one["tracked"] else text


def _queue(document: Mapping[str, Any] | None, now: float) -> list[str]:
    if document is None:
        return ["", paint("The queue is not known now: systemctl status ds01-gate", "red")]
    if not document["entries"]:
        return []
    lines = ["", paint(f"{'WAITS':>5} {'PERSON':30} {'FOR':20} {'SINCE':>8}", "bold")]
    for one in document["entries"]:
        offer = one["offer"]
        kept = "" if offer is None else f"kept {duration(max(0.0, offer['until'] - now))}"
        place = "now" if offer is not None else str(one["position"])
        cells = [_cell(place, 5, right=True), _cell(one["user"], 30), _cell(one["request"], 20)]
        text = " ".join([*cells, _cell(duration(now - one["joined_at"]), 8, right=True), _cell(kept, 12)]).rstrip()
        lines.append(paint(text, "green") if offer is not None else text)
    shown = lines[: 2 + _WAITERS]
    return shown + ([f"      and {len(lines) - len(shown)} more: ds01 queue"] if len(lines) > len(shown) else [])


def render(document: Mapping[str, Any], now: float, height: int | None = None, queue: Mapping[str, Any] | None = _NO_QUEUE) -> str:
    """The picture; at most ``height`` lines, of which the workloads give way first (None: as many as there are)."""
    found = document["workloads"]
    moment = datetime.fromtimestamp(now, timezone.utc).strftime("%H:%M:%S UTC")
    gpus = document.get("gpus", [])
    users = len({user_of(one) for one in found})
    waiting = "" if queue is None else f", {queue['waiting']} waiting"
    lines = [paint(f"ds01 top   {moment}   {len(gpus)} GPUs, {len(found)} workloads, {users} people{waiting}", "bold")]
    lines += [paint(text[:80], "red") for text in warnings(dict(document), now)]
    lines += ["", paint(f"{'GPU':3} {'MODEL':18} {'USE, LAST MINUTE':20} {'MEMORY':24} {'TEMP':>4} {'POWER':>5}", "bold"), *map(_gpu, gpus)]
    lines += _queue(queue, now)
    if found:
        lines += ["", paint(f"{'PERSON':34} {'WORKLOADS':>9} {'DEVICES':>7} {'GPU MEMORY':>10} {'PROCESSES':>9}", "bold"), *_people(found)]
        lines += ["", paint(f"{'WORKLOAD':34} {'KIND':12} {'GPU':14} {'MEMORY':>7} {'SINCE':>8}", "bold")]
        lines += [_workload(one, now) for one in sorted(found, key=lambda w: (-(w["gpu_memory"] or 0), user_of(w), w["name"]))]
    if height is not None and len(lines) > height:
        lines = [*lines[: max(1, height - 1)], f"... {len(lines) - height + 1} more lines: ds01 workloads"]
    return "\n".join(lines)
