# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Root of a container cannot move files out of their owner's project quota, by whatever entry it asks the kernel."""

from __future__ import annotations

import errno
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ..daemons import Daemon
from ..guarded import guarded
from ..lab import Lab

Probe = Callable[..., dict[str, int]]
OWNED = ("--label", "ds01.uid=1001", "--cgroup-parent", "/ds01.slice/ds01-u1001.slice/ds01-u1001-nogpu.slice")
NEIGHBOURS = 4 * 3 * 32
"""Every request that is one bit beside a forbidden one, for each upper half."""


@pytest.fixture(scope="module")
def daemon(lab: Lab) -> Iterator[Daemon]:
    """dockerd 28 with the guard as default runtime."""
    with guarded("sid", lab, lab.path / "projects") as daemon:
        yield daemon


@pytest.fixture(scope="module")
def probe(lab: Lab, daemon: Daemon) -> Probe:
    """Run the probe on a terminal in a container with these options; what each request was answered."""
    directory = daemon.lab / "probe"
    directory.mkdir()
    source = Path(__file__).with_name("project_probe.c")
    subprocess.run(["cc", "-static", "-O1", "-o", str(directory / "probe"), str(source)], check=True)
    volume = ("volume", "create", "--opt", "type=none", "--opt", "o=bind", "--opt", f"device={directory}", "probe")
    assert lab.run(daemon.socket, None, *volume).returncode == 0

    def run(*options: str) -> dict[str, int]:
        done = lab.run(daemon.socket, None, "run", "--rm", "-t", "--network", "none", "-v", "probe:/p:ro", *options, "busybox", "/p/probe")
        assert done.returncode == 0, done.stdout + done.stderr
        lines = [line.strip().rpartition(" ") for line in done.stdout.splitlines()]
        return {name.rstrip(":"): int(answer) for name, _, answer in lines}

    return run


@pytest.mark.parametrize("options", [OWNED, (), (*OWNED, "--user", "1001", "--cap-drop", "ALL")], ids=["root", "unlabelled", "user"])
def test_project_ids_cannot_be_changed_and_every_other_request_passes(probe: Probe, options: tuple[str, ...]) -> None:
    seen = probe(*options)
    forbidden = {name: answer for name, answer in seen.items() if "forbidden" in name}
    by_native = [name for name in forbidden if name.startswith("forbidden")]
    assert len(by_native) == 12
    assert {forbidden[name] for name in by_native} == {errno.EPERM}
    # The two older ABIs, where the kernel has them: -1, no entry at all.
    assert {answer for name, answer in forbidden.items() if name not in by_native} <= {errno.EPERM, -1}
    assert seen.get("i386 ordinary", -1) in (errno.EBADF, -1)
    assert (seen["neighbours passed"], seen["neighbours held"]) == (NEIGHBOURS, 0)
    assert (seen["getxattr"], seen["getflags"], seen["winsize"]) == (errno.EBADF, errno.EBADF, 0)
    assert seen["file_setattr"] in (errno.EPERM, errno.ENOSYS)
    assert seen["io_uring_setup"] in (errno.EPERM, errno.ENOSYS)


def test_without_the_guard_the_same_requests_reach_the_kernel(probe: Probe) -> None:
    seen = probe("--runtime", "runc")
    assert {answer for name, answer in seen.items() if name.startswith("forbidden")} == {errno.EBADF}


def test_a_process_that_joins_later_is_held_too(lab: Lab, daemon: Daemon, probe: Probe) -> None:
    started = lab.run(
        daemon.socket, None, "run", "-d", "--name", "later", "--network", "none", "-v", "probe:/p:ro", *OWNED, "busybox", "sleep", "1000"
    )
    assert started.returncode == 0, started.stderr
    try:
        done = lab.run(daemon.socket, None, "exec", "later", "/p/probe")
        answers = [line.split()[-1] for line in done.stdout.splitlines() if line.startswith("forbidden")]
        assert answers == [str(errno.EPERM)] * 12
    finally:
        lab.run(daemon.socket, None, "rm", "-f", "later")
