# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The adapter over the binding: what it refuses, how errors are told apart, and what it leaves to the driver."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ds01 import nvml_binding, nvml_mig, nvml_processes
from ds01.nvml import open_nvml
from ds01.nvml_binding import NvmlError, NvmlGpuLost, NvmlInsufficient, NvmlInUse, NvmlNoPermission, NvmlNotFound, NvmlNotSupported
from tests.mig_simulator import ROOT, Simulator, gpu_uuid, load_library

ON = "gpu 0 model=a100-40gb mig_mode=1 mig_pending=1"


def test_the_geometry_is_the_drivers(sim: Simulator) -> None:
    sim.write("gpu 0 model=a100-40gb", "gpu 1 model=h200-141gb")
    with open_nvml(sim.paths.cap_minors) as nvml:
        first, second = (s.geometry for s in nvml.states())
    assert first is not None
    assert second is not None
    assert {p.name: (p.id, p.compute_slices, p.size, p.starts, p.max_count) for p in first.profiles} == {
        "1g.5gb": (19, 1, 1, (0, 1, 2, 3, 4, 5, 6), 7),
        "1g.5gb+me": (20, 1, 1, (0, 1, 2, 3, 4, 5, 6), 1),
        "1g.10gb": (15, 1, 2, (0, 2, 4, 6), 4),
        "2g.10gb": (14, 2, 2, (0, 2, 4), 3),
        "3g.20gb": (9, 3, 4, (0, 4), 2),
        "4g.20gb": (5, 4, 4, (0,), 1),
        "7g.40gb": (0, 7, 8, (0,), 1),
    }
    assert (first.compute_capability, first.compute_slices) == (8, 7)
    assert (second.compute_capability, second.profile(9).name) == (9, "3g.71gb")


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda h: nvml_mig.create(h, 9, 4, 4), NvmlInsufficient),
        (lambda h: nvml_mig.create(h, 14, 4, 2), NvmlInsufficient),
        (lambda h: nvml_mig.make_whole(h, 5, 1), NvmlNotFound),
    ],
    ids=["same-again", "overlap", "no-such-instance"],
)
def test_errors_are_told_apart(sim: Simulator, change: Any, error: type[NvmlError]) -> None:
    sim.write(ON, "gi 0 2 profile=9 start=4 name=3g.20gb")
    with open_nvml(sim.paths.cap_minors) as nvml, pytest.raises(error):
        change(nvml.handle(gpu_uuid(0)))


def test_destroying_twice_is_no_error(sim: Simulator) -> None:
    sim.write(ON, "gi 0 2 profile=9 start=4 name=3g.20gb", "ci 0 2 0 slices=3 start=0 uuid=MIG-x")
    with open_nvml(sim.paths.cap_minors) as nvml:
        nvml_mig.destroy(nvml.handle(gpu_uuid(0)), 2)
        nvml_mig.destroy(nvml.handle(gpu_uuid(0)), 2)
    assert sim.standing() == []


def test_a_process_holds_its_instance(sim: Simulator) -> None:
    sim.write(ON, "gi 0 2 profile=9 start=4 name=3g.20gb", "ci 0 2 0 slices=3 start=0 uuid=MIG-x", f"proc 0 {os.getpid()} gi=2 ci=0 kind=C")
    with open_nvml(sim.paths.cap_minors) as nvml, pytest.raises(NvmlInUse):
        nvml_mig.destroy(nvml.handle(gpu_uuid(0)), 2)


def test_mig_off_has_no_instances_to_create(sim: Simulator) -> None:
    sim.write("gpu 0 model=a100-40gb")
    with open_nvml(sim.paths.cap_minors) as nvml, pytest.raises(NvmlNotSupported):
        nvml_mig.create(nvml.handle(gpu_uuid(0)), 9, 4, 4)


