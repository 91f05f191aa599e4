# Copyright (c) ds01.infra contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Packs what a server is missing and carries it over; asks the module first, so that nothing is carried when nothing is missing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.ds01.infra.plugins.module_utils.release_archive import ReleaseArchive, pack, pack_release, release_sources
from ansible_collections.ds01.infra.plugins.module_utils.release_tree import environment_id

COLLECTION = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CACHE = os.path.expanduser(os.path.join("~", ".cache", "ds01"))
REQUIREMENTS = ("runtime.txt", "installer.txt")
GLIBC_LEVELS = ("manylinux_2_28", "manylinux_2_17", "manylinux2014")


class ActionModule(ActionBase):  # type: ignore[misc]
    """One run of the module when everything is there; otherwise one to ask, one copy, one to install."""

    _requires_connection = True
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """The module's result."""
        super().run(tmp, task_vars)
        options = dict(self._task.args)
        release = pack_release(COLLECTION)
        requirements = _requirements("runtime.txt")
        options.update(release=release.id, requirements=requirements)
        options.pop("archive", None)
        result: dict[str, Any] = self._execute_module(module_name="ds01.infra.runtime_release", module_args=options, task_vars=task_vars)
        if result.get("failed") or not result.get("needs") or self._task.check_mode:
            return result
        with tempfile.TemporaryDirectory() as place:
            archive = self._archive(result, options.get("wheels"), requirements)
            local = os.path.join(place, "carried.tar")
            with open(local, "wb") as stream:
                stream.write(archive.content)
            remote = self._connection._shell.join_path(self._make_tmp_path(), "carried.tar")
            self._transfer_file(local, remote)
        try:
            options["archive"] = remote
            return dict(self._execute_module(module_name="ds01.infra.runtime_release", module_args=options, task_vars=task_vars))
        finally:
            self._remove_tmp_path(self._connection._shell.tmpdir)

    def _archive(self, result: dict[str, Any], wheels: str | None, requirements: str) -> ReleaseArchive:
        members = release_sources(COLLECTION) if "release" in result["needs"] else []
        if "environment" in result["needs"]:
            python, machine = result["target"]["python"], result["target"]["machine"]
            directory = wheels or _downloaded(environment_id(requirements.encode(), python, machine), python, machine)
            names = sorted(name for name in os.listdir(directory) if name.endswith(".whl"))
            members += [(f"wheels/{name}", os.path.join(directory, name)) for name in names]
            members.append(("wheels/requirements.txt", os.path.join(COLLECTION, "requirements", "runtime.txt")))
        return pack(members)


def _requirements(name: str) -> str:
    with open(os.path.join(COLLECTION, "requirements", name), encoding="utf-8") as stream:
        return stream.read()


def _downloaded(name: str, python: str, machine: str) -> str:
    """A directory with the wheels for that Python and machine, fetched by the controller's pip unless it was done before."""
    directory = os.path.join(CACHE, "wheels", name)
    if os.path.isdir(directory):
        return directory
    os.makedirs(os.path.dirname(directory), exist_ok=True)
    staged = tempfile.mkdtemp(dir=os.path.dirname(directory))
    argv = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes"]
    argv += ["--only-binary=:all:", "--implementation", "cp", "--python-version", python, "--dest", staged]
    for level in GLIBC_LEVELS:
        argv += ["--platform", f"{level}_{machine}"]
    for requirements in REQUIREMENTS:
        argv += ["-r", os.path.join(COLLECTION, "requirements", requirements)]
    done = subprocess.run(argv, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        shutil.rmtree(staged)
        raise AnsibleActionFail(
            f"Wheels for Python {python} on {machine} could not be fetched on the controller: {done.stderr.strip()[-1500:]}\n"
            "Give the controller a package index (PIP_INDEX_URL), or the option 'wheels' a directory that has them."
        )
    if os.path.isdir(directory):
        shutil.rmtree(staged)
    else:
        os.rename(staged, directory)
    return directory
