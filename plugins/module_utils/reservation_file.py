# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The admin's reservations: ``/etc/ds01/reservations.json``, an object with a list ``reservations``."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from .core.reservation import Reservation, reservation_from_dict, reservation_to_dict


class ReservationFileError(ValueError):
    """The file is there and can't be used: names the file, the reservation and the key."""


def load(path: Path) -> tuple[Reservation, ...]:
    """All reservations; none when there is no file. Raises ReservationFileError."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(data, dict) or not isinstance(data.get("reservations"), list):
            raise ValueError('expected {"reservations": [...]}')
        found = tuple(reservation_from_dict(item) for item in data["reservations"])
    except FileNotFoundError:
        return ()
    except (ValueError, AttributeError) as error:
        raise ReservationFileError(f"{path}: {error}") from error
    names = [r.id for r in found]
    for name in names:
        if names.count(name) > 1:
            raise ReservationFileError(f"{path}: reservation {name} stands there {names.count(name)} times; an id is unique")
    return found


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Held by whoever reads the file to write it again, so that none of two changes is lost. Readers need it not."""
    handle = os.open(path.with_name(f".{path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def to_text(reservations: Sequence[Reservation]) -> str:
    """The file's text, sorted by id."""
    items = [reservation_to_dict(r) for r in sorted(reservations, key=lambda r: r.id)]
    return json.dumps({"reservations": items}, indent=2, sort_keys=True) + "\n"


def save(path: Path, reservations: Sequence[Reservation]) -> None:
    """Replace the file at once; readable by root alone is not needed, people may see what is reserved."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        stream.write(to_text(reservations))
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(temporary, path)
