# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The guard as dockerd's default runtime: the attacks come on root's own socket, as if the gate had let everything through."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest

from ..daemons import Daemon
from ..guarded import guarded, settings_file
from ..lab import Lab

Docker = Callable[..., tuple[int, str]]
OWNED = ("--label", "ds01.uid=1001", "--cgroup-parent", "/ds01.slice/ds01-u1001.slice/ds01-u1001-nogpu.slice")
CLAIM = "c0123456789ab"
CLAIMED = (
    *("--label", "ds01.uid=1001", "--label", f"ds01.claim={CLAIM}", "--device", f"ds01.infra/gpu={CLAIM}"),
    *("--cgroup-parent", f"/ds01.slice/ds01-u1001.slice/ds01-u1001-{CLAIM}.slice"),
)


@pytest.fixture(scope="module")
def daemon(lab: Lab) -> Iterator[Daemon]:
    """dockerd 26 with the guard as default runtime."""
    with guarded("trixie", lab, lab.path / "guard") as daemon:
        yield daemon


@pytest.fixture
def docker(lab: Lab, daemon: Daemon) -> Docker:
    """Run the docker CLI as root on the daemon's own socket."""

    def run(*arguments: str) -> tuple[int, str]:
        done = lab.run(daemon.socket, None, *arguments)
        return done.returncode, done.stdout + done.stderr

    return run


def _run(docker: Docker, *options: str, command: tuple[str, ...] = ("echo", "it ran")) -> tuple[int, str]:
    return docker("run", "--rm", "--network", "none", *options, "busybox", *command)


def test_ordinary_containers_run(docker: Docker) -> None:
    for options in (
        OWNED,
        (),
        (*OWNED, "--init"),
        (*OWNED, "--read-only", "--tmpfs", "/t"),
        (*OWNED, "--user", "1001", "--cap-drop", "ALL"),
        (*OWNED, "-v", "/anonymous"),
    ):
        assert _run(docker, *options) == (0, "it ran\n"), options


def test_a_volume_with_subpath_runs(docker: Docker, daemon: Daemon) -> None:
    home = daemon.lab / "home"
    (home / "work").mkdir(parents=True)
    (home / "work" / "file").write_text("hello")
    made = docker("volume", "create", "--opt", "type=none", "--opt", "o=rbind", "--opt", f"device={home}", "guarded")
    assert made[0] == 0, made
    mount = "type=volume,source=guarded,target=/w,volume-nocopy,volume-subpath=work"
    assert _run(docker, *OWNED, "--mount", mount, command=("cat", "/w/file")) == (0, "hello")


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        (("--privileged",), "capabilities"),
        (("--cap-add", "SYS_ADMIN"), "capabilities"),
        (("-v", "/etc:/m"), "mounts"),
        (("-v", "/:/m:ro"), "mounts"),
        (("-v", "/run/docker-exec:/m"), "mounts"),
        (("--pid", "host"), "namespaces"),
        (("--network", "host"), "namespaces"),
        (("--ipc", "host"), "namespaces"),
        (("--uts", "host"), "namespaces"),
        (("--device", "/dev/kmsg"), "devices"),
        (("--device-cgroup-rule", "a *:* rwm"), "device rules"),
        (("--device-cgroup-rule", "c 195:* rw"), "device rules"),
        (("--security-opt", "seccomp=unconfined"), "confinement"),
        (("--security-opt", "systempaths=unconfined"), "confinement"),
        (("--sysctl", "kernel.msgmax=1000"), "confinement"),
        (("--oom-score-adj", "-500"), "confinement"),
        (("--annotation", "org.systemd.property.TasksMax=uint64 1"), "annotations"),
        (("--cgroup-parent", "/ds01.slice/ds01-u1002.slice/ds01-u1002-nogpu.slice"), "cgroup"),
        (("--cgroup-parent", "/system.slice"), "cgroup"),
        (("--cgroup-parent", "/"), "cgroup"),
    ],
)
def test_what_the_gate_might_have_let_through_does_not_start(docker: Docker, options: tuple[str, ...], rule: str) -> None:
    code, output = (
        _run(docker, *OWNED, *options)
        if options[0] != "--network"
        else docker("run", "--rm", *OWNED, *options, "busybox", "echo", "it ran")
    )
    assert code == 125 or code == 126, output
    assert "it ran" not in output
    assert "ds01-guard: start refused" in output
    assert f"({rule})" in output


