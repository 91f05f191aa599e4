# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""runtime_release: asks for what is missing, installs it, finds damage, switches atomically, keeps what it is told to keep."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.ds01.infra.plugins.module_utils import release_tree
from ansible_collections.ds01.infra.plugins.module_utils.release_archive import ReleaseArchive, pack, pack_release, release_sources
from ansible_collections.ds01.infra.plugins.modules import runtime_release
from ansible_collections.ds01.infra.tests.unit.modules.module_runs import Outcome, run_module

COLLECTION = str(Path(__file__).resolve().parents[3])


class Server:
    """A place that stands for a server: programs in ``source``, installed below ``root``."""

    def __init__(self, place: Path, *, environment: bool = True) -> None:
        self.place, self.root, self.command = place, place / "opt", place / "bin" / "ds01"
        self.source = place / "source"
        self.write("ds01/__init__.py", "")
        self.write("ds01_cli/__init__.py", "")
        self.write("ds01_cli/__main__.py", "import sys, ds01\nsys.stdout.write('ran ' + ' '.join(sys.argv[1:]))\n")
        self.write("ds01_guard/start.sh", "#!/bin/sh\n", mode=0o755)
        if environment:
            self.pretend_environment()

    def pretend_environment(self) -> None:
        """An environment that is there already, so that a test need not spend its time in making one."""
        name = release_tree.environment_id(b"", f"{sys.version_info.major}.{sys.version_info.minor}", platform.machine())
        (self.root / "venvs" / name / "bin").mkdir(parents=True)
        (self.root / "venvs" / name / "bin" / "python").symlink_to(sys.executable)
        (self.root / "venvs" / name / release_tree.COMPLETE).touch()

    def write(self, name: str, text: str, *, mode: int = 0o644) -> None:
        path = self.source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)

    def programs(self) -> list[tuple[str, str]]:
        return [(f"lib/{path.relative_to(self.source)}", str(path)) for path in sorted(self.source.rglob("*")) if path.is_file()]

    def archive(self) -> ReleaseArchive:
        wheel = self.place / "pip-1-py3-none-any.whl"
        with zipfile.ZipFile(wheel, "w") as packed:
            packed.writestr("pip/__main__.py", "")
        requirements = self.place / "requirements.txt"
        requirements.write_text("")
        return pack([*self.programs(), (f"wheels/{wheel.name}", str(wheel)), ("wheels/requirements.txt", str(requirements))])

    def converge(self, *, carry: bool = True, check: bool = False, **options: Any) -> Outcome:
        carried = self.place / "carried.tar"
        carried.write_bytes(self.archive().content)
        given = {
            "root": str(self.root),
            "command_link": str(self.command),
            "python": sys.executable,
            "release": pack(self.programs()).id,
            "requirements": "",
        }
        return run_module(runtime_release, {**given, "archive": str(carried) if carry else None, **options}, check=check)


@pytest.fixture
def server(tmp_path: Path) -> Server:
    return Server(tmp_path)


@pytest.fixture
def bare_server(tmp_path: Path) -> Server:
    return Server(tmp_path, environment=False)


def test_check_asks_for_nothing_and_predicts(bare_server: Server) -> None:
    predicted = bare_server.converge(carry=False, check=True)
    assert predicted.changed and not bare_server.root.exists()
    real = bare_server.converge()
    assert {**predicted.result, "needs": []} == real.result
    assert not bare_server.converge(carry=False).changed and not bare_server.converge(carry=False, check=True).changed


def test_without_what_is_missing_nothing_is_done(bare_server: Server) -> None:
    outcome = bare_server.converge(carry=False)
    assert outcome.result["needs"] == ["environment", "release"] and not bare_server.root.exists()
    assert outcome.result["target"]["python"] == f"{sys.version_info.major}.{sys.version_info.minor}"


