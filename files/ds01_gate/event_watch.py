# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Follows dockerd's events of containers with a claim, and keeps time: holds that run out, regular reconciling, restarts that failed.

The stream is opened before the first look at all containers and reopened from the last event seen, so that nothing falls in between.
"""

from __future__ import annotations

import json
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

from ds01.allocator import AllocationError
from ds01.core.limits import Limits
from ds01.docker_upstream import DaemonRefused, DaemonUnavailable, DockerClient, Link
from ds01_gate.audit import Audit
from ds01_gate.claim_keeper import CLAIM_LABEL, ClaimKeeper

_EVENTS = ("die", "destroy", "start")
_RETRY_SECONDS = 1.0
_FIRST_LOOKS = (5.0, 15.0)


class EventWatch:
    """Two threads: one reads events, one keeps time. ``limits_of`` gives the limits of an owner by uid."""

    def __init__(
        self, docker: DockerClient, keeper: ClaimKeeper, limits_of: Callable[[int], Limits], audit: Audit, every_seconds: float
    ) -> None:
        self._docker = docker
        self._keeper = keeper
        self._limits_of = limits_of
        self._audit = audit
        self._every = every_seconds
        self._ending = threading.Event()
        self._news = threading.Event()
        self._link: Link | None = None

    def start(self) -> None:
        """Start both threads."""
        threading.Thread(target=self._follow, name="events", daemon=True).start()
        threading.Thread(target=self._keep_time, name="time", daemon=True).start()

    def stop(self) -> None:
        """End both threads soon."""
        self._ending.set()
        self._news.set()
        if self._link is not None:
            self._link.close()

    def _follow(self) -> None:
        since = time.time()
        while not self._ending.is_set():
            try:
                filters = json.dumps({"type": ["container"], "event": list(_EVENTS), "label": [CLAIM_LABEL]})
                self._link, events = self._docker.events({"since": f"{since:.9f}", "filters": filters})
                self._settle(first=True)
                for event in events:
                    since = max(since, event["timeNano"] / 1e9)
                    self._guarded(lambda event=event: self._seen(event))  # type: ignore[misc]
            except (DaemonUnavailable, DaemonRefused, OSError, ValueError) as error:
                if not self._ending.is_set():
                    self._audit.note("events_lost", why=str(error))
            self._ending.wait(_RETRY_SECONDS)

    def _seen(self, event: dict[str, Any]) -> None:
        action, actor = event["Action"], event["Actor"]
        claim_id = actor["Attributes"].get(CLAIM_LABEL)
        if claim_id is None:
            return
        if action == "destroy":
            self._keeper.drop(actor["ID"], claim_id)
        elif action == "die":
            self._keeper.ended(actor["ID"], claim_id, event["timeNano"] / 1e9)
            self._news.set()
        elif action == "start" and self._is_let_go(claim_id):
            # Started behind the gate's back while its claim was still held or just ending: by a restart policy, or by root.
            self._settle(first=False)

    def _is_let_go(self, claim_id: str) -> bool:
        claim = next((one for one in self._keeper.allocator.claims() if one.id == claim_id), None)
        return claim is not None and (claim.held_until is not None or claim.ending_since is not None)

    def _settle(self, *, first: bool) -> None:
        """Bring claims in line with the containers, and start what dockerd could not."""
        self._guarded(lambda: self._keeper.reconcile(first=first))
        self._guarded(lambda: self._keeper.restart_failed(self._limits_of))

    def _keep_time(self) -> None:
        looks = iter(min(look, self._every) for look in _FIRST_LOOKS)
        next_look = time.monotonic() + next(looks)
        while not self._ending.is_set():
            self._news.clear()
            left: float | None = None
            try:
                left = self._keeper.expire()
            except (AllocationError, OSError) as error:
                self._audit.note("expiry_failed", why=str(error))
            until_look = next_look - time.monotonic()
            if until_look <= 0:
                self._settle(first=False)
                next_look = time.monotonic() + next(looks, self._every)
                continue
            self._news.wait(until_look if left is None else min(until_look, max(left, 0.01)))

    def _guarded(self, work: Callable[[], Any]) -> None:
        """Do ``work``; what goes wrong is written down and tried again with the next look."""
        try:
            work()
        except (AllocationError, DaemonRefused, DaemonUnavailable) as error:
            self._audit.note("reconcile_failed", why=str(error))
        except Exception:
            self._audit.note("exception", trace=traceback.format_exc())
