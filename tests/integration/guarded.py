# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""A daemon with the runtime guard as its default runtime and BuildKit's, laid out as a release does it."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

from .daemons import REPOSITORY, Daemon, running
from .lab import Lab

RUNTIME = "ds01-guard"


def settings_file(daemon: Daemon) -> Path:
    """/etc/ds01/guard.json as the daemon's namespaces see it."""
    return Path(f"/proc/{daemon.first_pid()}/root/etc/ds01/guard.json")


@contextlib.contextmanager
def guarded(release: str, lab: Lab, directory: Path, **config: object) -> Iterator[Daemon]:
    """A daemon of that release below ``directory`` (made here), its own directories written into the guard's settings."""
    cdi = directory / "cdi"
    cdi.mkdir(parents=True)
    library = directory / "lib"
    hidden = shutil.ignore_patterns("__pycache__")
    shutil.copytree(REPOSITORY / "plugins" / "module_utils", library / "ds01", ignore=hidden)
    shutil.copytree(REPOSITORY / "files" / "ds01_guard", library / "ds01_guard", ignore=hidden)
    program = str(library / "ds01_guard" / "oci-runtime.sh")
    runtime = {"runtimes": {RUNTIME: {"path": program}}, "default-runtime": RUNTIME, "cgroup-parent": "/ds01.slice/ds01-nogpu.slice"}
    environment = {"DOCKER_BUILDKIT_RUNC_COMMAND": program}
    with running(release, directory, cdi, environment, **{**runtime, **config}) as daemon:
        settings = {"mode": "enforce", "data_root": str(daemon.state / "data"), "exec_root": "/run/docker-exec", "cdi_dir": str(cdi)}
        settings_file(daemon).parent.mkdir()
        settings_file(daemon).write_text(json.dumps(settings))
        daemon.import_image("busybox:latest", lab.image)
        yield daemon