def test_the_command_runs_from_its_release_whatever_the_caller_s_environment(bare_server: Server) -> None:
    bare_server.converge()
    environment = {"PYTHONPATH": "/nowhere", "PYTHONHOME": "/nowhere", "PATH": "/usr/bin"}
    done = subprocess.run([bare_server.command, "a", "b"], capture_output=True, text=True, check=True, env=environment, cwd="/")
    assert done.stdout == "ran a b"
    release = (bare_server.root / "current").resolve()
    assert os.access(release / "lib" / "ds01_guard" / "start.sh", os.X_OK) and list(release.rglob("*.pyc"))
    assert [path.name for path in (release / "bin").iterdir()] == ["ds01"]


def test_a_new_release_is_switched_to_and_the_old_one_kept(server: Server) -> None:
    first = server.converge().result["release"]
    server.write("ds01_cli/__main__.py", "import sys\nsys.stdout.write('second')\n")
    second = server.converge()
    assert second.result["previous_release"] == first != second.result["release"]
    assert subprocess.run([server.command], capture_output=True, text=True, check=True).stdout == "second"
    assert (server.root / "releases" / first).is_dir()


def test_only_so_many_old_releases_are_kept(server: Server) -> None:
    made = []
    for number in range(4):
        server.write("ds01/version.py", f"V = {number}\n")
        made.append(server.converge(keep=1).result["release"])
        for age, name in enumerate(reversed(made)):
            place = server.root / "releases" / name
            if place.exists():
                os.utime(place, (1000 - age, 1000 - age))
    assert sorted(path.name for path in (server.root / "releases").iterdir()) == sorted(made[-2:])


@pytest.mark.parametrize("damage", ["changed", "added", "removed", "mode"])
def test_a_damaged_release_is_installed_again(server: Server, damage: str) -> None:
    server.converge()
    program = (server.root / "current").resolve() / "lib" / "ds01_cli" / "__main__.py"
    if damage == "changed":
        program.write_text("raise SystemExit(1)\n")
    elif damage == "added":
        (program.parent / "json.py").write_text("")
    elif damage == "removed":
        program.unlink()
    else:
        program.chmod(0o666)
    assert server.converge(carry=False).result["needs"] == ["release"]
    assert server.converge().changed and not server.converge().changed
    assert subprocess.run([server.command], capture_output=True, text=True, check=True).stdout == "ran "


def test_an_environment_that_was_not_finished_is_made_again(bare_server: Server) -> None:
    name = bare_server.converge().result["environment"]
    (bare_server.root / "venvs" / name / release_tree.COMPLETE).unlink()
    assert bare_server.converge(carry=False).result["needs"] == ["environment"]
    assert bare_server.converge().changed and not bare_server.converge().changed


def test_programs_that_do_not_compile_are_never_switched_to(server: Server) -> None:
    first = server.converge().result["release"]
    server.write("ds01_cli/__main__.py", "def broken(:\n")
    assert "compiling" in server.converge().result["msg"]
    assert os.path.basename(os.readlink(server.root / "current")) == first
    assert [path.name for path in (server.root / "releases").iterdir()] == [first]


def test_an_archive_that_reaches_out_is_refused(server: Server, tmp_path: Path) -> None:
    evil = tmp_path / "evil.tar"
    evil.write_bytes(pack([("lib/../../../evil", __file__)]).content)
    with pytest.raises(release_tree.ReleaseError, match="plain file"):
        release_tree.unpack(str(evil), str(tmp_path / "out"), prefix="lib/")


def test_the_archive_is_the_same_for_the_same_sources() -> None:
    assert pack_release(COLLECTION) == pack_release(COLLECTION)
    names = [name for name, _source in release_sources(COLLECTION)]
    assert "lib/ds01/core/claim.py" in names and not any("__pycache__" in name for name in names)


@pytest.mark.parametrize("options", [{"keep": -1}, {"python": "/nowhere/python"}, {"release": None}])
def test_refusals(bare_server: Server, options: dict[str, Any]) -> None:
    assert bare_server.converge(**options).failed and not bare_server.root.exists()
