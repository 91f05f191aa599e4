# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Whether a container's processes live is asked of the kernel, and no other process is ever hit."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ds01.cgroup_fs import CgroupFs
from ds01.claim_occupants import ProcOccupants, SliceOccupants
from tests.allocation_examples import claim

ONE, TWO = claim(1, ()), claim(2, ())
V1 = "12:devices:/docker/{id}\n3:cpu,cpuacct:/docker/{id}\n0::/\n"
V2 = "0::/ds01.slice/ds01-u1000.slice/ds01-u1000-c1.slice/docker-{id}.scope\n"
INNER = "0::/system.slice/docker-{id}.scope/init/app.service\n"
REMOVED = "0::/docker-{id}.scope (deleted)\n"
ELSEWHERE = "0::/user.slice/user-1000.slice/session-1.scope\n"


def put(root: Path, pid: int, cgroup: str, threads: str = "S") -> None:
    """A process as /proc shows it; one letter a thread."""
    directory = root / str(pid)
    directory.mkdir()
    (directory / "cgroup").write_text(cgroup)
    for number, state in enumerate(threads):
        thread = directory / "task" / str(pid + number)
        thread.mkdir(parents=True)
        (thread / "stat").write_text(f"{pid + number} (a) b (x) {state} 1 1 1\n")


class TestProc:
    @pytest.mark.parametrize("form", [V1, V2, INNER, REMOVED])
    def test_a_process_is_found_in_either_version_of_cgroups(self, tmp_path: Path, form: str) -> None:
        put(tmp_path, 10, form.format(id=ONE.container_id))
        put(tmp_path, 20, ELSEWHERE)
        (tmp_path / "sys").mkdir()
        assert ProcOccupants(tmp_path).living([ONE, TWO]) == {ONE.id}

    @pytest.mark.parametrize(("threads", "lives"), [("Z", False), ("X", False), ("ZS", True), ("ZZ", False), ("D", True), ("T", True)])
    def test_the_dead_hold_nothing(self, tmp_path: Path, threads: str, lives: bool) -> None:
        put(tmp_path, 10, V1.format(id=ONE.container_id), threads)
        assert ProcOccupants(tmp_path).living([ONE]) == ({ONE.id} if lives else set())

    def test_a_name_that_only_begins_like_it_is_another(self, tmp_path: Path) -> None:
        put(tmp_path, 10, f"0::/x{ONE.container_id}\n1:a:/docker/{ONE.container_id}0\n")
        assert ProcOccupants(tmp_path).living([ONE]) == set()

    def test_what_cannot_be_asked_is_no_answer(self, tmp_path: Path) -> None:
        with pytest.raises(OSError, match="No such file"):
            ProcOccupants(tmp_path / "absent").living([ONE])

    def test_processes_of_now_are_read_without_trouble(self) -> None:
        assert ProcOccupants().living([ONE]) == set()


@pytest.fixture
def sleepers() -> Iterator[list[subprocess.Popen[bytes]]]:
    made = [subprocess.Popen(["sleep", "600"]) for _ in range(2)]
    yield made
    for one in made:
        one.kill()
        one.wait()


class TestEnd:
    def test_only_processes_of_that_container_are_killed(self, tmp_path: Path, sleepers: list[subprocess.Popen[bytes]]) -> None:
        for owner, process in zip((ONE, TWO), sleepers, strict=True):
            put(tmp_path, process.pid, V1.format(id=owner.container_id))
        ProcOccupants(tmp_path).end(ONE)
        assert sleepers[0].wait(10) == -9
        assert sleepers[1].poll() is None

    def test_a_pid_that_is_used_again_is_not_hit(
        self, tmp_path: Path, sleepers: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Between the look and the opening the process has gone, and somebody else's has its pid."""
        victim = sleepers[1]
        put(tmp_path, victim.pid, V1.format(id=ONE.container_id))
        opened = os.pidfd_open

        def late(pid: int) -> int:
            (tmp_path / str(pid) / "cgroup").write_text(V1.format(id=TWO.container_id))
            return opened(pid)

        monkeypatch.setattr(os, "pidfd_open", late)
        ProcOccupants(tmp_path).end(ONE)
        assert victim.poll() is None

    def test_one_that_is_gone_by_then_is_no_error(self, tmp_path: Path, sleepers: list[subprocess.Popen[bytes]]) -> None:
        sleepers[0].kill()
        sleepers[0].wait()
        put(tmp_path, sleepers[0].pid, V1.format(id=ONE.container_id))
        ProcOccupants(tmp_path).end(ONE)


class TestSlices:
    def slice_of(self, root: Path, uid: int, claim_id: str, populated: int) -> Path:
        directory = root / "ds01.slice" / f"ds01-u{uid}.slice" / f"ds01-u{uid}-{claim_id}.slice"
        directory.mkdir(parents=True)
        (directory / "cgroup.events").write_text(f"populated {populated}\nfrozen 0\n")
        (directory / "cgroup.kill").touch()
        return directory

    def test_the_slice_says_it(self, tmp_path: Path) -> None:
        self.slice_of(tmp_path, 1000, ONE.id, 1)
        self.slice_of(tmp_path, 1000, TWO.id, 0)
        assert SliceOccupants(CgroupFs(tmp_path)).living([ONE, TWO, claim(3, ())]) == {ONE.id}

    def test_a_slice_that_cannot_be_read_is_no_answer(self, tmp_path: Path) -> None:
        events = self.slice_of(tmp_path, 1000, ONE.id, 0) / "cgroup.events"
        events.unlink()
        events.mkdir()
        with pytest.raises(IsADirectoryError):
            SliceOccupants(CgroupFs(tmp_path)).living([ONE])

    def test_only_that_slice_is_killed(self, tmp_path: Path) -> None:
        one, two = self.slice_of(tmp_path, 1000, ONE.id, 1), self.slice_of(tmp_path, 1000, TWO.id, 1)
        SliceOccupants(CgroupFs(tmp_path)).end(ONE)
        assert ((one / "cgroup.kill").read_text(), (two / "cgroup.kill").read_text()) == ("1", "")

    def test_a_slice_that_is_gone_needs_no_killing_and_a_kernel_without_the_file_is_an_error(self, tmp_path: Path) -> None:
        occupants = SliceOccupants(CgroupFs(tmp_path))
        occupants.end(ONE)
        (self.slice_of(tmp_path, 1000, ONE.id, 1) / "cgroup.kill").unlink()
        with pytest.raises(FileNotFoundError):
            occupants.end(ONE)
