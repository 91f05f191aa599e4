# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""``ds01 events``: who did what and when: your own events, for administrators everybody's."""

from __future__ import annotations

import argparse
import csv
import json
import math
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

from ds01.core.event import KINDS
from ds01.core.event_query import EventQuery, select
from ds01.core.v1_table import MOST_EVENTS
from ds01.event_log import EVENT_LOG, EventLog

from .failure import Failure
from .gate_client import ask
from .moments import ago
from .screen import paint, printable, table

_FIELDS = ("time", "kind", "user", "container", "gpus", "by", "details")
_LOOK_S = 0.5
_ASK_S = 2.0
_OVERLAP_S = 10.0
_SHOWN = 50
_EXAMPLES = """examples:
  ds01 events --since 2h                            the last two hours
  ds01 events --user student1 --kind 'claim.*'      what claims somebody had
  ds01 events --follow --kind lifecycle.stopped     as they come
  ds01 events --since 7d --csv > week.csv
"""


def register(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "events",
        help="who did what and when",
        description=__doc__.split("\n")[0],
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--user", help="of this person")
    parser.add_argument("--container", help="of this container: name, or the first twelve digits or more of its id")
    parser.add_argument("--gpu", help="on this GPU: its UUID or how that begins")
    parser.add_argument("--kind", help="of this kind (container.start), or of a family ('claim.*'); `--kind help` lists them")
    parser.add_argument("--since", metavar="TIME", help="2h, 3d, or ISO 8601")
    parser.add_argument("--until", metavar="TIME", help="2h, 3d, or ISO 8601")
    parser.add_argument("--last", type=int, metavar="N", help=f"only the last N (without --since: {_SHOWN})")
    parser.add_argument("--follow", action="store_true", help="go on as events come, until Ctrl-C")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one JSON object a line")
    form.add_argument("--csv", action="store_true", help="comma separated, with a header")
    parser.set_defaults(run=run)


def _query(arguments: argparse.Namespace, now: float) -> EventQuery:
    kind = arguments.kind
    if kind is not None and not (kind in KINDS or (kind.endswith(".*") and any(one.startswith(kind[:-1]) for one in KINDS))):
        raise Failure(f"--kind {kind}: there is no such kind of event", "see: ds01 events --kind help")
    since = None if arguments.since is None else ago(arguments.since, "--since", now)
    until = None if arguments.until is None else ago(arguments.until, "--until", now)
    return EventQuery(arguments.user, arguments.container, arguments.gpu, kind, since, until)


def _details(record: dict[str, Any]) -> str:
    return " ".join(f"{key}={value}" for key, value in (record.get("details") or {}).items() if value not in (None, ""))


def row(record: dict[str, Any]) -> list[str]:
    """One event as a line of the table."""
    time_ = str(record.get("time", ""))[:19].replace("T", " ")
    gpus = ", ".join(str(gpu)[:12] for gpu in record.get("gpus", ()))
    who = record.get("user") or (str(record["uid"]) if record.get("uid") is not None else "")
    return [time_, str(record.get("kind", "")), who, str(record.get("container") or ""), gpus, _details(record)]


_HEADER = ("TIME (UTC)", "KIND", "USER", "CONTAINER", "GPU", "DETAILS")


def _csv_row(record: dict[str, Any]) -> list[str]:
    gpus = " ".join(map(str, record.get("gpus", ())))
    details = json.dumps(record["details"], separators=(",", ":")) if record.get("details") else ""
    cells = {**{key: str(record.get(key) or "") for key in _FIELDS}, "gpus": gpus, "details": details}
    return [_harmless(cells[key]) for key in _FIELDS]


def _harmless(cell: str) -> str:
    """A cell that a spreadsheet does not take for a formula (OWASP, CSV injection): container names are their owners' choice."""
    return f"'{cell}" if cell[:1] in ("=", "+", "-", "@", "\t", "\r") else cell


def _write(records: Iterable[dict[str, Any]], arguments: argparse.Namespace, *, head: bool) -> None:
    if arguments.json:
        for record in records:
            print(json.dumps(record), flush=arguments.follow)
    elif arguments.csv:
        writer = csv.writer(sys.stdout)
        if head:
            writer.writerow(_FIELDS)
        for record in records:
            writer.writerow(_csv_row(record))
        sys.stdout.flush()
    elif arguments.follow:
        for record in records:
            print("  ".join(printable(cell) for cell in row(record) if cell), flush=True)
    else:
        rows = [row(record) for record in records]
        print(table(_HEADER, rows) if rows else paint("No such events.", "dim"))


def follow(path: str, query: EventQuery, ended: threading.Event) -> Iterator[dict[str, Any]]:
    """Matching events as they are written, from now on, across rotations, until ``ended`` is set."""
    needles, span = query.needles(), query.span()
    stream = open(path, "rb")  # noqa: SIM115 - it is closed and opened anew when the log is rotated
    stream.seek(0, 2)
    rest = b""
    try:
        while True:
            fresh = _rotated(stream, path)  # before reading: a log that was moved away is not written to any more
            piece = stream.read()
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                record = select(line, query, needles, span)
                if record is not None:
                    yield record
            if fresh is not None:
                stream.close()
                stream, rest = fresh, b""
            elif not piece and ended.wait(_LOOK_S):
                return
    finally:
        stream.close()


def _rotated(stream: Any, path: str) -> Any:
    """The new log when ``stream`` is an old one, else None."""
    try:
        about, now = os.fstat(stream.fileno()), os.stat(path)
    except FileNotFoundError:
        return None
    return None if (about.st_dev, about.st_ino) == (now.st_dev, now.st_ino) else open(path, "rb")


def through_gate(query: EventQuery, last: int | None) -> list[dict[str, Any]]:
    """What the gate tells the caller: their own events; everybody's for an administrator."""
    limit = MOST_EVENTS if last is None else min(last, MOST_EVENTS)
    if limit <= 0:
        return []
    asked = {"user": query.user, "container": query.container, "gpu": query.gpu, "kind": query.kind, "limit": limit}
    for name, at in (("since", query.since), ("until", query.until)):
        asked[name] = None if at is None else math.floor(at)
    document = ask("events?" + urlencode({name: value for name, value in asked.items() if value is not None}))
    found: list[dict[str, Any]] = document["events"]
    return found


def follow_gate(query: EventQuery, told: list[dict[str, Any]], ended: threading.Event) -> Iterator[dict[str, Any]]:
    """Events that the gate tells of after those that it has told, as they come, until ``ended`` is set.

    Asked again from a little before the newest on, because writers are not in step to the second; what was told is not told twice.
    """
    known = deque((json.dumps(one, sort_keys=True) for one in told), maxlen=2 * MOST_EVENTS)
    since = time.time()
    while not ended.wait(_ASK_S):
        begun = time.time()
        for record in through_gate(replace(query, since=max(since - _OVERLAP_S, query.since or 0.0)), MOST_EVENTS):
            text = json.dumps(record, sort_keys=True)
            if text not in known:
                known.append(text)
                yield record
        since = min(begun, max(since, begun - _OVERLAP_S))


def run(arguments: argparse.Namespace, path: str = EVENT_LOG) -> int:
    """Print the events that were asked for."""
    if arguments.kind == "help":
        print(table(("KIND", "MEANING"), list(KINDS.items())))
        return 0
    query = _query(arguments, time.time())
    last = arguments.last if arguments.last is not None else (None if arguments.since else _SHOWN)
    try:
        log = EventLog(path)
        found = list(log.read(query)) if last is None else log.last(query, last)
        if found or not arguments.follow:
            _write(found, arguments, head=True)
        if arguments.follow:
            _write(follow(path, query, threading.Event()), arguments, head=not found)
    except PermissionError:
        told = through_gate(query, last)
        if told or not arguments.follow:
            _write(told, arguments, head=True)
        if arguments.follow:
            _write(follow_gate(query, told, threading.Event()), arguments, head=not told)
    except FileNotFoundError:
        raise Failure(f"{path} is not there: nothing has been recorded yet", "systemctl status ds01-watch") from None
    return 0
