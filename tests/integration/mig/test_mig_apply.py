# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""MIG changes on simulated GPUs through the real binding: least change, nothing in use touched, busy switches taken back, resumed."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ds01 import nvml_mig
from ds01.core.devices import Inventory
from ds01.core.mig_layout import HostLayout, parse_gpus
from ds01.devices_snapshot import PublishError, load
from ds01.mig_apply import PUBLISH, ApplyFailed, ImpossibleLayout, MigHost
from ds01.nvml import open_nvml
from ds01.nvml_binding import NvmlError, NvmlUnavailable
from tests.mig_simulator import Simulator, gpu_uuid

BALANCED = ["1g.5gb@2:1", "1g.5gb@3:1", "2g.10gb@0:2", "3g.20gb@4:3"]


class Held:
    """Claims that a test makes up; ``later`` are found only once the lock is held."""

    def __init__(self, now: dict[str, str] | None = None, later: dict[str, str] | None = None) -> None:
        self._now, self._later, self.locked = now or {}, later or {}, 0

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        self.locked += 1
        self._now = {**self._now, **self._later}
        yield

    def holders(self, inventory: Inventory) -> dict[str, str]:
        assert inventory.simulated
        return dict(self._now)


def host(sim: Simulator, claims: Held | None = None, **options: Any) -> MigHost:
    return MigHost(sim.paths, claims or Held(), **options)


def layout(*entries: dict[str, Any], **options: Any) -> HostLayout:
    return parse_gpus(list(entries), **options)


def named(name: str, gpu: str = "all") -> HostLayout:
    return layout({"gpu": gpu, "layout": name})


@pytest.mark.parametrize(("model", "mode_survives"), [("a100-40gb", True), ("h100-80gb", False)])
def test_a_bare_gpu_gets_its_layout_and_a_second_run_does_nothing(sim: Simulator, model: str, mode_survives: bool) -> None:
    sim.write(f"gpu 0 model={model}")
    done = host(sim).apply(named("all-balanced"))
    assert done[0] == "GPU 0: switch MIG on"
    assert done[-1] == PUBLISH
    assert len(done) == 6
    assert sim.mode() == ("1", "1")
    assert [s.split("@")[1] for s in sim.standing()] == ["2:1", "3:1", "0:2", "4:3"]
    assert len(sim.published()) == 4
    before = sim.state.read_text(), sim.paths.devices.stat()
    assert host(sim).apply(named("all-balanced")) == []
    assert (sim.state.read_text(), sim.paths.devices.stat()) == before
    sim.state.write_text(sim.state.read_text().replace("boot=", "boot=another-"))
    again = host(sim).apply(named("all-balanced"))
    assert ("GPU 0: switch MIG on" in again) != mode_survives
    assert len(sim.standing()) == 4


def test_what_stands_is_kept_with_its_uuid(sim: Simulator) -> None:
    sim.write("gpu 0 model=a100-40gb")
    host(sim).apply(named("all-balanced"))
    uuids = {i.key: i.mig_uuid for i in load(sim.paths.devices).gpus[0].instances}
    wanted = layout({"gpu": 0, "instances": [{"profile": "3g"}, {"profile": "2g"}, {"profile": "2g"}]})
    done = host(sim).apply(wanted)
    assert done[:-1] == ["GPU 0: destroy 1g.5gb at 2", "GPU 0: destroy 1g.5gb at 3", "GPU 0: create 2g.10gb at 2"]
    after = {i.key: i.mig_uuid for i in load(sim.paths.devices).gpus[0].instances}
    assert {k: after[k] for k in after if k in uuids} == {k: u for k, u in uuids.items() if "/19@" not in k}


def test_the_snapshot_has_what_opens_an_instance(sim: Simulator) -> None:
    sim.write("gpu 0 model=a100-40gb mig_mode=1 mig_pending=1", "gpu 1 model=h100-80gb")
    host(sim).apply(layout({"gpu": 0, "instances": [{"profile": "3g", "start": 4}]}))
    inventory = load(sim.paths.devices)
    assert inventory.simulated
    partitioned, full = inventory.gpus
    (instance,) = partitioned.instances
    assert (instance.gi_id, instance.start, instance.size, instance.compute_slices) == (2, 4, 4, 3)
    assert (instance.gi_minor, instance.ci_minor) == (21, 22)
    assert instance.memory_mib == 19968
    assert (full.mig_enabled, full.instances, full.memory_mib) == (False, (), 81559)
    names = {d["name"] for d in json.loads(sim.paths.cdi_base.read_text())["devices"]}
    assert {instance.mig_uuid, full.uuid} <= names


