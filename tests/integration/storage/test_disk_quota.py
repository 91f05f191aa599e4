# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""People's directories on a real XFS filesystem come into their projects, whatever the people have put there. Needs root.

The limits themselves are a kernel with CONFIG_XFS_QUOTA's: the virtual lab server holds people to them (tests/lab/test_disk_quota.py).
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from ds01_quota import __main__ as command
from ds01_quota.holder import Holder, Person
from ds01_quota.settings import Settings

from ds01 import project_tree
from ds01.core.disk_plan import Kind, Quota, project_of

ALICE, BOB, GHOST = 54321, 54322, 54399


class Kernel:
    """Quotas as a kernel keeps them, in a dict; every directory enforces both kinds unless it is in ``without``."""

    def __init__(self) -> None:
        self.limits: dict[tuple[Kind, int], int | None] = {}
        self.without: set[str] = set()
        self.deaf = False

    def enforced(self, directory: str) -> frozenset[Kind]:
        return frozenset() if directory in self.without else frozenset(Kind)

    def get(self, directory: str, kind: Kind, number: int) -> Quota:
        return Quota(4096, self.limits.get((kind, number)))

    def set(self, directory: str, kind: Kind, number: int, limit_bytes: int | None) -> None:
        if not self.deaf:
            self.limits[kind, number] = limit_bytes


