# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Root writes login keys with the person's own rights: links that the person laid lead no further than the person could go. Needs root."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ds01.account_files import KeyChange, read_keys, rights_of, write_keys

UID = 54321


@pytest.fixture
def home(tmp_path: Path) -> Path:
    assert os.geteuid() == 0, "these tests act as another person and need root"
    for parent in [tmp_path, *tmp_path.parents][:4]:
        parent.chmod(parent.stat().st_mode | 0o011)
    place = tmp_path / "home"
    place.mkdir(mode=0o700)
    os.chown(place, UID, UID)
    return place


def change(home: Path) -> KeyChange:
    return KeyChange("mallory", UID, UID, str(home), (), ("ssh-ed25519 AAAA mallory",))


def test_the_file_is_the_person_s(home: Path) -> None:
    write_keys(change(home))
    status = (home / ".ssh" / "authorized_keys").stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o7777) == (UID, UID, 0o600)
    assert read_keys(str(home), UID, UID) == change(home).after and os.geteuid() == 0 and os.getegid() == 0


def test_a_link_to_a_directory_of_root_is_no_way_in(home: Path, tmp_path: Path) -> None:
    victim = tmp_path / "root-ssh"
    victim.mkdir(mode=0o755)
    (victim / "authorized_keys").write_text("ssh-ed25519 AAAA root\n")
    (home / ".ssh").symlink_to(victim)
    with pytest.raises(PermissionError):
        write_keys(change(home))
    assert (victim / "authorized_keys").read_text() == "ssh-ed25519 AAAA root\n" and [path.name for path in victim.iterdir()] == [
        "authorized_keys"
    ]


def test_a_link_to_a_secret_of_root_is_not_read(home: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("canary")
    secret.chmod(0o600)
    (home / ".ssh").mkdir()
    os.chown(home / ".ssh", UID, UID)
    (home / ".ssh" / "authorized_keys").symlink_to(secret)
    assert read_keys(str(home), UID, UID) == ()
    write_keys(change(home))
    assert secret.read_text() == "canary"


def test_rights_come_back_after_an_error(home: Path) -> None:
    groups = os.getgroups()
    with pytest.raises(RuntimeError), rights_of(UID, UID):
        assert os.geteuid() == UID and os.getgroups() == []
        raise RuntimeError
    assert (os.geteuid(), os.getegid(), os.getgroups()) == (0, 0, groups)