def test_an_instance_with_a_process_stays(sim: Simulator, living: Callable[[], int]) -> None:
    pid = living()
    sim.write("gpu 0 model=a100-40gb")
    host(sim).apply(named("all-7g"))
    with sim.state.open("a") as state:
        state.write(f"proc 0 {pid} gi=0 ci=0 memory=1 kind=C\n")
    before = sim.standing()
    with pytest.raises(ImpossibleLayout, match=rf"7g\.40gb at 0 is used by process {pid} \(sleep\)"):
        host(sim).apply(named("all-1g"))
    assert sim.standing() == before
    with pytest.raises(ApplyFailed, match=r"destroy 7g\.40gb at 0: .*In use"):
        host(sim).apply(named("all-1g"), force=True)
    assert len(sim.published()) == 1


def test_a_claimed_instance_stays_unless_forced(sim: Simulator) -> None:
    sim.write("gpu 0 model=a100-40gb")
    host(sim).apply(named("all-balanced"))
    claims = Held({f"{gpu_uuid(0)}/9@4": "claim c0123456789ab of alice"})
    with pytest.raises(ImpossibleLayout, match=r"3g\.20gb at 4 is used by claim c0123456789ab of alice"):
        host(sim, claims).apply(named("all-1g"))
    assert sim.standing() == BALANCED
    survey = host(sim, claims).survey(named("all-1g"), force=True)
    assert survey.plan.displaced == ["GPU 0: 3g.20gb at 4, used by claim c0123456789ab of alice"]
    host(sim, claims).apply(named("all-1g"), force=True)
    assert sim.standing() == [f"1g.5gb@{n}:1" for n in range(7)]


def test_a_claim_granted_while_we_planned_is_seen(sim: Simulator) -> None:
    sim.write("gpu 0 model=a100-40gb")
    host(sim).apply(named("all-balanced"))
    claims = Held(later={f"{gpu_uuid(0)}/9@4": "claim c0123456789ab of bob"})
    assert not host(sim, claims).survey(named("all-1g")).plan.problems
    with pytest.raises(ImpossibleLayout, match="bob"):
        host(sim, claims).apply(named("all-1g"))
    assert sim.standing() == BALANCED


def test_changes_hold_the_claims_still_and_idle_runs_do_not(sim: Simulator) -> None:
    sim.write("gpu 0 model=a100-40gb")
    claims = Held()
    host(sim, claims).apply(named("all-1g"))
    assert claims.locked == 1
    host(sim, claims).apply(named("all-1g"))
    assert claims.locked == 1


@pytest.mark.parametrize("model", ["a100-40gb", "h100-80gb"])
def test_a_busy_switch_is_taken_back(sim: Simulator, living: Callable[[], int], model: str) -> None:
    """A monitor holds the GPU open: NVML does not list it, so that only the driver knows."""
    sim.write(f"gpu 0 model={model}", f"proc 0 {living()} kind=H", "gpu 1 model=a100-40gb")
    with pytest.raises(ApplyFailed, match=r"GPU 0: switch MIG on: the GPU has clients, and nothing was changed"):
        host(sim).apply(named("all-7g"))
    assert sim.mode(0) == ("0", "0")
    assert sim.standing(1) == ["7g.40gb@0:7"], "a failure on one GPU does not hold up another"


def test_units_that_hold_gpus_are_paused_for_the_change_only(sim: Simulator) -> None:
    sim.write("gpu 0 model=a100-40gb")
    paused: list[tuple[tuple[str, ...], str]] = []

    @contextlib.contextmanager
    def pause(units: tuple[str, ...]) -> Iterator[None]:
        paused.append((units, sim.mode()[0]))
        yield
        paused.append((units, sim.mode()[0]))

    wanted = layout({"gpu": 0, "layout": "all-7g"}, pause_units=["nvidia-dcgm.service"])
    host(sim, pause=pause).apply(wanted)
    assert paused == [(("nvidia-dcgm.service",), "0"), (("nvidia-dcgm.service",), "1")]
    host(sim, pause=pause).apply(wanted)
    assert len(paused) == 2


