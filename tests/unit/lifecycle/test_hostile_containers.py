# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Files in a container whose owner has prepared for root's visit: nothing outside is read, written, waited for or deleted."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from ds01.container_files import FileTimes, NotInContainer, container_root, times, write
from ds01.keep_alive import keep_alive_age

ID = "ab" * 32
PID = 4242


@pytest.fixture
def inside(tmp_path: Path) -> Iterator[Path]:
    """The container's root; beside it a secret of the host, reachable by a link only."""
    process, root = tmp_path / "proc" / str(PID), tmp_path / "inside"
    (root / "dev/shm").mkdir(parents=True)
    (root / "workspace").mkdir()
    process.mkdir(parents=True)
    (process / "root").symlink_to(root)
    (process / "cgroup").write_text(f"0::/ds01.slice/ds01-u7.slice/ds01-u7-nogpu.slice/docker-{ID}.scope\n")
    (process / "environ").write_bytes(b"A=1\0HOME=/home/me\0")
    (tmp_path / "secret").write_text("host")
    yield root


def put(inside: Path, path: str = "/dev/shm/ds01-notice", text: bytes = b"hello\n") -> None:
    with container_root(PID, ID, str(inside.parent / "proc")) as root:
        write(root, path, text)


def secret(inside: Path) -> str:
    return (inside.parent / "secret").read_text()


def age(inside: Path, now: float) -> float | None:
    return keep_alive_age(PID, ID, now, str(inside.parent / "proc"))


def test_a_notice_arrives_whole_and_readable(inside: Path) -> None:
    put(inside)
    notice = inside / "dev/shm/ds01-notice"
    assert notice.read_bytes() == b"hello\n"
    assert notice.stat().st_mode & 0o777 == 0o644
    put(inside, text=b"second\n")
    assert notice.read_bytes() == b"second\n"
    assert os.listdir(inside / "dev/shm") == ["ds01-notice"], "something was left behind"


@pytest.mark.parametrize("target", ["../../../secret", "ABSOLUTE", "/proc/self/root/etc/passwd", "nowhere"])
def test_a_link_in_place_of_the_notice_is_replaced_and_not_followed(inside: Path, target: str) -> None:
    (inside / "dev/shm/ds01-notice").symlink_to(str(inside.parent / "secret") if target == "ABSOLUTE" else target)
    put(inside)
    assert secret(inside) == "host"
    assert not (inside / "dev/shm/ds01-notice").is_symlink()


@pytest.mark.parametrize("where", ["dev", "dev/shm"])
def test_a_link_in_place_of_a_directory_is_an_error(inside: Path, where: str) -> None:
    outside = inside.parent / "outside"
    (outside / "shm").mkdir(parents=True)
    (inside / "dev/shm").rmdir()
    if where == "dev":
        (inside / "dev").rmdir()
    (inside / where).symlink_to(outside if where == "dev" else outside / "shm")
    with pytest.raises(OSError):
        put(inside)
    assert list(outside.rglob("*")) == [outside / "shm"]


def test_a_pipe_a_socket_a_hard_link_and_a_directory_in_its_place(inside: Path) -> None:
    notice = inside / "dev/shm/ds01-notice"
    os.mkfifo(notice)
    put(inside)
    assert notice.is_file(), "root waited for a reader, or wrote into the pipe"
    notice.unlink()
    link = socket.socket(socket.AF_UNIX)
    here = os.getcwd()
    os.chdir(notice.parent)  # a socket's path may not be long
    try:
        link.bind(notice.name)
    finally:
        os.chdir(here)
    put(inside)
    assert notice.is_file()
    link.close()
    notice.unlink()
    os.link(inside.parent / "secret", notice)
    put(inside)
    assert secret(inside) == "host"
    notice.unlink()
    notice.mkdir()
    with pytest.raises(OSError):
        put(inside)
    assert os.listdir(inside / "dev/shm") == ["ds01-notice"]


