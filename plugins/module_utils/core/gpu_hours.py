# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""GPU-hours out of the event log: who held which device from when to when, in GPU-equivalents times hours.

Every event about a claim says what it holds and since when (``details.claim``, ``.devices``, ``.equivalents``, ``.granted_at``), so that
one lost event costs little: a release alone tells the whole span, and a device that somebody else was given was free by then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from fractions import Fraction
from typing import Any

_CLOCK_SLACK_S = 2.0
"""Grants of one claim whose times differ by no more than this are one grant: the event carries milliseconds, the claim more."""


@dataclass(frozen=True)
class Holding:
    """A device in somebody's hands, by a container that ran or one that had ended and for which policy kept it.

    ``begin`` and ``end`` are seconds since the epoch, UTC; ``open``: nothing has ended it yet."""

    user: str
    uid: int | None
    claim: str
    container: str
    gpu_uuid: str
    device: str
    equivalents: Fraction
    begin: float
    end: float
    open: bool = False

    def hours(self, since: float, until: float) -> float:
        """GPU-hours of it between two moments."""
        return float(self.equivalents) * max(0.0, min(self.end, until) - max(self.begin, since)) / 3600.0


@dataclass
class _Open:
    record: Mapping[str, Any]
    begin: float
    devices: Mapping[str, Fraction]
    until: float | None = None


def holdings(records: Iterable[Mapping[str, Any]], now: float) -> Iterator[Holding]:
    """What was held, from the log's records in order of time, and what is still held at ``now``.

    Give it the records from before the span that is asked for, too: a claim counts from its grant. Records of other kinds, and such
    without a claim, are passed over. A device whose share is not in the record counts as 1 when it is a whole GPU, else not.
    """
    opened: dict[str, _Open] = {}
    holder: dict[str, str] = {}
    ends: dict[str, float] = {}

    def close(claim: str, end: float, still: bool = False) -> Iterator[Holding]:
        one = opened.pop(claim)
        ends[claim] = end
        for device, share in one.devices.items():
            if holder.get(device) == claim:
                del holder[device]
            if end > one.begin:
                yield _holding(one.record, claim, device, share, one.begin, end, still)

    def close_unlogged(claim: str, latest: float) -> Iterator[Holding]:
        kept_until = opened[claim].until
        yield from close(claim, latest if kept_until is None else min(kept_until, latest))

    for record in records:
        kind, details = record.get("kind"), record.get("details")
        if kind not in ("claim.granted", "claim.held", "claim.released", "claim.restarted") or not isinstance(details, Mapping):
            continue
        claim, at = details.get("claim"), moment(record.get("time"))
        if not isinstance(claim, str) or at is None:
            continue
        granted = moment(details.get("granted_at"))
        before = opened.get(claim)
        if before is not None and granted is not None and granted > before.begin + _CLOCK_SLACK_S:
            yield from close_unlogged(claim, granted)
            before = None
        if before is None:
            if granted is None and kind in ("claim.held", "claim.released"):
                continue
            begin = max(at if granted is None else min(granted, at), ends.get(claim, 0.0))  # an end that is told twice counts once
            before = opened[claim] = _Open(record, begin, _devices(details))
            for device in before.devices:
                other = holder.get(device)
                if other is not None:
                    yield from close_unlogged(other, begin)
                holder[device] = claim
        if kind == "claim.released":
            yield from close(claim, at)
        else:
            before.until = _number(details.get("until")) if kind == "claim.held" else None
    for claim in list(opened):
        until = opened[claim].until
        ended = until is not None and until < now
        yield from close(claim, until if ended and until is not None else now, not ended)


def hours_by(found: Iterable[Holding], key: Callable[[Holding], str], since: float, until: float) -> dict[str, float]:
    """GPU-hours between two moments by what ``key`` says of a holding (a user, a GPU, a group); who held nothing is not in it."""
    sums: dict[str, float] = {}
    for one in found:
        hours = one.hours(since, until)
        if hours > 0:
            name = key(one)
            sums[name] = sums.get(name, 0.0) + hours
    return sums


def days(since: float, until: float) -> list[tuple[str, float, float]]:
    """The days (UTC) between two moments, each as its date, its begin and its end; the first and the last may be parts of a day."""
    found, begin = [], since
    while begin < until:
        end = min(until, (begin // 86400.0 + 1) * 86400.0)
        found.append((datetime.fromtimestamp(begin, timezone.utc).strftime("%Y-%m-%d"), begin, end))
        begin = end
    return found


def moment(text: object) -> float | None:
    """Seconds since the epoch of the log's timestamp; None for what is none."""
    if not isinstance(text, str):
        return None
    try:
        at = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return None
    return at.timestamp() if at.tzinfo is not None else None


def _holding(record: Mapping[str, Any], claim: str, device: str, share: Fraction, begin: float, end: float, still: bool) -> Holding:
    uid = record.get("uid")
    return Holding(
        user=str(record.get("user", "unattributed")),
        uid=uid if isinstance(uid, int) else None,
        claim=claim,
        container=str(record.get("container", "")),
        gpu_uuid=device.partition("/")[0],
        device=device,
        equivalents=share,
        begin=begin,
        end=end,
        open=still,
    )


def _devices(details: Mapping[str, Any]) -> dict[str, Fraction]:
    keys, shares = details.get("devices"), details.get("equivalents")
    if not isinstance(keys, list):
        return {}
    listed = shares if isinstance(shares, list) and len(shares) == len(keys) else [None] * len(keys)
    found = {}
    for key, share in zip(keys, listed, strict=True):
        value = _fraction(share) if share is not None else Fraction(0 if "/" in str(key) else 1)
        if value > 0:
            found[str(key)] = value
    return found


def _fraction(text: object) -> Fraction:
    try:
        return Fraction(str(text))
    except (ValueError, ZeroDivisionError):
        return Fraction(0)


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