def test_a_pending_switch_of_somebody_else_is_repaired(sim: Simulator) -> None:
    sim.write("gpu 0 model=a100-40gb mig_mode=0 mig_pending=1", "gpu 1 model=a100-40gb mig_mode=1 mig_pending=0")
    done = host(sim).apply(layout({"gpu": 0, "mode": "off"}, {"gpu": 1, "instances": []}))
    assert set(done) == {"GPU 0: take back the pending switch of MIG on", "GPU 1: take back the pending switch of MIG off", PUBLISH}
    assert (sim.mode(0), sim.mode(1)) == (("0", "0"), ("1", "1"))


def test_a_gpu_that_cannot_be_reset_keeps_the_switch_for_the_next_boot(sim: Simulator) -> None:
    sim.write("gpu 0 model=a100-40gb reset_blocked=1")
    with pytest.raises(ApplyFailed, match="reboot: the switch is noted"):
        host(sim).apply(named("all-7g"))
    assert sim.mode() == ("0", "1")


def test_half_done_instances_are_made_whole(sim: Simulator) -> None:
    sim.write(
        "gpu 0 model=a100-40gb mig_mode=1 mig_pending=1",
        "gi 0 2 profile=9 start=4",
        "gi 0 3 profile=14 start=0",
        "ci 0 3 0 slices=1 start=0 uuid=MIG-00000000-0000-5000-8000-000000000001",
    )
    host(sim).publish()
    assert sim.published() == [], "what is half done can't be allocated"
    done = host(sim).apply(layout({"gpu": 0, "instances": [{"profile": "3g"}, {"profile": "2g"}]}))
    assert sorted(done[:-1]) == [
        "GPU 0: make the compute instance of 2g.10gb at 0 whole",
        "GPU 0: make the compute instance of 3g.20gb at 4 whole",
    ]
    assert sim.standing() == ["2g.10gb@0:2", "3g.20gb@4:3"]
    assert len(sim.published()) == 2


@pytest.mark.parametrize("cut", range(1, 6))
def test_a_run_that_breaks_off_is_resumed(sim: Simulator, monkeypatch: pytest.MonkeyPatch, cut: int) -> None:
    """The driver fails at the ``cut``-th change; what stands then is published, and the next run does only the rest."""
    sim.write("gpu 0 model=a100-40gb mig_mode=1 mig_pending=1", "gi 0 1 profile=9 start=0 name=3g.20gb")
    changes = 0

    def failing(real: Callable[..., Any]) -> Callable[..., Any]:
        def change(*arguments: Any) -> Any:
            nonlocal changes
            changes += 1
            if changes == cut:
                raise NvmlError("the driver broke off")
            return real(*arguments)

        return change

    with monkeypatch.context() as broken:
        for name in ("create", "make_whole", "destroy"):
            broken.setattr(nvml_mig, name, failing(getattr(nvml_mig, name)))
        with pytest.raises(ApplyFailed, match="the driver broke off"):
            host(sim).apply(named("all-balanced"))
    whole = [s for s in sim.standing() if not s.endswith(":")]
    assert len(sim.published()) == len(whole)
    kept = set(whole)
    host(sim).apply(named("all-balanced"))
    assert kept <= set(sim.standing())
    assert len(sim.standing()) == 4
    assert host(sim).apply(named("all-balanced")) == []


def test_partial_does_what_it_can_and_still_fails(sim: Simulator) -> None:
    sim.write("gpu 0 model=a100-40gb mig_mode=1 mig_pending=1", "gpu 1 model=a100-40gb mig_mode=1 mig_pending=1")
    wanted = layout({"gpu": 0, "instances": [{"profile": "9g"}]}, {"gpu": 1, "layout": "all-7g"}, {"gpu": 5, "mode": "off"})
    with pytest.raises(ImpossibleLayout):
        host(sim).apply(wanted)
    assert sim.standing(1) == []
    with pytest.raises(ApplyFailed, match="9g"):
        host(sim).apply(wanted, partial=True)
    assert sim.standing(1) == ["7g.40gb@0:7"]
    with pytest.raises(ImpossibleLayout, match="GPU 5: not on this host, or lost"):
        host(sim).apply(wanted, partial=True)


