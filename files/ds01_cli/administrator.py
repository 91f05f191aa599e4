# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Commands that change the platform are root's; who is behind sudo goes into the event log."""

from __future__ import annotations

import os
import sys

from ds01.core.event import Event
from ds01.event_log import EventLog
from ds01.policy_file import UserFacts, facts_by_name

from .failure import Failure
from .screen import paint


def need_root(command: str) -> str:
    """Who gives the command, by name; raises Failure for anybody but root."""
    if os.geteuid() != 0:
        raise Failure(f"{command} is for administrators", f"sudo {command}")
    return os.environ.get("SUDO_USER") or "root"


def person(name: str) -> UserFacts:
    """What the user database says about somebody; raises Failure."""
    try:
        return facts_by_name(name)
    except LookupError as error:
        raise Failure(str(error.args[0]), "") from None


def record(log: EventLog, event: Event) -> None:
    """Append to the event log; what can't be written there is said and stops nothing."""
    try:
        log.append(event)
    except OSError as error:
        print(f"{paint('ds01:', 'yellow')} done, but the event log {log.path} did not take it: {error}", file=sys.stderr)
