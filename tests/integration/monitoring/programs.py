# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Prometheus and Alertmanager as processes, with the role's configuration moved to a test's own ports and directories."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import socket
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.integration.daemons import die_with_parent, wait_until
from tests.integration.monitoring.role import ROLE, render


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def ask(url: str, body: Any = None, timeout: float = 20.0) -> Any:
    """The answer of an HTTP API as data; with ``body`` it is posted."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=timeout) as answer:
        content = answer.read()
    return json.loads(content) if content.strip() else None


def answers(url: str) -> bool:
    """Whether there is an answer, and a good one."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@contextlib.contextmanager
def program(command: Sequence[str | Path], log: Path, ready: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A program that is ready when ``ready`` (a URL) answers; asked to end afterwards."""
    with log.open("ab") as stream:
        process = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            preexec_fn=die_with_parent,
            **({"env": environment} if environment else {}),
        )

    def up() -> bool:
        if process.poll() is not None:
            raise RuntimeError(f"{command[0]} ended: {log.read_text()[-2000:]}")
        return answers(ready)

    try:
        wait_until(up, 30, f"an answer on {ready} (log: {log})")
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


class Prometheus:
    """``url`` is where its API is."""

    def __init__(self, url: str) -> None:
        self.url = url

    def query(self, expression: str, at: float | None = None) -> dict[str, float]:
        """An instant query: value by the one label of a series, "" for none."""
        moment = {} if at is None else {"time": repr(at)}
        answer = ask(f"{self.url}/api/v1/query?{urllib.parse.urlencode({'query': expression, **moment})}")
        found = {}
        for one in answer["data"]["result"]:
            labels = [value for name, value in one["metric"].items() if name != "__name__"]
            found[",".join(labels)] = float(one["value"][1])
        return found

    def get(self, path: str) -> Any:
        """The data of an API call."""
        return ask(f"{self.url}/api/v1/{path}")["data"]


@contextlib.contextmanager
def prometheus(tools: Path, directory: Path, configuration: str, *options: str) -> Iterator[Prometheus]:
    """A Prometheus over ``directory``/data."""
    port = free_port()
    path = directory / "prometheus.yml"
    path.write_text(configuration)
    command = [
        tools / "prometheus",
        f"--config.file={path}",
        f"--storage.tsdb.path={directory / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--storage.tsdb.retention.time=550d",
        "--log.level=warn",
        *options,
    ]
    url = f"http://127.0.0.1:{port}"
    with program(command, directory / "prometheus.log", f"{url}/-/ready"):
        yield Prometheus(url)


def _with_share_of(tree: Path) -> list[str]:
    """A command line before which Debian's Alertmanager finds its own templates under /usr/share."""
    script = 'mount -t overlay -o "lowerdir=$1/usr/share:/usr/share" overlay /usr/share && shift && exec "$@"'
    return ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", str(tree)]


@contextlib.contextmanager
def alertmanager(tools: Path, directory: Path, *, password: str = "", teams_url: str = "", **variables: Any) -> Iterator[str]:
    """An Alertmanager with the role's configuration, which waits for nobody; its address."""
    secrets, templates = directory / "ds01-secrets", directory / "ds01-templates"
    secrets.mkdir(parents=True)
    templates.mkdir()
    (secrets / "smtp-password").write_text(password)
    (secrets / "teams-url").write_text(teams_url)
    shutil.copy(ROLE / "files" / "ds01.tmpl", templates)
    text = render("alertmanager.yml.j2", monitoring_teams_url=teams_url, **variables)
    for there, here in (
        ("/etc/prometheus", str(directory)),
        ("group_wait: 30s", "group_wait: 0s"),
        ("group_interval: 5m", "group_interval: 1s"),
    ):
        assert there in text
        text = text.replace(there, here)
    path = directory / "alertmanager.yml"
    path.write_text(text)
    address = f"127.0.0.1:{free_port()}"
    command = [
        *_with_share_of(tools.parent.parent),
        tools / "prometheus-alertmanager",
        f"--config.file={path}",
        f"--storage.path={directory / 'alertmanager'}",
        f"--web.listen-address={address}",
        "--cluster.listen-address=",
        "--log.level=debug",
    ]
    with program(command, directory / "alertmanager.log", f"http://{address}/-/ready"):
        yield address
