# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""A start that waits for its turn, inside ``docker run``: asked for by the label ``ds01.gpu.wait``.

The start is judged anew when its turn comes, because a lot may have changed. It waits outside all locks, and is an entry of the queue
for as long as it does. It ends with the grant, the time that was asked for, the client, or the gate.
"""

from __future__ import annotations

import os
import select
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from ds01.allocator import AllocationError, Allocator
from ds01.core.gate.verdict import GrantClaim
from ds01.core.gpu_request import GpuRequest
from ds01.core.limits import Limits
from ds01.core.refusal import Refusal
from ds01_gate.client_stream import ClientGone
from ds01_gate.turn_keeper import TurnKeeper

WAITABLE = frozenset({"gpu.busy", "gpu.quota"})
_GONE = select.POLLHUP | select.POLLERR | select.POLLNVAL


class MustWait(Exception):
    """A start that can't be granted now and may wait ``seconds`` for it. ``refusal`` is what it is told when it doesn't come to that."""

    def __init__(self, wanted: GrantClaim, limits: Limits, seconds: int, refusal: Refusal) -> None:
        super().__init__(str(refusal))
        self.wanted = wanted
        self.limits = limits
        self.seconds = seconds
        self.refusal = refusal


class Ticket:
    """One start's place. ``deadline`` is monotonic."""

    def __init__(self, turns: TurnKeeper, ending: threading.Event, waiter_id: str, deadline: float, bell: int) -> None:
        self._turns = turns
        self._ending = ending
        self._waiter_id = waiter_id
        self._deadline = deadline
        self._bell = bell

    def wait(self, client: socket.socket, refusal: Refusal) -> None:
        """Return when something is offered. Raises ClientGone; ``refusal`` when the time is over; another one when the gate ends."""
        poller = select.poll()
        poller.register(client, 0)
        poller.register(self._bell, select.POLLIN)
        while True:
            if not self._turns.waits(self._waiter_id):
                raise refusal
            if self._ending.is_set():
                raise Refusal(refusal.what, "the gate restarts", "Start it again.", rule="gate-ends", status=503)
            left = self._deadline - time.monotonic()
            if left <= 0:
                why = f"{refusal.why}; nor was it this start's turn in the time that it waited"
                raise Refusal(refusal.what, why, refusal.next_step, rule=refusal.rule, status=refusal.status)
            seen = dict(poller.poll(left * 1000))
            if seen.get(client.fileno(), 0) & _GONE:
                raise ClientGone("closed while waiting for a GPU")
            if self._bell in seen:
                os.eventfd_read(self._bell)
                if not self._ending.is_set():
                    return


class TurnWait:
    """One for the process."""

    def __init__(self, turns: TurnKeeper, allocator: Allocator) -> None:
        self._turns = turns
        self._allocator = allocator
        self._ending = threading.Event()

    def stop(self) -> None:
        """No start waits any more."""
        self._ending.set()
        self._turns.wake_all()

    @contextmanager
    def ticket(self, start: MustWait) -> Iterator[Ticket]:
        """A place in the queue for as long as the block runs. Raises Refusal."""
        wanted = start.wanted
        waiter = self._turns.join(start.limits, wanted.uid, GpuRequest.parse(wanted.request).text(), wanted.container_id)
        try:
            bell = self._turns.bell(waiter.id)
            self._allocator.arrange()
            yield Ticket(self._turns, self._ending, waiter.id, time.monotonic() + start.seconds, bell)
        finally:
            self._turns.unbell(waiter.id)
            if self._turns.leave(waiter.id, "the start ended"):
                self._allocator.arrange()

    def told(self, refusal: Refusal, wanted: GrantClaim, limits: Limits) -> Refusal:
        """The refusal with the place that the person has in the queue, or would have, and how to wait."""
        own = self._turns.entry(wanted.uid)
        try:
            moment = self._allocator.moment()
        except AllocationError:
            return refusal
        if own is not None:
            place = next((one.position for one in self._turns.places(moment) if one.waiter.id == own.id), None)
            step = f"You wait as number {place}: ds01 queue" if place else "A device is kept for you, for what you queued for: ds01 queue"
        else:
            place = self._turns.would_be(limits, wanted.uid, wanted.request, moment)
            step = f"In the queue you would be number {place}: ds01 queue join, or let the start wait: --label ds01.gpu.wait=30m"
        return Refusal(refusal.what, refusal.why, f"{refusal.next_step}. {step}", rule=refusal.rule, status=refusal.status)
