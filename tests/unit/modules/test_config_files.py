# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""config_files: check, real and again; validation before the first write; purge; refusals that change nothing."""

from __future__ import annotations

import os
import pwd
import stat
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.ds01.infra.plugins.modules import config_files
from ansible_collections.ds01.infra.tests.unit.modules.module_runs import Outcome, run_module

ME = pwd.getpwuid(os.geteuid()).pw_name
MY_GROUP = str(os.getegid())


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory that only the caller can write; pytest's own are below a sticky one."""
    return tmp_path


def item(path: Path, **options: Any) -> dict[str, Any]:
    return {"path": str(path), "owner": ME, "group": MY_GROUP, **options}


def converge(files: list[dict[str, Any]], *, check: bool = False, **options: Any) -> Outcome:
    return run_module(config_files, {"files": files, **options}, check=check)


def test_check_real_again(place: Path) -> None:
    files = [
        item(place / "conf.d", state="directory", mode="0750"),
        item(place / "conf.d" / "a.conf", content="one\n", mode="0640"),
        item(place / "now", state="link", target="conf.d"),
    ]
    predicted = converge(files, check=True)
    assert predicted.changed and not (place / "conf.d").exists()
    real = converge(files)
    assert real.result == predicted.result
    assert (place / "conf.d" / "a.conf").read_text() == "one\n"
    assert stat.S_IMODE((place / "conf.d" / "a.conf").stat().st_mode) == 0o640
    assert os.readlink(place / "now") == "conf.d"
    for again in (converge(files), converge(files, check=True)):
        assert not again.changed and again.result["actions"] == [] and again.result["diff"] == []


def test_missing_parents_are_made_and_named(place: Path) -> None:
    real = converge([item(place / "a" / "b" / "c.conf", content="x")])
    assert real.result["actions"] == [f"create {place}/a", f"create {place}/a/b", f"create {place}/a/b/c.conf"]
    assert stat.S_IMODE((place / "a").stat().st_mode) == 0o755


@pytest.mark.parametrize(("before", "after"), [("0600", "0644"), ("0755", "0700"), ("0644", "4755")])
def test_a_changed_mode_is_restored(place: Path, before: str, after: str) -> None:
    converge([item(place / "f", content="x", mode=before)])
    changed = converge([item(place / "f", content="x", mode=after)])
    assert changed.changed and changed.result["changed_paths"] == [str(place / "f")]
    assert stat.S_IMODE((place / "f").stat().st_mode) == int(after, 8)
    assert not converge([item(place / "f", content="x", mode=after)]).changed


def test_without_content_only_the_mode_is_set(place: Path) -> None:
    (place / "f").write_text("mine")
    assert converge([item(place / "f", mode="0600")]).changed
    assert (place / "f").read_text() == "mine"


def test_a_refused_file_keeps_the_whole_set_unwritten(place: Path) -> None:
    files = [item(place / "good", content="x"), item(place / "bad", content="broken", validate="grep -q fine %s")]
    outcome = converge(files)
    assert outcome.failed and "nothing was written" in outcome.result["msg"] and str(place / "bad") in outcome.result["msg"]
    assert list(place.iterdir()) == []


def test_validation_sees_the_new_content_under_its_own_name(place: Path) -> None:
    script = place / "judge"
    script.write_text('#!/bin/sh\ncase $1 in */unit.service) grep -q right "$1" ;; *) exit 3 ;; esac\n')
    script.chmod(0o755)
    assert converge([item(place / "unit.service", content="right", validate=f"{script} %s")]).changed
    assert converge([item(place / "unit.service", content="wrong", validate=f"{script} %s")]).failed
    assert (place / "unit.service").read_text() == "right"


def test_the_set_is_validated_together(place: Path) -> None:
    files = [item(place / "a", content="1"), item(place / "b", content="2")]
    assert converge(files, validate_set=[f"test -e %s{place}/a -a -e %s{place}/missing"]).failed
    assert not (place / "a").exists()
    assert converge(files, validate_set=[f"test -e %s{place}/a -a -e %s{place}/b"]).changed


