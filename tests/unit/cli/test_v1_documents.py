# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""What each /ds01/v1 document says, and above all what it does not say to people whom it does not concern."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction

from ds01_cli import claims_command, status_command

from ds01.core.claim import Claim, ClaimedDevice
from ds01.core.devices import Gpu, Inventory, MigInstance
from ds01.core.v1_documents import claims, status

INSTANCE = MigInstance("GPU-1", 2, 0, 9, "3g.20gb", 4, 4, 3, 19968, "MIG-x", 21, 22)
INVENTORY = Inventory(
    (
        Gpu("GPU-0", 0, 0, "NVIDIA A100-PCIE-40GB", 40960, False, 7),
        Gpu("GPU-1", 1, 1, "NVIDIA A100-PCIE-40GB", 40960, True, 7, (INSTANCE,)),
        Gpu("GPU-2", 2, 2, "NVIDIA A100-PCIE-40GB", 40960, True, 7),
    ),
    "580.65.06-sim",
    True,
    1.0,
)
DEVICE = ClaimedDevice(INSTANCE.key, "GPU-1", 1, Fraction(3, 7), 19968, "3g.20gb", 2, 0, "MIG-x")
CLAIM = Claim("c000000000001", 1001, "student1", "f" * 64, "thesis\x1b[2J", "all", (DEVICE,), 100.0, "g1")


def test_a_stranger_sees_that_a_device_is_busy_and_nothing_else() -> None:
    text = json.dumps([status(INVENTORY, [CLAIM], 1002, False), claims([CLAIM], 1002, False)])
    assert "busy" in text
    for secret in ("student1", "thesis", CLAIM.id, CLAIM.container_id):
        assert secret not in text


def test_the_owner_and_an_admin_see_whose_it_is() -> None:
    for uid, admin in ((1001, False), (1, True)):
        document = status(INVENTORY, [CLAIM], uid, admin)
        instance = document["gpus"][1]["instances"][0]
        assert (instance["user"], instance["mine"], instance["equivalents"]) == ("student1", uid == 1001, 0.4286)
        assert claims([CLAIM], uid, admin)["claims"][0]["container"] == CLAIM.container_name


def test_the_table_is_aligned_says_simulated_and_steers_no_terminal() -> None:
    text = status_command.render(status(INVENTORY, [CLAIM], 1001, False))
    assert "\x1b" not in text
    assert "1 of 3 devices are free" in text
    assert "simulated" in text
    assert "MIG, no instance" in text
    lines = text.splitlines()
    assert lines[0].index("STATE") == lines[1].index("free") == lines[2].index("busy")
    assert "c000000000001" in claims_command.render(claims([CLAIM], 1001, False), 160.0)
    ending = replace(CLAIM, ending_since=100.0)
    assert "ended 1m ago, a process of it still has the GPU" in claims_command.render(claims([ending], 1001, False), 160.0)
