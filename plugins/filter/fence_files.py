# Copyright (c) ds01.infra contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter from the services that run people's code to the drop-ins of the fence around GPUs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.ds01.infra.plugins.module_utils.core.device_filter import WITHOUT_NVIDIA, unit_lines

UNITS = "/etc/systemd/system"
DROP_IN = "50-ds01-gpu.conf"
_HEAD = "# Written by the role bare_metal.\n"


def fence_files(services: Any, enforced: Any = True) -> list[dict[str, Any]]:
    """The entries of ``config_files``: sessions and services closed to NVIDIA devices, root open; all absent when not enforced."""
    entries = [
        _entry("user-.slice", _closed("Slice"), bool(enforced)),
        _entry("user-0.slice", f"{_HEAD}[Slice]\nDevicePolicy=auto\nDeviceAllow=\n", bool(enforced)),
    ]
    for service in services:
        if not isinstance(service, Mapping) or not str(service.get("name", "")).endswith(".service") or "/" in service["name"]:
            raise AnsibleFilterError(f"fence_files: {service!r}: expected a mapping with the name of a service, such as cron.service")
        wanted = bool(enforced) and service.get("state", "present") == "present"
        entries.append(_entry(str(service["name"]), _closed("Service"), wanted))
    return entries


def _closed(section: str) -> str:
    return "\n".join([_HEAD + f"[{section}]", *unit_lines(WITHOUT_NVIDIA)]) + "\n"


def _entry(unit: str, text: str, present: bool) -> dict[str, Any]:
    path = f"{UNITS}/{unit}.d/{DROP_IN}"
    return {"path": path, "content": text} if present else {"path": path, "state": "absent"}


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Any]:
        """Name → function."""
        return {"fence_files": fence_files}
