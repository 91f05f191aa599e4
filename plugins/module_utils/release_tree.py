# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Releases and environments below ``/opt/ds01``: what is installed and whole, installing beside the present one, switching, rolling off.

A release directory appears by rename, so it is there whole or not at all. A release carries the checksum of each of its files and is
installed again when one differs.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile

from .file_set import link_atomically, refuse_unsafe_parents

MANIFEST = "manifest.json"
COMPLETE = ".complete"
COMMAND_OF_PACKAGE = {"ds01_cli": "ds01"}
LAUNCHER = """#!{root}/venv/bin/python -I
import runpy, sys; sys.path.insert(0, "{lib}"); runpy.run_module("{package}", run_name="__main__", alter_sys=True)
"""


class ReleaseError(Exception):
    """Raised where a release or environment can't be installed; the message says which, and what failed."""


def environment_id(requirements: bytes, python: str, machine: str) -> str:
    """Names an environment by what is in it: the pinned requirements, the Python version (``3.13``) and the machine (``x86_64``)."""
    return hashlib.sha256(b"\0".join([requirements, python.encode(), machine.encode()])).hexdigest()[:16]


def command_name(package: str) -> str:
    """The command of a program package: ``ds01_gate`` is ``ds01-gate``, ``ds01_cli`` is ``ds01``."""
    return COMMAND_OF_PACKAGE.get(package, package.replace("_", "-"))


def current_target(link: str) -> str | None:
    """The name that a ``current`` or ``venv`` link points at, or None."""
    try:
        return os.path.basename(os.readlink(link))
    except OSError:
        return None


def _checksums(directory: str) -> dict[str, str]:
    found = {}
    for parent, subdirectories, names in os.walk(directory):
        subdirectories[:] = [name for name in subdirectories if name != "__pycache__"]
        for name in names:
            path = os.path.join(parent, name)
            with open(path, "rb") as stream:
                digest = hashlib.sha256(stream.read()).hexdigest()
            found[os.path.relpath(path, directory)] = f"{os.lstat(path).st_mode & 0o7777:04o} {digest}"
    found.pop(MANIFEST, None)
    return found


def release_is_whole(directory: str) -> bool:
    """Whether the release is there with exactly the files that were installed, unchanged."""
    try:
        with open(os.path.join(directory, MANIFEST), encoding="utf-8") as stream:
            expected = json.load(stream)
    except (OSError, ValueError):
        return False
    return bool(expected == _checksums(directory))


def environment_is_whole(directory: str) -> bool:
    """Whether the environment was installed to its end and its interpreter is still there."""
    return os.path.exists(os.path.join(directory, COMPLETE)) and os.path.exists(os.path.join(directory, "bin", "python"))


def unpack(archive: str, directory: str, *, prefix: str) -> list[str]:
    """Writes the archive's regular files below ``prefix`` into the directory; their names. Anything else in it is refused."""
    names = []
    with tarfile.open(archive) as tar:
        for member in tar:
            if not member.isreg() or member.name.startswith("/") or ".." in member.name.split("/"):
                raise ReleaseError(f"{archive}: {member.name!r} is not a plain file below the archive's root")
            if not member.name.startswith(prefix):
                continue
            stream = tar.extractfile(member)
            if stream is None:
                raise ReleaseError(f"{archive}: {member.name!r} can't be read")
            path = os.path.join(directory, member.name)
            os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
            with open(path, "wb") as target:
                shutil.copyfileobj(stream, target)
            os.chmod(path, 0o755 if member.mode & 0o100 else 0o644)
            names.append(member.name)
    return names


def _run(argv: list[str], what: str) -> None:
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
    done = subprocess.run(argv, check=False, capture_output=True, text=True, env=environment)
    if done.returncode != 0:
        raise ReleaseError(f"{what} failed (exit status {done.returncode}): {(done.stderr or done.stdout).strip()[-2000:]}")


def _replace_directory(new: str, place: str) -> None:
    if os.path.lexists(place):
        old = tempfile.mkdtemp(prefix=".old-", dir=os.path.dirname(place))
        os.rename(place, os.path.join(old, "release"))
        os.rename(new, place)
        shutil.rmtree(old)
        return
    os.rename(new, place)


