# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Sends a short mail, over SMTP to a relay or through the host's own sendmail. Raises MailError with what went wrong."""

from __future__ import annotations

import os
import smtplib
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.message import EmailMessage

SENDMAIL = "/usr/sbin/sendmail"
_TIMEOUT_S = 10.0


class MailError(Exception):
    """A mail was not taken; the message says by whom and why."""


@dataclass(frozen=True)
class MailSettings:
    """``relay`` is host:port, empty for the host's sendmail. Who gets mail: ``addresses`` by user name, else ``user@domain`` where a
    domain is set; nobody else."""

    sender: str = ""
    relay: str = ""
    domain: str = ""
    addresses: Mapping[str, str] = field(default_factory=dict)
    sendmail: str = SENDMAIL

    def address(self, user: str) -> str | None:
        """Where this person's mail goes; None where that is not known."""
        known = self.addresses.get(user) or (f"{user.split('@', 1)[0]}@{self.domain}" if self.domain else "")
        return known if known and "@" in known and all(one.isprintable() and not one.isspace() for one in known) else None


def message(settings: MailSettings, to: str, subject: str, text: str) -> EmailMessage:
    """The mail; header values are cleaned of line breaks by being one line already. Raises ValueError for an address that is none."""
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = settings.sender, to, subject
    mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: no holiday replies
    mail.set_content(text)
    return mail


def send(settings: MailSettings, to: str, subject: str, text: str) -> None:
    """Hand one mail over; raises MailError."""
    try:
        mail = message(settings, to, subject, text)
        if settings.relay:
            host, _, port = settings.relay.partition(":")
            with smtplib.SMTP(host, int(port or 25), timeout=_TIMEOUT_S) as link:
                link.send_message(mail)
            return
        if not os.access(settings.sendmail, os.X_OK):
            raise MailError(f"{settings.sendmail} is not there; install a mail transport, or name a relay host")
        argv = [settings.sendmail, "-i", "-f", settings.sender, "--", to]
        done = subprocess.run(argv, input=mail.as_bytes(), check=False, capture_output=True, timeout=_TIMEOUT_S)
        if done.returncode != 0:
            raise MailError(f"{settings.sendmail} ended with {done.returncode}: {done.stderr.decode('utf-8', 'replace').strip()[:200]}")
    except (OSError, ValueError, smtplib.SMTPException, subprocess.SubprocessError) as error:
        raise MailError(f"mail to {to}: {error}") from error
