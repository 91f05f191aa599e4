# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Which directories may be bind roots, and what their placeholders become for one person.

Root in a container reads and writes all that is mounted into it, whatever its owner and mode. So no system directory, and no
directory that holds everybody's homes.
"""

from __future__ import annotations

import re

PLACEHOLDERS = ("user", "uid", "group", "home")
_SYSTEM = (
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/lost+found",
    "/opt/ds01",
    "/proc",
    "/root",
    "/run",
    "/sbin",
    "/sys",
    "/tmp",
    "/usr",
    "/var/cache",
    "/var/lib",
    "/var/log",
    "/var/run",
    "/var/spool",
    "/var/tmp",
)
_ALONE = ("/", "/home", "/opt", "/srv", "/mnt", "/media", "/var")
_BRACES = re.compile(r"\{([^{}]*)\}")


def refusal_of_root(path: str) -> str | None:
    """Why a path can't be a bind root, saying what would be right; None where it can."""
    for name in _BRACES.findall(path):
        if name not in PLACEHOLDERS:
            return f"{{{name}}} is no placeholder; expected {', '.join('{' + known + '}' for known in PLACEHOLDERS)}"
    if "{" in _BRACES.sub("", path) or "}" in _BRACES.sub("", path):
        return "a brace is left open; expected placeholders such as {user}"
    if "{home}" in path and not path.startswith("{home}"):
        return "{home} is an absolute path; expected it at the beginning"
    if path in _ALONE:
        return f"holds other people's and the system's files; expected a directory below it, such as {path.rstrip('/')}/{{user}}"
    for system in _SYSTEM:
        if path == system or path.startswith(system + "/"):
            return f"is a directory of the system ({system}); expected one for people's data, such as {{home}} or /scratch/{{user}}"
    return None


def fill(path: str, *, user: str, uid: int | None, group: str, home: str | None) -> str | None:
    """The bind root for one person; None where a placeholder can't be filled in safely, so that the root is left out."""
    values = {"user": user, "uid": None if uid is None else str(uid), "group": group, "home": home}
    for name in _BRACES.findall(path):
        value = values.get(name)
        if not value or (name == "home" and not _safe_home(value)) or (name != "home" and not _safe_part(value)):
            return None
        path = path.replace(f"{{{name}}}", value)
    return path if refusal_of_root(path) is None else None


def _safe_part(value: str) -> bool:
    return value not in (".", "..") and "/" not in value and "\0" not in value and "{" not in value


def _safe_home(value: str) -> bool:
    parts = value.split("/")[1:]
    return value.startswith("/") and all(part not in ("", ".", "..") for part in parts) and "\0" not in value and "{" not in value
