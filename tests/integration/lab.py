# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""A lab directory for tests with real daemons: people with real uids and homes, real clients, and a place for CDI specs.

Nothing on the machine is changed outside the directory: the people exist in a passwd and a group file that programs under test see
mounted over the machine's own, in a mount namespace of theirs.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .daemons import busybox_archive, die_with_parent, tree

CLIENT_RELEASE = "sid"


@dataclass(frozen=True)
class Person:
    """Somebody with a uid, a group of the same number, and a home in the lab."""

    name: str
    uid: int
    home: Path


class Lab:
    """The directory and what lies in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.homes = path / "home"
        self.etc = path / "etc"
        self.client = path / "client"
        self.image = path / "busybox.tar"
        self.people: dict[str, Person] = {}
        self._groups: dict[str, tuple[int, list[str]]] = {}

    def prepare(self) -> None:
        """Make the directories, mount the homes nosuid and nodev, copy the clients in, build the image's archive."""
        for directory in (self.homes, self.etc, self.client):
            directory.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "nosuid,nodev,mode=0755", "tmpfs", str(self.homes)], check=True)
        engine = tree(CLIENT_RELEASE)
        libraries = engine / "usr" / "lib" / "x86_64-linux-gnu"
        for source in (engine / "usr/bin/docker", engine / "usr/libexec/docker/cli-plugins/docker-compose", libraries / "libc.so.6"):
            shutil.copy2(source, self.client / source.name)
        shutil.copy2(os.path.realpath(libraries / "ld-linux-x86-64.so.2"), self.client / "ld.so")
        for library in ("libresolv.so.2", "libpthread.so.0", "libdl.so.2"):
            if (libraries / library).exists():
                shutil.copy2(libraries / library, self.client / library)
        busybox_archive(self.image, engine / "usr" / "bin" / "busybox")
        self._write_accounts()

    def add_person(self, name: str, uid: int, *groups: str) -> Person:
        """A person with a home of their own, in ``groups`` besides their own group."""
        person = Person(name, uid, self.homes / name)
        self.people[name] = person
        person.home.mkdir()
        os.chown(person.home, uid, uid)
        person.home.chmod(0o700)
        for group in groups:
            self._groups.setdefault(group, (9000 + len(self._groups), []))[1].append(name)
        self._write_accounts()
        return person

    def cdi(self, release: str) -> Path:
        """The directory in which that release's daemon looks for CDI specs; made when it is first asked for."""
        directory = self.path / f"cdi-{release}"
        directory.mkdir(exist_ok=True)
        return directory

    def gid(self, group: str) -> int:
        """The number of a group that somebody was added to."""
        return self._groups[group][0]

    def _write_accounts(self) -> None:
        people = self.people.values()
        passwd = ["root:x:0:0:root:/root:/bin/sh"] + [f"{p.name}:x:{p.uid}:{p.uid}::{p.home}:/bin/sh" for p in people]
        groups = ["root:x:0:"] + [f"{p.name}:x:{p.uid}:" for p in people]
        groups += [f"{name}:x:{gid}:{','.join(members)}" for name, (gid, members) in self._groups.items()]
        (self.etc / "passwd").write_text("\n".join(passwd) + "\n")
        (self.etc / "group").write_text("\n".join(groups) + "\n")

    def with_accounts(self, *command: str) -> list[str]:
        """The command line that runs ``command`` with the lab's passwd and group files in place of the machine's."""
        script = f'mount --bind {self.etc}/passwd /etc/passwd && mount --bind {self.etc}/group /etc/group && exec "$@"'
        return ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", *command]

    def as_person(self, person: Person | None, *command: str) -> list[str]:
        """The command line that runs ``command`` as that person (None: as root), with the groups that the lab gave them."""
        if person is None:
            return list(command)
        gids = ",".join(str(gid) for gid, members in self._groups.values() if person.name in members)
        groups = ["--groups", gids] if gids else ["--clear-groups"]
        return ["setpriv", "--reuid", str(person.uid), "--regid", str(person.uid), *groups, "--", *command]

    def docker(self, socket: Path, person: Person | None, *arguments: str) -> list[str]:
        """A command line of the real docker CLI, as that person, at that socket."""
        return self.as_person(person, *self._client("docker"), "--host", f"unix://{socket}", *arguments)

    def compose(self, person: Person | None, *arguments: str) -> list[str]:
        """A command line of the real compose (set DOCKER_HOST), as that person."""
        return self.as_person(person, *self._client("docker-compose"), *arguments)

    def _client(self, name: str) -> list[str]:
        return [str(self.client / "ld.so"), "--library-path", str(self.client), str(self.client / name)]

    def environment(self, person: Person | None, socket: Path | None = None) -> dict[str, str]:
        """A clean environment for that person's clients."""
        home = str(person.home) if person else "/root"
        environment = {"HOME": home, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "DOCKER_CONFIG": f"{home}/.docker"}
        return environment if socket is None else {**environment, "DOCKER_HOST": f"unix://{socket}"}

    def run(
        self, socket: Path, person: Person | None, *arguments: str, stdin: str | None = None, seconds: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Run the docker CLI and return what it did; never raises for a non-zero exit."""
        return subprocess.run(
            self.docker(socket, person, *arguments),
            input=stdin if stdin is not None else "",
            capture_output=True,
            text=True,
            timeout=seconds,
            env=self.environment(person),
            cwd=person.home if person else "/",
            check=False,
        )

    def popen(self, socket: Path, person: Person | None, *arguments: str) -> subprocess.Popen[bytes]:
        """Start the docker CLI with pipes for its three streams."""
        return subprocess.Popen(
            self.docker(socket, person, *arguments),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self.environment(person),
            cwd=person.home if person else "/",
            preexec_fn=die_with_parent,
        )

    def close(self) -> None:
        """Unmount the homes and remove the directory."""
        subprocess.run(["umount", "-l", str(self.homes)], check=False)
        shutil.rmtree(self.path, ignore_errors=True)


@contextlib.contextmanager
def lab() -> Iterator[Lab]:
    """A prepared lab for as long as the block runs."""
    path = Path(tempfile.mkdtemp(prefix="ds01-lab-", dir="/srv"))
    path.chmod(0o755)
    made = Lab(path)
    try:
        made.prepare()
        yield made
    finally:
        made.close()