def test_check_mode_leaves_out_validation_that_needs_what_is_not_there(place: Path) -> None:
    files = [item(place / "a", content="1", validate="false")]
    assert converge(files, check=True, validate_needs=[str(place / "program")]).changed
    assert converge(files, check=True).failed
    assert converge(files, validate_needs=[str(place / "program")]).failed


def test_a_validator_that_is_not_installed_fails_only_outside_check_mode(place: Path) -> None:
    files = [item(place / "a", content="1", validate="no-such-program-anywhere %s")]
    assert converge(files, check=True).changed
    assert converge(files).failed
    assert not (place / "a").exists()


def test_purge_removes_what_matches_and_is_not_listed(place: Path) -> None:
    for name in ("old.conf", "kept.conf", "other.txt"):
        (place / name).write_text("x")
    (place / "dir.conf").mkdir()
    files = [item(place / "kept.conf", content="x")]
    predicted = converge(files, check=True, purge=[f"{place}/*.conf"])
    assert predicted.result["actions"][-1] == f"remove {place}/old.conf" and (place / "old.conf").exists()
    converge(files, purge=[f"{place}/*.conf"])
    assert sorted(path.name for path in place.iterdir()) == ["dir.conf", "kept.conf", "other.txt"]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([{"path": "relative", "content": "x"}], "absolute path"),
        ([{"path": "/a/../b", "content": "x"}], "absolute path"),
        ([{"path": "/x", "content": "x", "mode": "rw-r--r--"}], "octal"),
        ([{"path": "/x", "content": "x", "mode": "77777"}], "octal"),
        ([{"path": "/x", "content": "x"}, {"path": "/x", "content": "y"}], "twice"),
        ([{"path": "/no-such-file-here"}], "no content"),
        ([{"path": "/x-file", "content": "x", "owner": "no-such-user-here"}], "does not exist"),
    ],
)
def test_refusals(files: list[dict[str, Any]], message: str) -> None:
    outcome = converge(files)
    assert outcome.failed and message in outcome.result["msg"]


def test_an_owner_to_come_is_no_failure_in_check_mode(place: Path) -> None:
    assert converge([item(place / "x", content="x") | {"owner": "somebody-later"}], check=True).changed


@pytest.mark.parametrize("state", ["file", "absent"])
def test_a_full_directory_in_the_way_is_left_alone(place: Path, state: str) -> None:
    (place / "d").mkdir()
    (place / "d" / "precious").write_text("x")
    assert converge([item(place / "d", state=state, content="x")]).failed
    assert (place / "d" / "precious").exists()


def test_nothing_is_written_where_others_can_write(place: Path) -> None:
    open_directory = place / "open"
    open_directory.mkdir()
    open_directory.chmod(0o777)
    outcome = converge([item(open_directory / "f", content="x")])
    assert outcome.failed and "writable by others" in outcome.result["msg"]


def test_nothing_is_written_below_a_directory_of_somebody_else(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = place / "home"
    theirs.mkdir()
    real = os.lstat

    def lstat(path: str) -> os.stat_result:
        status = real(path)
        return os.stat_result([*status[:4], 12345, *status[5:10]]) if path == str(theirs) else status

    monkeypatch.setattr("ansible_collections.ds01.infra.plugins.module_utils.file_set.os.lstat", lstat)
    assert "belongs to uid 12345" in converge([item(theirs / "f", content="x")]).result["msg"]
    assert list(theirs.iterdir()) == []


def test_a_link_at_the_place_is_replaced_and_not_followed(place: Path) -> None:
    (place / "victim").write_text("precious")
    (place / "f").symlink_to("victim")
    converge([item(place / "f", content="new")])
    assert (place / "victim").read_text() == "precious" and (place / "f").read_text() == "new" and not (place / "f").is_symlink()


def test_a_sensitive_content_is_not_in_the_diff(place: Path) -> None:
    outcome = converge([item(place / "secret", content="canary-4711", sensitive=True)], check=True)
    assert outcome.changed and "canary-4711" not in repr(outcome.result)


def test_nothing_is_left_beside_the_files(place: Path) -> None:
    converge([item(place / "a", content="1"), item(place / "l", state="link", target="a")])
    converge([item(place / "a", content="2"), item(place / "l", state="link", target="b")])
    assert sorted(path.name for path in place.iterdir()) == ["a", "l"]