@pytest.fixture(scope="module")
def filesystem(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    assert os.geteuid() == 0, "these tests mount a filesystem and act for several people: run them as root"
    place = tmp_path_factory.mktemp("xfs")
    image, mount = place / "image", place / "mounted"
    mount.mkdir()
    with image.open("wb") as stream:
        stream.truncate(320 << 20)
    subprocess.run(["mkfs.xfs", "-q", image], check=True)
    subprocess.run(["mount", "-o", "loop,nosuid,nodev", image, mount], check=True)
    try:
        yield mount
    finally:
        subprocess.run(["umount", "-l", mount], check=True)


class Host:
    """Homes on the filesystem, a policy in a dict and a kernel."""

    def __init__(self, root: Path, run: Path) -> None:
        self.root = root
        self.kernel = Kernel()
        self.policy: dict[int, int | None] = {ALICE: 1 << 20, BOB: None}
        self.holder = Holder([str(root)], self.kernel, self.person, listed=lambda: [0, 33, 65534], sessions=run / "user", lock=run / "lock")

    def person(self, uid: int) -> Person:
        if uid not in self.policy:
            raise LookupError(f"uid {uid}: the user database doesn't know it")
        return Person(uid, f"u{uid}", self.policy[uid])

    def home(self, name: str, uid: int) -> Path:
        made = self.root / name
        made.mkdir(mode=0o700)
        os.chown(made, uid, uid)
        return made


@pytest.fixture
def host(filesystem: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Host:
    root = filesystem / str(abs(hash(request.node.name)))
    root.mkdir()
    return Host(root, tmp_path)


def test_a_person_is_held_by_uid_and_by_what_lies_in_their_home_and_a_second_look_changes_nothing(host: Host) -> None:
    home = host.home("alice", ALICE)
    (home / "old").mkdir()
    (home / "old" / "data").write_bytes(b"x" * 5000)
    picture = host.holder.apply()
    assert {(s.kind, s.uid, s.after) for s in picture.steps} == {(Kind.USER, ALICE, 1 << 20), (Kind.PROJECT, ALICE, 1 << 20)}
    assert host.kernel.limits == {(Kind.USER, ALICE): 1 << 20, (Kind.PROJECT, project_of(ALICE)): 1 << 20}
    (home / "new").write_bytes(b"root of a container wrote this")
    assert project_tree.project_of_file(str(home / "new")) == project_of(ALICE), "what is made in a home is counted at once"
    assert project_tree.project_of_file(str(home / "old" / "data")) == 0 and len(picture.unfinished) == 1
    assert host.holder.finish() == (2, 0, [])
    assert project_tree.project_of_file(str(home / "old" / "data")) == project_of(ALICE)
    again = host.holder.apply()
    assert again.steps == [] and again.unfinished == [] and again.problems == []
    assert host.holder.finish() == (0, 0, [])


def test_somebody_who_is_met_later_is_held_from_then_on(host: Host) -> None:
    host.holder.apply()
    assert host.kernel.limits == {}
    host.home("alice", ALICE)
    host.holder.apply()
    assert host.kernel.limits[Kind.PROJECT, project_of(ALICE)] == 1 << 20


def test_a_limit_that_the_policy_lifts_goes_and_one_of_somebody_unknown_stays(host: Host) -> None:
    host.home("alice", ALICE)
    host.home("ghost", GHOST)
    host.kernel.limits[Kind.USER, GHOST] = 77 << 10
    host.holder.apply()
    host.policy[ALICE] = None
    picture = host.holder.apply()
    assert host.kernel.limits[Kind.USER, ALICE] is None and host.kernel.limits[Kind.USER, GHOST] == 77 << 10
    assert any(str(GHOST) in problem for problem in picture.problems)


def test_links_pipes_and_other_people_s_files_behind_them_are_left_alone(host: Host, tmp_path: Path) -> None:
    home, other = host.home("alice", ALICE), host.home("bob", BOB)
    (other / "thesis").write_text("mine")
    os.symlink(other, home / "to-bob")
    os.symlink(other / "thesis", home / "to-thesis")
    os.mkfifo(home / "pipe")
    os.symlink(home, host.root / "carol")
    (host.root / "roots").mkdir()
    host.holder.apply()
    changed, skipped, problems = host.holder.finish()
    assert (changed, skipped, problems) == (1, 0, []), "bob's file alone: a pipe would have held the walk for ever"
    assert project_tree.project_of_file(str(other / "thesis")) == project_of(BOB)
    assert project_tree.project_of_file(str(host.root / "roots")) == 0, "a directory of root is nobody's home"


def test_a_home_that_became_somebody_else_s_or_a_link_is_refused(host: Host, tmp_path: Path) -> None:
    host.home("alice", ALICE)
    with pytest.raises(project_tree.NotTheirs, match="belongs to uid"):
        project_tree.finish(str(host.root), "alice", BOB, project_of(BOB))
    (host.root / "alice").rmdir()
    os.symlink(tmp_path, host.root / "alice")
    with pytest.raises(project_tree.NotTheirs):
        project_tree.finish(str(host.root), "alice", ALICE, project_of(ALICE))


def test_a_tree_without_end_neither_crashes_nor_stops_the_walk(host: Host) -> None:
    home = host.home("alice", ALICE)
    (home / "z-last").write_text("counted")
    handle = os.open(home, os.O_DIRECTORY)
    for _ in range(project_tree.DEPTH * 6):
        os.mkdir("a", dir_fd=handle)
        deeper = os.open("a", os.O_DIRECTORY, dir_fd=handle)
        os.close(handle)
        handle = deeper
    os.close(handle)
    host.holder.apply()
    changed, skipped, _ = host.holder.finish()
    assert changed >= project_tree.DEPTH and skipped == 1
    assert project_tree.project_of_file(str(home / "z-last")) == project_of(ALICE)


def test_a_mark_that_a_person_could_write_does_not_count(host: Host) -> None:
    home = host.home("alice", ALICE)
    (home / "data").write_text("x")
    os.setxattr(home, "user.ds01.project", str(project_of(ALICE)).encode())
    host.holder.apply()
    assert host.holder.finish()[0] == 1


def test_a_kernel_that_does_not_take_a_limit_is_said(host: Host) -> None:
    host.home("alice", ALICE)
    host.kernel.deaf = True
    assert [p for p in host.holder.apply().problems if "the kernel has None" in p]


def test_the_command_says_where_a_filesystem_can_t_and_fails_only_where_it_must(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    host.home("alice", ALICE)
    host.kernel.without.add(str(host.root))
    assert command.main(["apply"], host.holder, Settings((str(host.root),))) == 0
    said = capsys.readouterr().err
    assert "nobody is held to aggregate.disk there" in said and "uquota,pquota" in said
    assert command.main(["apply"], host.holder, Settings((str(host.root),), required=True)) == 1
    host.policy[ALICE] = None
    assert command.main(["apply"], host.holder, Settings((str(host.root),), required=True)) == 0, "without a limit nothing is missing"


def test_check_changes_nothing_and_list_shows_use(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    home = host.home("alice", ALICE)
    settings = Settings((str(host.root),))
    assert command.main(["apply", "--check"], host.holder, settings) == 0
    assert f"would hold uid {ALICE} to {1 << 20} bytes" in capsys.readouterr().out
    assert host.kernel.limits == {} and project_tree.project_of_file(str(home)) == 0
    host.holder.apply()
    assert command.main(["list", "--json"], host.holder, settings) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["roots"][0]["filesystem"] == "xfs" and document["roots"][0]["enforced"] == ["project", "user"]
    assert [(p["user"], p["used_bytes"], p["limit_bytes"]) for p in document["people"]] == [(f"u{ALICE}", 4096, 1 << 20)]
    assert command.main(["list"], host.holder, settings) == 0
    assert f"u{ALICE}" in capsys.readouterr().out
