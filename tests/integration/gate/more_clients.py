# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""More clients, unmodified, as ordinary people: buildx as a plugin of the docker CLI, and the dev container CLI with its node."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

from tests.integration.daemons import REPOSITORY, tree
from tests.integration.gate.people import Desk
from tests.integration.lab import CLIENT_RELEASE, Lab

_LIBRARIES = "usr/lib/x86_64-linux-gnu"


class MoreClients:
    """A copy of the tree that everybody in the lab can run."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._tree = lab.path / "more-clients"
        self._bin = self._tree / "ds01"

    def prepare(self) -> MoreClients:
        """Write starters that give each program the libraries of its own release."""
        plugins, client = self._bin / "plugins", self._lab.client
        plugins.mkdir(parents=True)
        shutil.copy2(tree(CLIENT_RELEASE) / "usr/libexec/docker/cli-plugins/docker-buildx", self._tree)
        self._starter(plugins / "docker-buildx", client, self._tree / "docker-buildx")
        for directory, name in ((plugins, "docker-compose"), (self._bin, "docker-compose"), (self._bin, "docker")):
            self._starter(directory / name, client, client / name)
        return self

    def with_devcontainers(self) -> MoreClients:
        """Copy dev/client-tree."""
        built = subprocess.run([str(REPOSITORY / "dev" / "client-tree")], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
        for part in (_LIBRARIES, "npm"):
            shutil.copytree(Path(built) / part, self._tree / part, symlinks=True)
        shutil.copy2(Path(built) / "usr/bin/node", self._tree)
        script = self._tree / "npm/node_modules/@devcontainers/cli/devcontainer.js"
        self._starter(self._bin / "devcontainer", self._tree / _LIBRARIES, self._tree / "node", script)
        return self

    def _starter(self, path: Path, libraries: Path, *program: Path) -> None:
        loader = libraries / ("ld.so" if libraries == self._lab.client else "ld-linux-x86-64.so.2")
        words = " ".join(str(word) for word in program)
        path.write_text(f'#!/bin/sh\nexec {loader} --library-path {libraries} {words} "$@"\n')
        path.chmod(0o755)

    def run(
        self, desk: Desk, program: str, *arguments: str, cwd: Path | None = None, seconds: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """Run ``docker`` (with its plugins) or ``devcontainer`` as that person at that gate; never raises for a non-zero exit."""
        return subprocess.run(
            desk.lab.as_person(desk.person, str(self._bin / program), *arguments),
            env=self._environment(desk), cwd=cwd or self._home(desk), stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=seconds, check=False,
        )  # fmt: skip

    def must(self, desk: Desk, program: str, *arguments: str, cwd: Path | None = None) -> str:
        """Run it, which must succeed; its standard output."""
        done = self.run(desk, program, *arguments, cwd=cwd)
        assert done.returncode == 0, f"{program} {' '.join(arguments)}: {done.stdout}{done.stderr}"
        return done.stdout

    def _environment(self, desk: Desk) -> dict[str, str]:
        config = self._home(desk) / ".docker-with-plugins"
        if not config.exists():
            config.mkdir()
            (config / "config.json").write_text(json.dumps({"cliPluginsExtraDirs": [str(self._bin / "plugins")]}))
            for path in (config, config / "config.json"):
                os.chown(path, self._uid(desk), self._uid(desk))
        base = desk.lab.environment(desk.person, desk.gate.socket)
        return {**base, "DOCKER_CONFIG": str(config), "PATH": f"{self._bin}:{base['PATH']}"}

    @staticmethod
    def _home(desk: Desk) -> Path:
        assert desk.person is not None
        return desk.person.home

    @staticmethod
    def _uid(desk: Desk) -> int:
        assert desk.person is not None
        return desk.person.uid