def test_only_the_administrator_may(sim: Simulator) -> None:
    sim.write(ON)
    sim.state.write_text(sim.state.read_text().replace(f"admin_uid={os.geteuid()}", "admin_uid=0"))
    program = (
        "import ctypes, os, sys; ctypes.CDLL(sys.argv[1], mode=ctypes.RTLD_GLOBAL)\n"
        "from ds01 import nvml, nvml_mig\n"
        "with nvml.open_nvml() as n:\n"
        "    os.geteuid() == 0 and os.seteuid(65534)\n"
        "    try: nvml_mig.set_mode(n.handle(sys.argv[2]), False)\n"
        "    except nvml_mig.NvmlError as error: print(type(error).__name__)\n"
    )
    for directory in (sim.directory, *sim.directory.parents[:3]):
        if directory != Path("/tmp"):
            directory.chmod(0o755)
    environment = os.environ | {"PYTHONPATH": str(ROOT / ".cache" / "lib")}
    command = [sys.executable, "-c", program, str(load_library() / "libnvidia-ml.so.1"), gpu_uuid(0)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == NvmlNoPermission.__name__, done.stderr


def test_a_lost_gpu_is_left_out_of_the_states(sim: Simulator) -> None:
    sim.write("gpu 0 model=a100-40gb lost=1", "gpu 1 model=a100-40gb")
    with open_nvml(sim.paths.cap_minors) as nvml:
        assert [s.index for s in nvml.states()] == [1]
        with pytest.raises(NvmlGpuLost):
            nvml_mig.mode(nvml.handle(gpu_uuid(0)))


def test_a_table_of_minors_that_lacks_an_instance_is_an_error(sim: Simulator) -> None:
    sim.write(ON, "gi 0 2 profile=9 start=4 name=3g.20gb", "ci 0 2 0 slices=3 start=0 uuid=MIG-x")
    assert sim.paths.cap_minors is not None
    sim.paths.cap_minors.write_text("gpu0/gi1/access 12\n")
    with open_nvml(sim.paths.cap_minors) as nvml, pytest.raises(NvmlError, match=r"GI 2, CI 0: no entry"):
        nvml.inventory()
    sim.paths.cap_minors.unlink()
    with open_nvml(sim.paths.cap_minors) as nvml, pytest.raises(NvmlError, match="can't be read as the table"):
        nvml.inventory()


def test_the_deprecated_binding_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The distribution ``pynvml`` up to 11 brings a module of the same name."""
    path = nvml_binding.binding().__file__
    shim = SimpleNamespace(files=[SimpleNamespace(locate=lambda: path)])
    monkeypatch.setattr(nvml_binding.metadata, "distribution", lambda name: shim)
    with pytest.raises(NvmlError, match=r"deprecated distribution pynvml.*install nvidia-ml-py"):
        nvml_binding.check_binding()


def test_a_binding_without_the_calls_we_need_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvml_binding, "pynvml", SimpleNamespace(__file__="/usr/lib/python3/dist-packages/pynvml.py"))
    with pytest.raises(NvmlError, match="too old"):
        nvml_binding.check_binding()


def test_a_shim_that_does_not_own_the_module_is_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    """``pynvml`` from 12 on has no module of that name and depends on the right distribution."""
    shim = SimpleNamespace(files=[SimpleNamespace(locate=lambda: "/elsewhere/pynvml_utils/__init__.py")])
    monkeypatch.setattr(nvml_binding.metadata, "distribution", lambda name: shim)
    nvml_binding.check_binding()


def test_who_has_a_device_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A made-up /proc: one process has /dev/nvidia0 open, one /dev/nvidia1, one hides its files."""
    for pid, target in ((11, "/dev/nvidia0"), (12, "/dev/nvidia1"), (13, "/dev/nvidiactl")):
        (tmp_path / str(pid) / "fd").mkdir(parents=True)
        (tmp_path / str(pid) / "fd" / "3").symlink_to(target)
    (tmp_path / "14").mkdir()
    (tmp_path / "self").mkdir()
    monkeypatch.setattr(nvml_processes, "PROC", tmp_path)
    assert nvml_processes.holders(0) == (11,)


def test_a_process_that_is_gone_still_has_words() -> None:
    assert nvml_processes.in_words(4194000) == "process 4194000"
    assert nvml_processes.in_words(os.getpid()).startswith(f"process {os.getpid()} (")
