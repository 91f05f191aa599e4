# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Room on demand on simulated GPUs, through the real binding: made under the locks, published, granted, and never what is held."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ds01_mig import __main__ as command

from ds01.allocator import AllocationPaths, Allocator
from ds01.core.mig_dynamic import NoRoom, Wish
from ds01.core.mig_layout import HostLayout, layout_to_json, parse_gpus
from ds01.core.refusal import Refusal
from ds01.core.request_text import parse_request_text
from ds01.devices_snapshot import load
from ds01.mig_apply import PUBLISH, MigHost
from ds01.mig_claims import ClaimFiles
from ds01.mig_remaker import Remaker
from ds01.slice_control import NoSlices
from tests.allocation_examples import limits
from tests.mig_simulator import Simulator, gpu_uuid


class Host:
    """One dynamic GPU that starts balanced, and an allocator over what is published."""

    def __init__(self, sim: Simulator, *profiles: str) -> None:
        self.sim, run = sim, sim.directory / "run"
        sim.write("gpu 0 model=a100-40gb", "gpu 1 model=a100-40gb")
        self.layout: HostLayout = parse_gpus(
            [{"gpu": 0, "layout": "all-balanced", "dynamic": {"profiles": list(profiles)}}, {"gpu": 1, "layout": "all-balanced"}]
        )
        sim.paths.layout.write_text(json.dumps(layout_to_json(self.layout)))
        self.paths = AllocationPaths(
            sim.directory / "claims", sim.directory / "claims.lock", run / "devices.json", run / "cdi-base.json", run / "reservations.json"
        )
        self.mig = MigHost(sim.paths, ClaimFiles(self.paths.claims, self.paths.lock))
        self.mig.apply(self.layout)
        self.allocator = Allocator(self.paths, NoSlices())

    def grant(self, number: int, request: str) -> str:
        who = limits(user=f"u{number}", equivalents=None)
        granted = self.allocator.grant(f"c{number:012x}", who, 5000 + number, parse_request_text(request), f"{number:064x}", f"n{number}")
        return f"{granted.devices[0].gpu_uuid[4:12]} {granted.devices[0].profile}"

    def standing(self, gpu: int = 0) -> list[str]:
        found = next(g for g in load(self.sim.paths.devices).gpus if g.index == gpu)
        return [f"{i.profile}@{i.start}" for i in sorted(found.instances, key=lambda i: i.start)]

    def make(self, *words: str) -> int:
        return command.main(["make", *words], self.mig)


def test_room_is_made_published_and_granted_and_what_is_held_stays(sim: Simulator) -> None:
    host = Host(sim, "1g", "2g", "3g")
    for number, request in enumerate(["2g", "2g", "1g"]):
        host.grant(number, request)
    held = {c.devices[0].key for c in host.allocator.claims()}
    with pytest.raises(Refusal, match="no GPU is free"):
        host.grant(9, "2g")
    done = host.mig.make([Wish(gpu_uuid(0), "2g.10gb")])
    assert done[-1] == PUBLISH and "GPU 0: destroy 3g.20gb at 4" in done
    assert host.grant(9, "2g") == "00000000 2g.10gb"
    keys = {i.key for g in load(sim.paths.devices).gpus for i in g.instances}
    assert held <= keys and "3g.20gb@4" in host.standing(1), "nothing that is held, and no GPU with a fixed layout, changes"
    assert host.mig.apply(host.layout) == [], "a converge leaves what demand has made"


def test_nothing_is_made_beside_what_is_in_use_or_kept_or_not_allowed(sim: Simulator) -> None:
    host = Host(sim, "1g", "2g", "3g")
    for number, request in enumerate(["3g", "3g", "2g", "2g"]):
        host.grant(number, request)
    before = host.standing()
    for wish in (Wish("0", "3g"), Wish("0", "2g"), Wish("0", "7g"), Wish("1", "1g")):
        keep = [i.key for g in load(sim.paths.devices).gpus for i in g.instances if i.profile.startswith("1g")]
        with pytest.raises(NoRoom):
            host.mig.make([wish], keep)
    assert host.standing() == before and host.mig.apply(host.layout) == []


