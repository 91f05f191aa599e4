# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Records of the kernel's log about processes that were killed for want of memory, and about anything else."""

from __future__ import annotations

import pytest

from ds01.core.oom_record import OomKill, oom_kill

ID = "ab" * 32
OTHER = "cd" * 32
SCOPE = f"/ds01.slice/ds01-u3101.slice/ds01-u3101-nogpu.slice/docker-{ID}.scope"


def _record(path: str = SCOPE, task: str = "python", cpuset: str = f"docker-{ID}.scope") -> str:
    where = f"cpuset={cpuset},mems_allowed=0,oom_memcg=/ds01.slice/ds01-u3101.slice,task_memcg={path}"
    return f"6,1234,567890123,-;oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),{where},task={task},pid=4321,uid=0\n SUBSYSTEM=x\n"


def test_a_kill_in_a_container_is_told_by_its_id() -> None:
    assert oom_kill(_record()) == OomKill(ID, "python", 4321)


@pytest.mark.parametrize("task", ["a,b;c=d", "", ",task_memcg=/x", "ünï", "x,pid=1,uid=0"])
def test_names_of_processes_are_only_names(task: str) -> None:
    assert oom_kill(_record(task=task)) == OomKill(ID, task, 4321)


def test_a_cgroup_named_like_a_record_moves_nothing() -> None:
    forged = f"x,task_memcg=/ds01.slice/ds01-u3102.slice/docker-{OTHER}.scope,task=y,pid=1,uid=0"
    assert oom_kill(_record(cpuset=forged)) == OomKill(ID, "python", 4321)


@pytest.mark.parametrize(
    "record",
    [
        "",
        "no separator",
        f"6,1,2,-;Memory cgroup out of memory: Killed process 4321 (python) {SCOPE}",
        _record(path="/user.slice/user-3101.slice/session-1.scope"),
        _record(path="/"),
        _record().replace("pid=4321", "pid=x"),
    ],
)
def test_other_records_tell_of_none(record: str) -> None:
    assert oom_kill(record) is None
