# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Where the program finds and puts things, and how mail is sent: paths of a server, and ``/etc/ds01/lifecycle.json`` of the role."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ds01 import json_state
from ds01.disk_quota import SETTINGS as DISK
from ds01.event_log import EVENT_LOG
from ds01.exemption_file import EXEMPTIONS
from ds01.gpu_use import INVENTORY
from ds01.inbox import INBOX
from ds01.mail import MailSettings
from ds01.maintenance_file import MAINTENANCE
from ds01.policy_file import POLICY_PATH
from ds01.queue_file import QUEUE
from ds01.terminals import PTS

SETTINGS = "/etc/ds01/lifecycle.json"


@dataclass(frozen=True)
class Places:
    """Files, directories and sockets; tests put others in their place."""

    docker: str = "/run/docker-root/docker.sock"
    policy: str = POLICY_PATH
    exemptions: str = EXEMPTIONS
    volatile: str = "/run/ds01/lifecycle.json"
    lasting: str = "/var/lib/ds01/lifecycle.json"
    lock: str = "/run/ds01/lifecycle.lock"
    outlook: Path = Path("/run/ds01/outlook")
    inventory: str = INVENTORY
    inbox: Path = INBOX
    events: str = EVENT_LOG
    claims: Path = Path("/run/cdi")
    claims_lock: Path = Path("/run/ds01/claims.lock")
    queue: str = QUEUE
    maintenance: str = MAINTENANCE
    disk: Path = DISK
    cgroups: Path = Path("/sys/fs/cgroup")
    proc: str = "/proc"
    pts: str = PTS


def mail_settings(path: str = SETTINGS) -> MailSettings | None:
    """How mail is sent; None where the file or its ``mail`` is absent. Raises StateError naming file and key."""
    document = json_state.read(path)
    if document is None or document == {}:
        return None
    mail = document.get("mail") if isinstance(document, Mapping) else None
    if not isinstance(mail, Mapping):
        raise json_state.StateError(f'{path}: expected {{"mail": {{…}}}}, or {{}} for no mail')
    values: dict[str, Any] = {}
    for key in ("sender", "relay", "domain"):
        if not isinstance(mail.get(key), str):
            raise json_state.StateError(f"{path}: mail.{key}={mail.get(key)!r}: expected text")
        values[key] = mail[key]
    addresses = mail.get("addresses")
    if not isinstance(addresses, Mapping) or not all(isinstance(one, str) for one in addresses.values()):
        raise json_state.StateError(f"{path}: mail.addresses={addresses!r}: expected an address for each user name")
    return MailSettings(addresses=dict(addresses), **values)
