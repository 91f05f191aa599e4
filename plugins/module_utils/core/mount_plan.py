# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""How directories that people can bind mount become nosuid and nodev: by their own filesystem's unit, or a bind mount of themselves.

A container's root can make a setuid file or a device node in what is bind mounted; these two options make that harmless on the host.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

REQUIRED = ("nosuid", "nodev")
UNITS = "/etc/systemd/system"
_PLAIN = re.compile(r"[A-Za-z0-9:_.]")
_OCTAL = re.compile(r"\\([0-7]{3})")


class MountError(Exception):
    """Raised where a directory can't be mounted as asked for; the message names it and says what would be right."""


@dataclass(frozen=True)
class Mount:
    """A line of /proc/self/mountinfo: the topmost mount at ``target``. ``options`` are those of the mount, not of the superblock."""

    target: str
    source: str
    fstype: str
    fs_root: str
    options: frozenset[str]


@dataclass(frozen=True)
class UnitFile:
    """A file below /etc/systemd/system with its content, and the mount unit that it is about."""

    path: str
    content: str
    unit: str


@dataclass(frozen=True)
class DirectoryPlan:
    """What one directory needs: its unit file, whether it is only to be remounted, and whether it already is as it ought to be."""

    directory: str
    unit_file: UnitFile
    bind: bool
    in_force: bool


def parse_mountinfo(text: str) -> dict[str, Mount]:
    """The topmost mount at every mount point, from the text of /proc/self/mountinfo (proc(5))."""
    mounts = {}
    for line in text.splitlines():
        head, separator, tail = line.partition(" - ")
        fields, more = head.split(" "), tail.split(" ")
        if not separator or len(fields) < 6 or len(more) < 2:
            continue
        target = _OCTAL.sub(lambda match: chr(int(match.group(1), 8)), fields[4])
        mounts[target] = Mount(target, more[1], more[0], fields[3], frozenset(fields[5].split(",")))
    return mounts


def unit_name(path: str) -> str:
    """The mount unit of a path, escaped as systemd-escape(1) does: ``/srv/a-b`` is ``srv-a\\x2db.mount``."""
    escaped = []
    for position, character in enumerate(path.strip("/").encode()):
        letter = chr(character)
        if letter == "/":
            escaped.append("-")
        elif _PLAIN.fullmatch(letter) and not (position == 0 and letter == "."):
            escaped.append(letter)
        else:
            escaped.append(f"\\x{character:02x}")
    return "".join(escaped) + ".mount"


def _with_required(options: str) -> str:
    kept = [option for option in options.split(",") if option and option not in ("suid", "dev", "defaults")]
    return ",".join([*kept, *(option for option in REQUIRED if option not in kept)])


def _bind_unit(directory: str) -> str:
    return f"""# Written by the role storage. Containers can only be harmless with what they mount from here while it is nosuid and nodev.
[Unit]
Description=Bind root {directory} without setuid files and device nodes
Before=local-fs.target docker.service

[Mount]
What={directory}
Where={directory}
Type=none
Options=bind,{",".join(REQUIRED)}

[Install]
WantedBy=local-fs.target
"""


def _drop_in(options: str) -> str:
    return f"""# Written by the role storage. Containers can only be harmless with what they mount from here while it is nosuid and nodev.
[Mount]
Options={_with_required(options)}
"""


def plan_directory(directory: str, mounts: Mapping[str, Mount], configured: Mapping[str, str]) -> DirectoryPlan:
    """``configured`` gives the options of mounts that fstab or a unit sets up, by mount point; a bind unit of ours is not among them."""
    if directory == "/" or not directory.startswith("/") or directory.endswith("/") or "/../" in directory or "//" in directory:
        raise MountError(f"{directory!r}: must be an absolute path below /, without '..' and a slash at its end")
    mount = mounts.get(directory)
    in_force = mount is not None and all(option in mount.options for option in REQUIRED)
    unit = unit_name(directory)
    if directory in configured:
        path = f"{UNITS}/{unit}.d/50-ds01.conf"
        return DirectoryPlan(directory, UnitFile(path, _drop_in(configured[directory]), unit), False, in_force)
    if mount is not None and mount.fstype == "autofs":
        raise MountError(f"{directory}: is mounted by an automounter; add {','.join(REQUIRED)} to its map instead of listing it here")
    is_own_bind = mount is not None and mount.fs_root != "/"
    if mount is not None and not is_own_bind:
        raise MountError(f"{directory}: is mounted by hand ({mount.source}); put it into /etc/fstab, so that it is mounted at boot too")
    return DirectoryPlan(directory, UnitFile(f"{UNITS}/{unit}", _bind_unit(directory), unit), True, in_force)


def fstab_options(text: str) -> dict[str, str]:
    """Mount point → options, from the text of /etc/fstab (fstab(5))."""
    found = {}
    for line in text.splitlines():
        fields = line.split()
        if len(fields) >= 3 and not fields[0].startswith("#") and fields[2] != "swap":
            target = _OCTAL.sub(lambda match: chr(int(match.group(1), 8)), fields[1])
            found[target] = fields[3] if len(fields) > 3 else "defaults"
    return found
