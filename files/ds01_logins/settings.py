# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""What the role logins tells the program: ``/etc/ds01/logins.json``."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from ds01.mail import MailSettings

SETTINGS = Path("/etc/ds01/logins.json")


class SettingsError(Exception):
    """The settings can't be used; says which key and what it should be."""


@dataclass(frozen=True)
class Settings:
    """``mail_to``: addresses that get the summary, where ``mail`` has a sender."""

    mail_to: tuple[str, ...] = ()
    mail: MailSettings = field(default_factory=MailSettings)


def load(path: Path = SETTINGS) -> Settings:
    """The settings; raises SettingsError."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path}: {error}; the role logins writes it") from error
    to = data.get("mail_to") if isinstance(data, dict) else None
    if not isinstance(to, list) or not all(isinstance(one, str) and "@" in one for one in to):
        raise SettingsError(f"{path}: mail_to is {to!r}, expected a list of mail addresses")
    sender, relay = data.get("sender", ""), data.get("relay", "")
    if not isinstance(sender, str) or not isinstance(relay, str):
        raise SettingsError(f"{path}: sender and relay are {sender!r} and {relay!r}, expected text")
    return Settings(tuple(to), MailSettings(sender=sender, relay=relay))