def test_a_claim_reaches_exactly_its_devices_and_only_in_its_slice(docker: Docker, daemon: Daemon) -> None:
    nodes = [{"path": "/dev/nvidia0", "type": "c", "major": 195, "minor": 0}]
    edits = {"name": CLAIM, "containerEdits": {"deviceNodes": nodes}}
    (daemon.cdi_dir / f"ds01-{CLAIM}.json").write_text(json.dumps({"cdiVersion": "0.6.0", "kind": "ds01.infra/gpu", "devices": [edits]}))
    try:
        assert _run(docker, *CLAIMED, command=("ls", "/dev/nvidia0")) == (0, "/dev/nvidia0\n")
        code, output = _run(docker, *CLAIMED, "--device-cgroup-rule", "c 195:1 rw")
        assert code == 125 and "195:1" in output
        stolen = (
            "--label",
            "ds01.uid=1002",
            "--device",
            f"ds01.infra/gpu={CLAIM}",
            "--cgroup-parent",
            "/ds01.slice/ds01-u1002.slice/ds01-u1002-nogpu.slice",
        )
        code, output = _run(docker, *stolen)
        assert code == 125 and "not in the claim" in output
    finally:
        (daemon.cdi_dir / f"ds01-{CLAIM}.json").unlink()


def test_exec_works_but_not_privileged(docker: Docker) -> None:
    assert docker("run", "-d", "--name", "execs", "--network", "none", *OWNED, "busybox", "sleep", "1000")[0] == 0
    try:
        assert docker("exec", "execs", "echo", "inside") == (0, "inside\n")
        for word in ("CAP_SYS_ADMIN", '"CAP_SYS_ADMIN"'):
            assert docker("exec", "--env", f"X={word}", "execs", "echo", word) == (0, f"{word}\n")
        for words in (("inside",), ("CAP_SYS_ADMIN",)):
            code, output = docker("exec", "--privileged", "execs", "echo", *words)
            assert code != 0 and "exec refused" in output and "CAP_SYS_ADMIN" in output
    finally:
        docker("rm", "-f", "execs")


def test_namespaces_of_ones_own_containers_may_be_joined_and_no_others(docker: Docker) -> None:
    assert docker("run", "-d", "--name", "peer", "--network", "none", *OWNED, "busybox", "sleep", "1000")[0] == 0
    other = ("--label", "ds01.uid=1002", "--cgroup-parent", "/ds01.slice/ds01-u1002.slice/ds01-u1002-nogpu.slice")
    try:
        for kind in ("--pid", "--network"):
            assert docker("run", "--rm", *OWNED, kind, "container:peer", "busybox", "echo", "it ran") == (0, "it ran\n")
            code, output = docker("run", "--rm", *other, kind, "container:peer", "busybox", "echo", "it ran")
            assert code == 125 and "(namespaces)" in output
    finally:
        docker("rm", "-f", "peer")


def test_root_passes_the_guard_only_by_naming_another_runtime(docker: Docker) -> None:
    assert _run(docker, "--runtime", "runc", "--privileged") == (0, "it ran\n")


def test_settings_that_cannot_be_read_start_nothing(docker: Docker, daemon: Daemon) -> None:
    settings = settings_file(daemon)
    kept = settings.read_text()
    try:
        settings.write_text('{"mode": "off"}')
        code, output = _run(docker, *OWNED)
        assert code == 125 and "modes: enforce, observe" in output
        settings.write_text(json.dumps({**json.loads(kept), "mode": "observe"}))
        assert _run(docker, *OWNED, "--cap-add", "SYS_ADMIN") == (0, "it ran\n")
    finally:
        settings.write_text(kept)
