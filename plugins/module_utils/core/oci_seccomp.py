# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Keeps root of a container from moving files out of their owner's project quota.

Without a user namespace the kernel lets the owner of a file change its project id (``FS_IOC_FSSETXATTR``) and let a directory no longer
hand its id on (``FS_IOC_SETFLAGS``, the flag ``P`` of chattr). So ``ioctl`` is allowed for every request but these.

The kernel reads a request as 32 bits, seccomp compares 64: one rule "not equal" is passed by setting a bit above. Each rule
here looks at bits of the lower half only, and allows the requests in which these differ from a forbidden one.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

FORBIDDEN_REQUESTS = (0x401C5820, 0x40086602, 0x40046602)
"""FS_IOC_FSSETXATTR, FS_IOC_SETFLAGS and FS_IOC32_SETFLAGS (linux/fs.h); ext4, xfs and f2fs give the same numbers other names."""
_NEVER = ("file_setattr",)
"""A call of its own for the same (Linux 6.17)."""
_REFUSING = ("SCMP_ACT_ERRNO", "SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_TRAP")
_BITS = tuple(1 << number for number in range(32))


def all_but(values: tuple[int, ...], mask: int = 0, datum: int = 0, treated: int = 0) -> Iterator[tuple[int, int]]:
    """Pairs (mask, datum): a number has ``number & mask == datum`` for one of them exactly if its lower 32 bits are none of ``values``.

    Bits in which all values agree take one pair each. By one of the others the values are parted, and each part is treated
    for itself; ``mask``, ``datum`` say which part this is, and ``treated`` which bits are done.
    """
    disagree = 0
    for value in values:
        disagree |= value ^ values[0]
    for bit in _BITS:
        if not bit & (treated | disagree):
            yield mask | bit, datum | (bit & ~values[0])
    if disagree:
        parting = disagree & -disagree
        for side in (0, parting):
            part = tuple(value for value in values if value & parting == side)
            yield from all_but(part, mask | parting, datum | side, ~disagree | parting)


def _allowing(mask: int, datum: int) -> dict[str, Any]:
    request = {"index": 1, "value": mask, "valueTwo": datum, "op": "SCMP_CMP_MASKED_EQ"}
    return {"names": ["ioctl"], "action": "SCMP_ACT_ALLOW", "args": [request]}


def keep_projects(spec: dict[str, Any]) -> None:
    """Change ``linux.seccomp.syscalls`` of a spec; one that has no such list is left to the rule that refuses it.

    What a profile of the site's own allows ``ioctl`` on conditions, it allows no longer: the conditions might hold for these requests.
    """
    seccomp = (spec.get("linux") or {}).get("seccomp") or {}
    if not seccomp.get("syscalls"):
        return
    rules = [_allowing(mask, datum) for mask, datum in all_but(FORBIDDEN_REQUESTS)]
    kept: list[dict[str, Any]] = []
    ioctl_allowed = False
    for entry in seccomp["syscalls"]:
        names = entry["names"]
        if entry["action"] not in _REFUSING and ("ioctl" in names or any(name in names for name in _NEVER)):
            unconditional = entry["action"] == "SCMP_ACT_ALLOW" and not entry.get("args")
            ioctl_allowed = ioctl_allowed or ("ioctl" in names and (unconditional or entry in rules))
            names = [name for name in names if name != "ioctl" and name not in _NEVER]
            entry = {**entry, "names": names}
        if names:
            kept.append(entry)
    seccomp["syscalls"] = kept + (rules if ioctl_allowed else [])
