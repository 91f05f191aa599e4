# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Who and what uses a GPU: each way that the requirements name, and the ways in which somebody would pretend."""

from __future__ import annotations

import dataclasses

import pytest

from ds01.core.cgroup_path import Place, path_of, place
from ds01.core.workload_facts import ContainerFacts, People, ProcessFacts
from ds01.core.workload_kind import Kind, container_kind, origin, process_kind
from ds01.core.workload_owner import NOBODY, Owner, container_owner, process_owner

ID = "0123456789abcdef" * 4
PEOPLE = People({1001: "alice", 1002: "bob", 20001: "248835@hertie-school.lan"}, {"alice": "/home/alice", "bob": "/home/bob", "nobody": ""})
MANAGED = f"/ds01.slice/ds01-u1001.slice/ds01-u1001-c00aa11bb22cc.slice/docker-{ID}.scope"
ELSEWHERE = f"/system.slice/docker-{ID}.scope"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (MANAGED, Place("docker", ID, uid=1001, claim_id="c00aa11bb22cc")),
        (f"/ds01.slice/ds01-u1001.slice/ds01-u1001-nogpu.slice/docker-{ID}.scope/init", Place("docker", ID, uid=1001)),
        (ELSEWHERE, Place("docker", ID)),
        (f"/docker/{ID}", Place("docker", ID)),
        (f"/machine.slice/libpod-{ID}.scope/container", Place("podman", ID)),
        (f"/user.slice/user-1002.slice/user@1002.service/user.slice/libpod-{ID}.scope", Place("rootless podman", login_uid=1002)),
        # What people make below their own slice is theirs, whatever they call it.
        (f"/user.slice/user-1002.slice/user@1002.service/app.slice/docker-{ID}.scope", Place("rootless docker", login_uid=1002)),
        (f"/user.slice/user-1002.slice/user@1002.service/app.slice/{ID}", Place(login_uid=1002)),
        ("/user.slice/user-1002.slice/user@1002.service/slurm/uid_1002/job_42", Place(login_uid=1002)),
        ("/user.slice/user-1002.slice/user@1002.service/system.slice/slurmstepd.scope/job_42", Place(login_uid=1002)),
        (f"{MANAGED}/slurm/job_1", Place("docker", ID, uid=1001, claim_id="c00aa11bb22cc")),
        ("/slurm/uid_1002/job_42/step_0", Place(slurm_job=42)),
        (f"/system.slice/slurmstepd.scope/job_42/step_0/user/libpod-{ID}.scope", Place("podman", ID, 42)),
        (f"/system.slice/nerdctl-{ID}.scope", Place("containerd", ID)),
        (f"/kubepods.slice/kubepods-besteffort.slice/cri-containerd-{ID}.scope", Place("containerd", ID)),
        ("/system.slice/slurmstepd.scope/job_42/step_0/user/task_0", Place(slurm_job=42)),
        ("/system.slice/lab_slurmstepd.scope/job_7/step_batch", Place(slurm_job=7)),
        ("/user.slice/user-1001.slice/session-4.scope", Place(login_uid=1001)),
        ("/system.slice/cron.service", Place(unit="cron.service")),
        ("/system.slice/system-getty.slice/getty@tty1.service", Place(unit="getty@tty1.service")),
        ("/ds01.slice/ds01-build.slice/build-x7", Place("docker", "x7", build=True)),
        ("/ds01.slice/ds01-u1001.slice/ds01-u1002-nogpu.slice/x", Place(uid=1001)),
        (f"/docker/{ID}/docker/{'f' * 64}", Place("docker", ID)),
        ("/", Place()),
        ("", Place()),
    ],
)
def test_what_a_cgroup_path_says(path: str, expected: Place) -> None:
    assert place(path) == expected


def test_the_unified_line_is_the_one_that_counts() -> None:
    assert path_of("12:devices:/x\n0::/user.slice/user-1.slice\n") == "/user.slice/user-1.slice"
    assert path_of("1:name=systemd:/x\n") == ""


def container(**changes: object) -> ContainerFacts:
    return dataclasses.replace(ContainerFacts("docker", ID, "train", cgroup_path=ELSEWHERE), **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("facts", "kind", "how_made"),
    [
        (container(labels={"ds01.uid": "1001", "ds01.kind": "compose"}, cgroup_path=MANAGED), Kind.MANAGED, "compose"),
        (container(labels={"ds01.uid": "1001"}, cgroup_path=ELSEWHERE), Kind.RAW, "docker"),
        (container(labels={"ds01.uid": "1002"}, cgroup_path=MANAGED), Kind.RAW, "docker"),
        (container(labels={"ds01.uid": "1001"}, cgroup_path="", running=False), Kind.MANAGED, "docker"),
        (container(labels={"devcontainer.local_folder": "/home/alice/p"}), Kind.DEVCONTAINER, "devcontainer"),
        (container(labels={"com.docker.compose.project": "p"}), Kind.COMPOSE, "compose"),
        (container(), Kind.RAW, "docker"),
        (container(engine="podman"), Kind.OTHER_ENGINE, "podman"),
    ],
)
def test_the_kind_of_a_container(facts: ContainerFacts, kind: Kind, how_made: str) -> None:
    assert container_kind(facts) is kind
    assert origin(facts) == how_made