def write_launchers(root: str, final: str, staged: str) -> list[str]:
    """A launcher for each package with a ``__main__``, in ``bin`` of the staged release; their names, sorted."""
    lib = os.path.join(staged, "lib")
    os.makedirs(os.path.join(staged, "bin"), mode=0o755, exist_ok=True)
    commands = []
    for package in sorted(os.listdir(lib)):
        if os.path.exists(os.path.join(lib, package, "__main__.py")):
            name = command_name(package)
            path = os.path.join(staged, "bin", name)
            with open(path, "w", encoding="utf-8") as stream:
                stream.write(LAUNCHER.format(root=root, lib=os.path.join(final, "lib"), package=package))
            os.chmod(path, 0o755)
            commands.append(name)
    return commands


def install_release(root: str, release: str, archive: str, python: str) -> None:
    """Unpacks, compiles and moves into place ``releases/<release>``; the running one is not touched."""
    releases = os.path.join(root, "releases")
    refuse_unsafe_parents(os.path.join(releases, release))
    os.makedirs(releases, mode=0o755, exist_ok=True)
    final = os.path.join(releases, release)
    staged = tempfile.mkdtemp(prefix=".new-", dir=releases)
    try:
        os.chmod(staged, 0o755)
        if not unpack(archive, staged, prefix="lib/"):
            raise ReleaseError(f"{archive}: holds no programs")
        write_launchers(root, final, staged)
        with open(os.path.join(staged, MANIFEST), "w", encoding="utf-8") as stream:
            json.dump(_checksums(staged), stream, indent=1, sort_keys=True)
        lib = os.path.join(staged, "lib")
        compile_argv = ["-I", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", "-s", staged, "-p", final, lib]
        _run([python, *compile_argv], "compiling the programs")
        os.sync()
        _replace_directory(staged, final)
    except BaseException:
        shutil.rmtree(staged, ignore_errors=True)
        raise


def install_environment(root: str, name: str, archive: str, python: str) -> None:
    """Makes ``venvs/<name>`` from the wheels in the archive, by the pip that is carried with them: no network, every file by its hash."""
    venvs = os.path.join(root, "venvs")
    refuse_unsafe_parents(os.path.join(venvs, name))
    os.makedirs(venvs, mode=0o755, exist_ok=True)
    final = os.path.join(venvs, name)
    shutil.rmtree(final, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=".wheels-", dir=venvs) as carried:
        names = unpack(archive, carried, prefix="wheels/")
        installers = [entry for entry in names if entry.startswith("wheels/pip-")]
        if len(installers) != 1:
            raise ReleaseError(f"{archive}: exactly one wheel of pip is needed to install the others, found {len(installers)}")
        _run([python, "-m", "venv", "--without-pip", final], "making the environment")
        pip = [os.path.join(final, "bin", "python"), "-I", os.path.join(carried, installers[0], "pip")]
        options = ["--isolated", "--no-cache-dir", "--disable-pip-version-check", "--quiet"]
        wheels = os.path.join(carried, "wheels")
        source = ["--no-index", "--find-links", wheels, "--require-hashes", "-r", os.path.join(wheels, "requirements.txt")]
        _run([*pip, "install", *options, *source], "installing the carried wheels")
    with open(os.path.join(final, COMPLETE), "w", encoding="utf-8") as stream:
        stream.write(sys.version)
    os.sync()


def installed(directory: str) -> list[str]:
    """Names of releases or environments, newest first."""
    try:
        names = [name for name in os.listdir(directory) if not name.startswith(".")]
    except FileNotFoundError:
        return []
    return sorted(names, key=lambda name: os.lstat(os.path.join(directory, name)).st_mtime, reverse=True)


def surplus(directory: str, wanted: str, keep: int) -> list[str]:
    """What goes when ``keep`` are kept beside the wanted one: the oldest."""
    return [name for name in installed(directory) if name != wanted][keep:]


def switch(link: str, target: str) -> None:
    """Points the link at the target; there is no moment without one."""
    refuse_unsafe_parents(link)
    os.makedirs(os.path.dirname(link), mode=0o755, exist_ok=True)
    link_atomically(link, target)


def remove(directory: str, names: list[str]) -> None:
    """Removes releases or environments."""
    for name in names:
        shutil.rmtree(os.path.join(directory, name))