@pytest.mark.parametrize("path", ["/dev/shm/../../../secret", "/..", "/", "", "/dev/shm/a\0b"])
def test_paths_that_lead_up_are_refused(inside: Path, path: str) -> None:
    with pytest.raises(ValueError, match="expected an absolute path"):
        put(inside, path)


@pytest.mark.parametrize("cgroup", ["0::/system.slice/ssh.service\n", f"0::/x/docker-{'cd' * 32}.scope\n", "", "0::/\n"])
def test_a_pid_that_is_somebody_elses_by_now_is_not_touched(inside: Path, cgroup: str) -> None:
    (inside.parent / "proc" / str(PID) / "cgroup").write_text(cgroup)
    with pytest.raises(NotInContainer):
        put(inside)
    assert os.listdir(inside / "dev/shm") == []
    assert age(inside, 0.0) is None


def test_a_process_that_has_ended_is_an_error_of_its_own(inside: Path) -> None:
    with pytest.raises(OSError), container_root(PID + 1, ID, str(inside.parent / "proc")):
        pass
    assert keep_alive_age(PID + 1, ID, 0.0, str(inside.parent / "proc")) is None


def test_the_keep_alive_file_counts_from_when_it_was_touched(inside: Path) -> None:
    assert age(inside, 1e9) is None
    file = inside / "workspace/.keep-alive"
    file.touch()
    changed = file.stat().st_ctime
    assert age(inside, changed + 50) == pytest.approx(50, abs=0.1)
    os.utime(file, (changed - 500, changed - 500))
    assert age(inside, changed + 50) == pytest.approx(550, abs=0.1)
    (inside / "home/me").mkdir(parents=True)
    (inside / "home/me/.keep-alive").touch()
    assert age(inside, changed + 60) == pytest.approx(60, abs=1)


def test_a_date_in_the_future_keeps_nothing_for_longer(inside: Path) -> None:
    file = inside / "workspace/.keep-alive"
    file.touch()
    os.utime(file, (4e9, 4e9))
    changed = file.stat().st_ctime
    assert age(inside, changed + 100000) == pytest.approx(100000, abs=1)
    assert age(inside, changed - 30) == 0.0
    assert age(inside, changed - 3600) is None


@pytest.mark.parametrize("plant", ["file", "directory"])
def test_a_linked_keep_alive_counts_for_nothing_outside(inside: Path, plant: str) -> None:
    fresh = inside.parent / "fresh"
    fresh.mkdir()
    (fresh / ".keep-alive").touch()
    if plant == "file":
        (inside / "workspace/.keep-alive").symlink_to(fresh / ".keep-alive")
        os.utime(inside / "workspace/.keep-alive", (5.0, 5.0), follow_symlinks=False)
        assert age(inside, 1e9) == pytest.approx(1e9 - 5.0), "the link itself is as old as it says"
    else:
        (inside / "workspace").rmdir()
        (inside / "workspace").symlink_to(fresh)
        assert age(inside, 1e9) is None


@pytest.mark.parametrize("home", [b"HOME=/../../..", b"HOME=relative", b"HOME=/a\xff\xfe", b"HOME=/" + b"x/" * 3000, b"NOTHING=1"])
def test_a_strange_home_is_no_harm(inside: Path, home: bytes) -> None:
    (inside.parent / "proc" / str(PID) / "environ").write_bytes(home + b"\0")
    (inside.parent / ".keep-alive").touch()
    assert age(inside, 4e9) is None


def test_times_follow_no_link(inside: Path) -> None:
    with container_root(PID, ID, str(inside.parent / "proc")) as root:
        assert times(root, "/nothing") is None
        (inside / "a").symlink_to("/etc")
        assert times(root, "/a/passwd") is None
        (inside / "b").write_text("")
        found = times(root, "/b")
    assert isinstance(found, FileTimes)