@pytest.mark.parametrize(
    ("facts", "owner"),
    [
        (container(cgroup_path=MANAGED, labels={"ds01.user": "bob"}), Owner("alice", 1001, "slice")),
        (container(labels={"ds01.user": "bob", "ds01.uid": "1002"}), Owner("bob", 1002, "label")),
        (container(labels={"ds01.user": "alice", "ds01.uid": "1002"}), Owner("bob", 1002, "label")),
        (container(labels={"ds01.user": "left", "ds01.uid": "4444"}), Owner("left", 4444, "label")),
        (container(labels={"aime.mlc.USER": "alice"}), Owner("alice", 1001, "aime label")),
        (container(labels={"aime.mlc.USER": "ghost"}), NOBODY),
        (container(name="notebook._.1002"), Owner("bob", 1002, "name")),
        (container(name="notebook._.4242"), NOBODY),
        (container(bind_sources={"/home/alice/p": 1001}), Owner("alice", 1001, "bind mount")),
        (container(bind_sources={"/home/alice/p": 1002}), NOBODY),
        (container(bind_sources={"/home/alicex": 1001}), NOBODY),
        (container(labels={"devcontainer.local_folder": "/home/bob/p"}), NOBODY),
        (
            container(labels={"devcontainer.local_folder": "/home/bob/p"}, bind_sources={"/home/bob/p": 1002}),
            Owner("bob", 1002, "devcontainer folder"),
        ),
        (
            container(labels={"com.docker.compose.project.working_dir": "/home/bob/p"}, bind_sources={"/home/alice": 1001}),
            Owner("alice", 1001, "bind mount"),
        ),
        (container(), NOBODY),
    ],
)
def test_the_owner_of_a_container_and_no_pretender(facts: ContainerFacts, owner: Owner) -> None:
    assert container_owner(facts, PEOPLE) == owner


def process(**changes: object) -> ProcessFacts:
    base = ProcessFacts(4711, 99, 0, None, "/system.slice/x.service", "python train.py", "/usr/bin/python3", "GPU-1", None, 1)
    return dataclasses.replace(base, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("facts", "kind", "owner"),
    [
        (
            process(uid=1001, login_uid=1001, cgroup_path="/user.slice/user-1001.slice/session-1.scope"),
            Kind.HOST,
            Owner("alice", 1001, "login"),
        ),
        (process(uid=0, login_uid=1002, cgroup_path="/user.slice/user-1002.slice/session-1.scope"), Kind.HOST, Owner("bob", 1002, "login")),
        (process(uid=0, login_uid=1002, cgroup_path="/system.slice/run-u1.service"), Kind.HOST, Owner("bob", 1002, "login")),
        (
            process(uid=20001, cgroup_path="/system.slice/cron.service"),
            Kind.HOST,
            Owner("248835@hertie-school.lan", 20001, "process owner"),
        ),
        (process(executable="/usr/bin/nvidia-persistenced", cgroup_path="/system.slice/nvidia-persistenced.service"), Kind.SYSTEM, NOBODY),
        (
            process(executable="/usr/bin/nvidia-smi", uid=1001, login_uid=1001, cgroup_path="/user.slice/user-1001.slice/s"),
            Kind.HOST,
            Owner("alice", 1001, "login"),
        ),
        (
            process(executable="/home/bob/nvidia-smi", uid=1002, cgroup_path="/system.slice/cron.service"),
            Kind.HOST,
            Owner("bob", 1002, "process owner"),
        ),
        (process(cgroup_path="/system.slice/slurmstepd.scope/job_1/step_0", uid=1001), Kind.SLURM, Owner("alice", 1001, "process owner")),
        (
            process(uid=1002, executable="/usr/bin/nvidia-smi", cgroup_path="/system.slice/cron.service"),
            Kind.HOST,
            Owner("bob", 1002, "process owner"),
        ),
        (
            process(uid=1002, login_uid=1002, cgroup_path=f"/user.slice/user-1002.slice/user@1002.service/app.slice/docker-{ID}.scope"),
            Kind.OTHER_ENGINE,
            Owner("bob", 1002, "login"),
        ),
        (
            process(uid=1002, login_uid=1002, cgroup_path="/user.slice/user-1002.slice/user@1002.service/slurm/uid_1002/job_42"),
            Kind.HOST,
            Owner("bob", 1002, "login"),
        ),
        (process(cgroup_path=f"/machine.slice/libpod-{ID}.scope"), Kind.OTHER_ENGINE, NOBODY),
        (process(cgroup_path=MANAGED), Kind.RAW, Owner("alice", 1001, "slice")),
    ],
)
def test_a_process_on_a_gpu(facts: ProcessFacts, kind: Kind, owner: Owner) -> None:
    assert process_kind(facts, None) is kind
    assert process_owner(facts, None, PEOPLE) == owner


def test_a_process_in_a_container_is_its_container_s() -> None:
    alice = Owner("alice", 1001, "slice")
    assert process_kind(process(cgroup_path=MANAGED), Kind.MANAGED) is Kind.MANAGED
    assert process_owner(process(cgroup_path=MANAGED, uid=1002), alice, PEOPLE) == alice
    assert [kind for kind in Kind if kind.tracked] == [Kind.MANAGED, Kind.SLURM, Kind.SYSTEM]
