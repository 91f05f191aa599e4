# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The text of the state file: lines of ``kind ids... key=value ...``.

The kinds and keys are those of ``state_text.c``. Here they stay text: what this program does not know it keeps as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

NO_INSTANCE = 0xFFFFFFFF

_ID_COUNT = {"sys": 0, "gpu": 1, "gi": 2, "ci": 3, "proc": 2, "acct": 2, "event": 1}


class StateError(ValueError):
    """The state file cannot be understood, or has no such GPU, instance or process."""


@dataclass
class Record:
    """One line: its kind, the numbers that name it, and its fields as text."""

    kind: str
    ids: tuple[int, ...]
    fields: dict[str, str] = field(default_factory=dict)

    def number(self, key: str, default: int = 0) -> int:
        """A field as a number."""
        return int(self.fields.get(key, default))

    def set(self, **values: object) -> None:
        """Set fields; True and False become 1 and 0."""
        for key, value in values.items():
            text = str(int(value)) if isinstance(value, bool) else str(value)
            if not text or any(c.isspace() for c in text):
                raise StateError(f"{key}: {text!r} is empty or has a blank in it, which the state file cannot hold")
            self.fields[key] = text


class State:
    """All lines of a state file, in order."""

    def __init__(self, records: list[Record]) -> None:
        self.records = records

    @property
    def system(self) -> Record:
        """The line about the host as a whole."""
        return next(self.of_kind("sys"))

    def of_kind(self, kind: str, *ids: int) -> Iterator[Record]:
        """Lines of a kind whose first numbers are ``ids``."""
        return (r for r in self.records if r.kind == kind and r.ids[: len(ids)] == ids)

    def gpus(self) -> list[Record]:
        """The GPUs in order of their index."""
        return sorted(self.of_kind("gpu"), key=lambda r: r.ids)

    def gpu(self, index: int) -> Record:
        """One GPU. Raises StateError where there is none of that index."""
        for record in self.of_kind("gpu", index):
            return record
        raise StateError(f"no GPU {index}: there are {', '.join(str(g.ids[0]) for g in self.gpus()) or 'none'}")

    def remove(self, doomed: list[Record]) -> None:
        """Drop these lines."""
        ids = {id(r) for r in doomed}
        self.records = [r for r in self.records if id(r) not in ids]

    def add_event(self, gpu: int, event_type: int, data: int, gi: int = NO_INSTANCE, ci: int = NO_INSTANCE) -> None:
        """Append an event; of the last 64 the oldest makes room."""
        sequence = self.system.number("next_event")
        self.system.set(next_event=sequence + 1)
        record = Record("event", (sequence,))
        record.set(gpu=gpu, type=event_type, data=data, gi=gi, ci=ci)
        self.records.append(record)
        self.remove(list(self.of_kind("event"))[:-64])


def parse(text: str) -> State:
    """Read a state file's text. Raises StateError naming the line."""
    records = []
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.split()
        if not words:
            continue
        count = _ID_COUNT.get(words[0])
        if count is None:
            raise StateError(f"line {number}: {words[0]!r} is none of {', '.join(_ID_COUNT)}")
        try:
            ids = tuple(int(w) for w in words[1 : 1 + count])
            fields = dict(w.split("=", 1) for w in words[1 + count :])
        except ValueError:
            raise StateError(f"line {number}: not of the form '{words[0]} {'N ' * count}key=value ...': {line}") from None
        if len(ids) != count:
            raise StateError(f"line {number}: {words[0]} needs {count} numbers")
        records.append(Record(words[0], ids, fields))
    state = State(records)
    if next(state.of_kind("sys"), None) is None or state.system.number("format") != 1:
        raise StateError("not a state file of format 1: it has no line 'sys format=1 ...'")
    return state


def render(state: State) -> str:
    """The text of a state, in the order that the library reads: host, each GPU with what belongs to it, events."""
    ordered = [state.system]
    for gpu in state.gpus():
        ordered.append(gpu)
        for instance in state.of_kind("gi", gpu.ids[0]):
            ordered.append(instance)
            ordered.extend(state.of_kind("ci", *instance.ids))
        ordered.extend(state.of_kind("proc", gpu.ids[0]))
        ordered.extend(state.of_kind("acct", gpu.ids[0]))
    ordered.extend(state.of_kind("event"))
    return "".join(f"{' '.join([r.kind, *map(str, r.ids), *(f'{k}={v}' for k, v in r.fields.items())])}\n" for r in ordered)
