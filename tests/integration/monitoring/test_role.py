# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The role, run by Ansible on a host whose /etc, /usr/bin and /usr/sbin are the test's own: validated, idempotent, silent about secrets.

promtool, amtool and nft are the servers'; systemctl is a stand-in that knows every unit and notes what it is told.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.integration.daemons import REPOSITORY
from tests.integration.monitoring.role import alerts

CANARIES = ("canary-of-the-mail-password", "canary-of-the-teams-workflow")
VARIABLES = {
    "monitoring_server_name": "gpu1",
    "monitoring_smtp_host": "mail.lab.example:587",
    "monitoring_smtp_user": "ds01",
    "monitoring_smtp_password": CANARIES[0],
    "monitoring_mail_to": ["admin@lab.example"],
    "monitoring_teams_url": f"https://teams.example/{CANARIES[1]}",
}
# Every unit is loaded, enabled, and has become active in a moment that is still to come: nothing it reads is newer. The DCGM exporter is
# when it has a file.
SYSTEMCTL = """#!/bin/sh
echo "$@" >> "${0%/*}/../told/systemctl"
case " $* " in
*" show "*)
    while [ "$1" != -- ]; do shift; done
    shift
    for unit; do
        echo "Id=$unit"
        if [ "$unit" = ds01-dcgm-exporter.service ] && [ ! -e "/etc/systemd/system/$unit" ]; then
            printf 'LoadState=not-found\\nActiveState=inactive\\nUnitFileState=\\n\\n'
            continue
        fi
        printf 'LoadState=loaded\\nActiveState=active\\nUnitFileState=enabled\\nNeedDaemonReload=no\\n'
        printf 'ActiveEnterTimestampMonotonic=9000000000000000\\nStateChangeTimestampMonotonic=9000000000000000\\n\\n'
    done ;;
esac
"""
# /usr/bin and /usr/sbin are looked at through the programs of $1; /etc is written to $2.
MOUNTS = """
mount -t overlay -o "lowerdir=$1/usr/share:/usr/share" overlay /usr/share
mount -t overlay -o "lowerdir=$2/bin:/usr/bin" overlay /usr/bin
mount -t overlay -o "lowerdir=$2/sbin:/usr/sbin" overlay /usr/sbin
mount -t overlay -o "lowerdir=/etc,upperdir=$2/upper,workdir=$2/work" overlay /etc
shift 2
exec "$@"
"""


class Host:
    """``etc`` is what the role has written below /etc."""

    def __init__(self, directory: Path, tree: Path) -> None:
        self._directory = directory
        self._tree = tree
        self.etc = directory / "layers" / "upper"
        self.told = directory / "told" / "systemctl"

    def prepare(self, *, bare: bool = False) -> None:
        """The layers, with the programs and the accounts that the packages make, or without them."""
        layers = self._directory / "layers"
        for name in ("bin", "sbin", "upper", "work", "told"):
            (layers / name).mkdir(parents=True)
        told = self._directory / "told"
        told.mkdir()
        self._write(layers / "bin" / "systemctl", SYSTEMCTL.replace('"${0%/*}/../told/systemctl"', str(told / "systemctl")))
        if bare:
            return
        (layers / "bin" / "promtool").symlink_to(self._tree / "usr" / "bin" / "promtool")
        (layers / "bin" / "amtool").symlink_to(self._tree / "usr" / "bin" / "amtool")
        loader = next((self._tree / "usr").glob("lib*/ld-linux-*.so.*"))
        libraries = next((self._tree / "usr" / "lib").glob("*-linux-gnu"))
        self._write(layers / "sbin" / "nft", f'#!/bin/sh\nexec {loader} --library-path {libraries} {self._tree}/usr/sbin/nft "$@"\n')
        for name, line in (
            ("passwd", "prometheus:x:64001:64001::/var/lib/prometheus:/usr/sbin/nologin\n"),
            ("group", "prometheus:x:64001:\n"),
        ):
            found = Path("/etc", name).read_text()
            Path(self.etc, name).write_text(found if "\nprometheus:" in found else found + line)

    @staticmethod
    def _write(path: Path, text: str) -> None:
        path.write_text(text)
        path.chmod(0o755)

    def play(self, *options: str, **variables: object) -> str:
        """Run the role; everything that Ansible said, at its most talkative."""
        book = self._directory / "play.json"
        play = {"hosts": "localhost", "connection": "local", "gather_facts": False, "roles": ["ds01.infra.monitoring"]}
        book.write_text(json.dumps([play]))
        environment = os.environ | {
            "ANSIBLE_COLLECTIONS_PATH": str(REPOSITORY / ".cache" / "collections"),
            "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
            "ANSIBLE_NOCOLOR": "1",
        }
        program = str(Path(sys.executable).with_name("ansible-playbook"))
        words = [program, "--inventory=localhost,", "--diff", "-vvv", "-e", json.dumps({**VARIABLES, **variables}), *options, str(book)]
        layers = str(self._directory / "layers")
        command = [
            "unshare",
            "--mount",
            "--net",
            "--propagation",
            "private",
            "sh",
            "-eu",
            "-c",
            MOUNTS,
            "sh",
            str(self._tree),
            layers,
            *words,
        ]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
        said = done.stdout + done.stderr
        assert done.returncode == 0 or "expect_failure" in variables, said[-6000:]
        return said


