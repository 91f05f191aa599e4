# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Takes a root program out of the login session that it was started from.

The fence closes GPUs to everything in ``user.slice``, root with sudo included. A program of the platform that an administrator starts by
hand, or that Ansible starts through their account, moves itself into a scope of its own in ``system.slice`` before it asks the driver.
"""

from __future__ import annotations

import os

from .proc_facts import cgroup_of
from .systemd_bus import BusError, SystemdBus


def leave_session(name: str, bus: SystemdBus | None = None) -> str | None:
    """Move this process (with the children that it will have) into ``<name>-<pid>.scope``.

    Returns why it stays where it is, None when it has moved or there is nothing to leave: not root, or in no session.
    """
    if os.geteuid() != 0 or not cgroup_of(os.getpid()).startswith("/user.slice/"):
        return None
    bus = bus or SystemdBus()
    properties = [("PIDs", "au", [os.getpid()]), ("Slice", "s", "system.slice"), ("CollectMode", "s", "inactive-or-failed")]
    try:
        bus.start_transient(f"{name}-{os.getpid()}.scope", properties)
    except BusError as error:
        return f"this program stays in the login session, where GPUs are closed: {error}"
    finally:
        bus.close()
    return None
