# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""What a line of the kernel's log says about a process that it killed for want of memory.

The line is ``dump_oom_victim``'s of mm/oom_kill.c (Linux 5.0 and newer):
``oom-kill:constraint=…,nodemask=…,cpuset=…,mems_allowed=…,oom_memcg=PATH,task_memcg=PATH,task=NAME,pid=N,uid=N``.
Names of cgroups and processes in it are people's: it is read from its end, where a name of 15 characters (the kernel's most) can't hold
another ``task_memcg``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from .cgroup_path import place

_RECORD = re.compile(r"oom-kill:.*,task_memcg=(?P<path>/[^,]*),task=(?P<task>.{0,15}),pid=(?P<pid>\d{1,10}),uid=\d{1,10}")


@dataclass(frozen=True)
class OomKill:
    """A process of a container that the kernel killed."""

    container_id: str
    task: str
    pid: int


def oom_kill(record: str) -> OomKill | None:
    """The kill that a record of /dev/kmsg tells of (``PRIORITY,SEQUENCE,TIME,FLAGS;TEXT`` and further lines); None for any other record."""
    text = record.partition(";")[2].partition("\n")[0]
    match = _RECORD.fullmatch(text)
    if match is None:
        return None
    container_id = place(match["path"]).container_id
    return OomKill(container_id, match["task"], int(match["pid"])) if container_id else None