def changed(said: str) -> int:
    """How many tasks changed something."""
    found = re.search(r"changed=(\d+) .*failed=(\d+)", said)
    assert found, said[-3000:]
    return int(found.group(1))


@pytest.fixture(scope="module")
def host(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """A host with the packages."""
    made = Host(tmp_path_factory.mktemp("role"), tree)
    made.prepare()
    yield made


def dcgm_is_there_and_goes(host: Host) -> str:
    """Looks at the optional exporter and takes it back; what Ansible said to that."""
    unit = host.etc / "systemd" / "system" / "ds01-dcgm-exporter.service"
    text = unit.read_text()
    for line in ("SendSIGKILL=no", "TimeoutStopSec=120", "MemoryHigh=500M", "Restart=always", "--address 127.0.0.1:9400"):
        assert line in text
    assert "job_name: dcgm" in (host.etc / "prometheus" / "prometheus.yml").read_text()
    assert not re.search(r"^DCGM_FI_PROF", (host.etc / "prometheus" / "ds01-dcgm.csv").read_text(), re.MULTILINE)
    said = host.play()
    told = host.told.read_text().splitlines()
    assert "--no-pager stop ds01-dcgm-exporter.service" in told and "--no-pager disable ds01-dcgm-exporter.service" in told
    assert not unit.exists()
    assert "dcgm" not in (host.etc / "prometheus" / "prometheus.yml").read_text()
    return said


def test_a_converge_writes_what_the_tools_take_and_a_second_changes_nothing(host: Host) -> None:
    first = host.play(monitoring_dcgm_enabled=True)
    taken_back = dcgm_is_there_and_goes(host)
    again = host.play()
    # The secrets and the configuration; the exporter stopped and its files gone; nothing.
    assert (changed(first), changed(taken_back), changed(again)) == (2, 2, 0)
    for said in (first, taken_back, again):
        assert not [canary for canary in CANARIES if canary in said], "a secret is in Ansible's output"
    secrets = host.etc / "prometheus" / "ds01-secrets"
    assert (secrets / "smtp-password").read_text() == CANARIES[0]
    assert {path.name: (path.stat().st_mode & 0o7777, path.stat().st_gid) for path in secrets.iterdir()} == {
        "smtp-password": (0o640, 64001),
        "teams-url": (0o640, 64001),
    }
    assert secrets.stat().st_mode & 0o7777 == 0o750
    others = [path for path in host.etc.rglob("*") if path.is_file() and path.parent != secrets]
    assert not [path for path in others if any(canary in path.read_text(errors="replace") for canary in CANARIES)]
    rules = [rule for path in (host.etc / "prometheus" / "ds01").glob("*.yml") for rule in every_rule(path)]
    assert {rule["alert"] for rule in rules if "alert" in rule} == set(alerts())
    assert "retention.time=550d" in (host.etc / "default" / "prometheus").read_text()


def every_rule(path: Path) -> list[dict[str, object]]:
    """The rules of a file."""
    return [rule for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"]]


def test_a_check_of_a_bare_host_fails_nowhere_and_writes_nothing(tree: Path, tmp_path: Path) -> None:
    bare = Host(tmp_path, tree)
    bare.prepare(bare=True)
    said = bare.play("--check")
    assert changed(said) >= 2
    assert "write /etc/prometheus/prometheus.yml" in said or "create /etc/prometheus" in said
    assert not [canary for canary in CANARIES if canary in said]
    assert not [path for path in bare.etc.rglob("*") if path.is_file()]


def test_what_amtool_refuses_is_not_written(host: Host) -> None:
    path = host.etc / "prometheus" / "alertmanager.yml"
    before = path.read_text()
    said = host.play(monitoring_smtp_host="no-port", expect_failure=True)
    assert "refused by amtool" in said and "nothing was written" in said
    assert path.read_text() == before