def test_a_lost_gpu_stays_in_the_snapshot_as_unhealthy(sim: Simulator) -> None:
    sim.write("gpu 0 model=a100-40gb", "gpu 1 model=a100-40gb")
    host(sim).apply(named("all-7g", "0"))
    sim.state.write_text(sim.state.read_text().replace("lost=0", "lost=1", 1))
    host(sim).publish()
    lost, well = load(sim.paths.devices).gpus
    assert (lost.uuid, lost.healthy, well.healthy) == (gpu_uuid(0), False, True)
    assert [i.profile for i in lost.instances] == ["7g.40gb"]


def test_a_lost_gpu_keeps_no_other_from_being_published(sim: Simulator) -> None:
    """The generator leaves a lost GPU out, or fails on it altogether; the others stay usable either way."""
    sim.write("gpu 0 model=a100-40gb", "gpu 1 model=a100-40gb")
    host(sim).apply(named("all-7g"))
    sim.state.write_text(sim.state.read_text().replace("lost=0", "lost=1", 1))
    left = json.loads(sim.paths.cdi_base.read_text())
    left["devices"] = [d for d in left["devices"] if d["name"] == load(sim.paths.devices).gpus[1].instances[0].mig_uuid]

    def failing(_simulated: bool) -> str:
        raise PublishError("nvidia-ctk: GPU is lost")

    host(sim, generate=lambda _: json.dumps(left)).publish()
    host(sim, generate=failing).publish()
    assert [g.healthy for g in load(sim.paths.devices).gpus] == [False, True]
    sim.paths.cdi_base.unlink()
    with pytest.raises(PublishError, match="nvidia-ctk: GPU is lost"):
        host(sim, generate=failing).publish()


def test_a_snapshot_is_published_only_with_a_spec_for_all_of_it(sim: Simulator) -> None:
    sim.write("gpu 0 model=a100-40gb")
    with pytest.raises(PublishError, match=f"lacks {gpu_uuid(0)}"):
        host(sim, generate=lambda _: '{"devices": []}').publish()
    assert not sim.paths.devices.exists()
    with pytest.raises(PublishError, match="isn't one"):
        host(sim, generate=lambda _: "Segmentation fault").publish()


def _apply_in_a_process(paths: Any, name: str, start: Any, results: Any) -> None:
    start.wait()
    try:
        results.put(MigHost(paths, Held()).apply(named(name)))
    except Exception as error:
        results.put(error)


def test_two_at_once_take_turns(sim: Simulator) -> None:
    sim.write("gpu 0 model=a100-40gb")
    context = multiprocessing.get_context("fork")
    start, results = context.Barrier(4), context.Queue()
    workers = [context.Process(target=_apply_in_a_process, args=(sim.paths, n, start, results)) for n in ("all-1g", "all-2g") * 2]
    for worker in workers:
        worker.start()
    answers = [results.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join(timeout=60)
    assert all(isinstance(a, list) for a in answers), answers
    assert len(sim.standing()) in (3, 7)
    assert len(sim.published()) == len(sim.standing())


def test_no_driver(sim: Simulator) -> None:
    sim.state.unlink()
    with pytest.raises(NvmlUnavailable, match="kernel module isn't loaded"):
        host(sim).survey(HostLayout())


def test_processes_of_all_kinds_count_once(sim: Simulator, living: Callable[[], int]) -> None:
    first, second = living(), living()
    sim.write(
        "gpu 0 model=a100-40gb",
        f"proc 0 {first} memory=10 kind=C",
        f"proc 0 {first} memory=20 kind=G",
        f"proc 0 {second} memory=5 kind=M",
        "proc 0 4194000 memory=5 kind=C",
    )
    with open_nvml(sim.paths.cap_minors) as nvml:
        (state,) = nvml.states()
    assert state.users == tuple(f"process {p} (sleep)" for p in sorted((first, second)))
