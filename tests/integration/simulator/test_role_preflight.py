# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The role refuses to hide real GPUs. Run against this machine in a mount namespace where /etc and /opt can be changed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulated_gpu import ROOT, build_library

PLAY = """
- name: Check whether the simulator may be installed
  hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - name: Check
      ansible.builtin.include_role:
        name: ds01.infra.gpu_simulator
        tasks_from: preflight
"""

NAMESPACE = """
mount -t tmpfs tmpfs {layers}
for name in etc opt; do
  mkdir -p {layers}/$name/upper {layers}/$name/work
  mount -t overlay overlay -o lowerdir=/$name,upperdir={layers}/$name/upper,workdir={layers}/$name/work /$name
done
mkdir -p {library_directory}
cp {library} {library_directory}/libnvidia-ml.so.1
echo {library_directory} > /etc/ld.so.conf.d/under-test.conf
/sbin/ldconfig
exec "$@"
"""


def preflight(tmp_path: Path, library_directory: str, simulated: bool) -> subprocess.CompletedProcess[str]:
    """Run the role's preflight where the linker knows a library in that directory."""
    if os.geteuid() != 0:
        pytest.fail("needs root, for a mount namespace")
    playbook = shutil.which("ansible-playbook", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    assert playbook, "ansible-playbook is not installed"
    (tmp_path / "play.yml").write_text(PLAY)
    layers = tmp_path / "layers"
    layers.mkdir()
    namespace = NAMESPACE.format(layers=layers, library=build_library(), library_directory=library_directory)
    shell = ["unshare", "--mount", "--propagation", "private", "sh", "-euc", namespace, "sh"]
    variables = ["--extra-vars", f'{{"ds01_gpu_simulated": {str(simulated).lower()}}}']
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".cache" / "collections"), "ANSIBLE_NOCOLOR": "1"}
    command = [*shell, playbook, *variables, str(tmp_path / "play.yml")]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)


def test_it_refuses_beside_a_library_that_is_not_ours(tmp_path: Path) -> None:
    done = preflight(tmp_path, "/opt/real-driver/lib", simulated=True)
    assert done.returncode == 2
    said = " ".join((done.stdout + done.stderr).split())
    assert "real NVIDIA driver" in said
    assert "/opt/real-driver/lib/libnvidia-ml.so.1" in said


def test_its_own_library_is_no_reason_to_refuse(tmp_path: Path) -> None:
    done = preflight(tmp_path, "/opt/ds01-gpusim/lib", simulated=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_it_refuses_where_simulation_was_not_asked_for(tmp_path: Path) -> None:
    done = preflight(tmp_path, "/opt/ds01-gpusim/lib", simulated=False)
    assert done.returncode == 2
    assert "ds01_gpu_simulated: true" in done.stdout + done.stderr