def test_the_boot_and_a_way_back_give_the_starting_layout(sim: Simulator) -> None:
    host = Host(sim, "1g", "7g")
    assert host.mig.make([Wish("0", "7g")])
    assert host.standing() == ["7g.40gb@0"]
    assert command.main(["apply", "--layout", str(sim.paths.layout)], host.mig) == 0
    assert host.standing() == ["7g.40gb@0"]
    assert command.main(["apply", "--starting", "--layout", str(sim.paths.layout)], host.mig) == 0
    assert len(host.standing()) == 4
    assert load(sim.paths.devices).gpus[0].dynamic, "what may be made on demand is still published"


def test_the_command_makes_keeps_reservations_and_says_why_not(
    sim: Simulator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    host = Host(sim, "2g", "3g")
    monkeypatch.setattr(command, "RESERVATIONS", host.paths.reservations)
    gpu = load(sim.paths.devices).gpus[0]
    reserved = [i.key for i in gpu.instances if i.profile == "3g.20gb"]
    entry: dict[str, Any] = {"id": "exam", "devices": reserved, "users": ["prof"], "start": 4e9, "end": 5e9}
    host.paths.reservations.write_text(json.dumps({"reservations": [entry]}))
    host.grant(1, "2g")
    host.grant(2, "2g")
    assert host.make("0/2g.10gb") == 0
    assert host.standing() == ["2g.10gb@0", "2g.10gb@2", "3g.20gb@4"], "two idle 1g go, the reserved 3g stays"
    assert host.make("0/9g") == 3 and "may not be made there" in capsys.readouterr().err
    assert host.make("2g") == 3 and "expected GPU/PROFILE" in capsys.readouterr().err


def test_an_administrator_repartitions_one_gpu_by_hand_and_a_converge_brings_it_back(
    sim: Simulator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    host = Host(sim, "1g")
    monkeypatch.setattr(command, "LAYOUT", sim.paths.layout)
    before = host.standing(1)
    assert command.main(["repartition", "1", ",".join(["1g.5gb"] * 7)], host.mig) == 0
    assert len(host.standing(1)) == 7 and len(host.standing(0)) == 4 and load(sim.paths.devices).gpus[0].dynamic
    for number in range(3):
        host.grant(number, "1g")
    held = {c.devices[0].gpu_uuid for c in host.allocator.claims()}
    assert gpu_uuid(1) in held, "two of the small ones are on GPU 0, the third on GPU 1"
    assert command.main(["repartition", "1", "all-7g"], host.mig) == 3 and "is used by claim" in capsys.readouterr().err
    assert command.main(["repartition", "1", "all-9g"], host.mig) == 3 and "doesn't have" in capsys.readouterr().err
    for number in range(3):
        host.allocator.drop(f"c{number:012x}")
    assert host.mig.apply(host.layout) and host.standing(1) == before


def test_what_may_be_made_is_not_refused_at_create_and_wished_for_within_quota_and_policy(sim: Simulator) -> None:
    host = Host(sim, "1g", "4g")
    four, who = parse_request_text("4g"), limits(equivalents=None)
    assert host.allocator.check(who, four) is None, "4g stands nowhere yet, and can be made"
    refused = host.allocator.check(limits(profiles=("1g",)), four)
    assert refused is not None and refused.rule == "gpu.not_on_this_host"
    remaker = Remaker()
    moment = host.allocator.moment()

    def wishes(request: str, **changes: Any) -> tuple[str, ...]:
        asked = parse_request_text(request)
        return remaker.wishes(moment.inventory, limits(**changes), asked, host.allocator.usage(1), (), 0.0)

    assert wishes("4g") == (f"{gpu_uuid(0)}/4g.20gb",)
    assert wishes("all") == (f"{gpu_uuid(0)}/1g.5gb", f"{gpu_uuid(0)}/4g.20gb"), "smallest first"
    assert wishes("memory=10GiB") == (f"{gpu_uuid(0)}/4g.20gb",)
    for request, changes in (("4g", {"profiles": ("1g",)}), ("4g", {"pools": ("batch",)}), ("full", {"full_gpu": True}), ("2x1g", {})):
        assert wishes(request, **changes) == ()
