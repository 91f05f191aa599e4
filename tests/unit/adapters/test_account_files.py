# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Reading the local account files, and closing homes."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from ds01 import account_files

PASSWD = """root:x:0:0:root:/root:/bin/bash
# a comment
+nis::::::
ada:x:1000:100:Ada,,,:/home/ada:/bin/zsh
248835@hertie-school.lan:x:1001:4711::/home/248835:/bin/sh
broken:line
"""
GROUP = "root:x:0:\nusers:x:100:ada,bob\nlab:x:3000:\n"


def test_databases_are_read_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "passwd").write_text(PASSWD)
    (tmp_path / "group").write_text(GROUP)
    databases = account_files.read_databases(str(tmp_path))
    assert sorted(databases.accounts) == ["248835@hertie-school.lan", "ada", "root"]
    assert databases.accounts["ada"].group == "users" and databases.accounts["ada"].shell == "/bin/zsh"
    assert databases.accounts["248835@hertie-school.lan"].group == "4711"
    assert databases.groups["users"].members == {"ada", "bob"} and databases.groups["lab"].members == frozenset()


@pytest.mark.parametrize(("held", "left"), [(0o755, 0o700), (0o711, 0o700), (0o2770, 0o700), (0o700, None), (0o500, None)])
def test_homes_are_closed_and_never_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held: int, left: int | None) -> None:
    monkeypatch.setattr(account_files, "SYSTEM_UIDS_BELOW", os.getuid())
    home = tmp_path / "ada"
    home.mkdir()
    home.chmod(held)
    (tmp_path / "file").write_text("")
    found = account_files.homes_too_open(str(tmp_path), 0o700)
    assert found == ([] if left is None else [(str(home), held)])
    for path, _mode in found:
        account_files.close_home(path, 0o700)
    assert stat.S_IMODE(home.stat().st_mode) == (held if left is None else left)
    assert account_files.homes_too_open(str(tmp_path), 0o700) == []


def test_directories_of_the_system_are_no_homes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(account_files, "SYSTEM_UIDS_BELOW", os.getuid() + 1)
    (tmp_path / "lost+found").mkdir(mode=0o755)
    assert account_files.homes_too_open(str(tmp_path), 0o700) == []
    assert account_files.homes_too_open(str(tmp_path / "nowhere"), 0o700) == []


def test_a_link_in_place_of_a_home_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir(mode=0o755)
    (tmp_path / "home").symlink_to(victim)
    with pytest.raises(OSError):
        account_files.close_home(str(tmp_path / "home"), 0o700)
    assert stat.S_IMODE(victim.stat().st_mode) == 0o755


def test_login_keys_come_back_as_written(tmp_path: Path) -> None:
    change = account_files.KeyChange("me", os.getuid(), os.getgid(), str(tmp_path), (), ("ssh-ed25519 AAAA one", "ssh-ed25519 BBBB two"))
    account_files.write_keys(change)
    keys = tmp_path / ".ssh" / "authorized_keys"
    assert account_files.read_keys(str(tmp_path), os.getuid(), os.getgid()) == change.after
    assert stat.S_IMODE(keys.stat().st_mode) == 0o600 and stat.S_IMODE(keys.parent.stat().st_mode) == 0o700
    keys.write_text("# mine\n\n ssh-ed25519 AAAA one \n")
    assert account_files.read_keys(str(tmp_path), os.getuid(), os.getgid()) == ("ssh-ed25519 AAAA one",)
