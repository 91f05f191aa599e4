# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""A claim survives its CDI spec; the spec opens the claimed devices and no other."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ds01.core.cdi_spec import CdiSpecError, claim_of, claim_of_first_line, device_nodes, numbered, spec_for, to_text, with_claim
from ds01.core.claim import Claim, ClaimedDevice, claim_from_dict, claim_to_dict
from ds01.core.offers import offers
from tests.allocation_examples import ALL_BALANCED, base_spec, claim, inventory, mig_gpu, uuid, whole_gpu

STOCK = inventory(whole_gpu(0), mig_gpu(1, ALL_BALANCED))
DEVICES = [o.device for o in offers(STOCK)]


def no_stat(path: str) -> tuple[int, int]:
    raise AssertionError(f"asked for {path}")


def no_stat_but_gone(path: str) -> None:
    assert path == "/dev/gone"


class TestSpec:
    @pytest.mark.parametrize("device", DEVICES, ids=lambda d: d.kind)
    def test_exactly_the_device_and_the_common_nodes(self, device):
        spec = spec_for(claim(1, (device,)), base_spec(STOCK))
        expected = {(195, 255), (195, device.gpu_minor)}
        if device.gi_id is not None:
            gi = 3 + 135 * device.gpu_minor + 9 * device.gi_id
            expected |= {(237, gi), (237, gi + 1)}
        assert set(device_nodes(spec, no_stat)) == expected
        assert len(spec["devices"]) == 1 and spec["devices"][0]["name"] == "c000000000001"
        assert spec["kind"] == "ds01.infra/gpu" and "containerEdits" not in spec

    def test_two_instances_of_one_gpu_share_its_node_once(self):
        spec = spec_for(claim(1, (DEVICES[1], DEVICES[2])), base_spec(STOCK))
        paths = [n["path"] for n in spec["devices"][0]["containerEdits"]["deviceNodes"]]
        assert len(paths) == len(set(paths)) == 6

    def test_environment_names_no_device(self):
        env = spec_for(claim(1, (DEVICES[0],)), base_spec(STOCK))["devices"][0]["containerEdits"]["env"]
        assert env == ["KEPT=1", "NVIDIA_VISIBLE_DEVICES=void"]

    def test_nodes_are_open_to_every_user_of_the_container(self):
        edits = spec_for(claim(1, (DEVICES[0],)), base_spec(STOCK))["devices"][0]["containerEdits"]
        assert all(n["fileMode"] == 0o666 and "gid" not in n for n in edits["deviceNodes"]) and "additionalGids" not in edits

    def test_version_is_the_lowest_that_will_do(self):
        base = base_spec(STOCK)
        assert spec_for(claim(1, (DEVICES[0],)), base)["cdiVersion"] == "0.6.0"
        base["containerEdits"]["intelRdt"] = {"closID": "x"}
        assert spec_for(claim(1, (DEVICES[0],)), base)["cdiVersion"] == "0.7.0"

    def test_a_device_that_the_base_lacks(self):
        with pytest.raises(CdiSpecError, match=r"no device .GPU-00000009"):
            spec_for(claim(1, (replace(DEVICES[0], gpu_uuid=uuid("GPU", 9)),)), base_spec(STOCK))

    @pytest.mark.parametrize("base", [{}, {"devices": None}, {"devices": {}}])
    def test_a_base_that_is_none(self, base):
        with pytest.raises(CdiSpecError, match="expected a list"):
            spec_for(claim(1, (DEVICES[0],)), base)

    def test_numbers_left_out_are_asked_of_the_host(self):
        base = base_spec(STOCK)
        base["containerEdits"]["deviceNodes"] = [{"path": "/dev/in", "hostPath": "/dev/nvidia-uvm"}]
        asked = []
        nodes = device_nodes(spec_for(claim(1, (DEVICES[0],)), base), lambda p: asked.append(p) or (511, 0))
        assert asked == ["/dev/nvidia-uvm"] and (511, 0) in nodes

    def test_numbers_are_put_in_where_they_are_missing(self):
        base = base_spec(STOCK)
        base["containerEdits"]["deviceNodes"] = [{"path": "/dev/in", "hostPath": "/dev/nvidia-uvm"}, {"path": "/dev/gone"}]
        base["devices"].append({"name": "bare"})
        full = numbered(base, {"/dev/nvidia-uvm": (511, 0)}.get)
        first, second = full["containerEdits"]["deviceNodes"]
        assert (first["major"], first["minor"], first["path"]) == (511, 0, "/dev/in") and second == {"path": "/dev/gone"}
        assert full["devices"] == base["devices"] and numbered(full, no_stat_but_gone) == full

    def test_the_base_is_not_changed(self):
        base = base_spec(STOCK)
        before = json.dumps(base)
        spec_for(claim(1, (DEVICES[0],)), base)
        assert json.dumps(base) == before


class TestReadingBack:
    def test_the_first_line_is_enough_and_the_whole_is_json(self):
        made = claim(1, tuple(DEVICES[:2]), held_until=5.0, ends_at=None)
        text = to_text(spec_for(made, base_spec(STOCK)))
        assert claim_of(json.loads(text)) == made == claim_of_first_line(text.splitlines()[0])

    def test_a_hold_changes_the_claim_alone(self):
        spec = spec_for(claim(1, (DEVICES[0],)), base_spec(STOCK))
        held = replace(claim_of(spec), held_until=7.5)
        assert claim_of(with_claim(spec, held)) == held and with_claim(spec, held)["devices"] == spec["devices"]

    @pytest.mark.parametrize("line", ["", "{", "[]", '{"kind":"x",', '{"annotations":{"ds01.infra/claim":"[]"},', '{"annotations":7,'])
    def test_other_lines(self, line):
        with pytest.raises(CdiSpecError):
            claim_of_first_line(line)

    @pytest.mark.parametrize(
        ("change", "says"),
        [
            ({"id": "../../etc"}, "claim id"),
            ({"id": 7}, "id=7"),
            ({"uid": True}, "uid=True"),
            ({"devices": None}, "wrong shape"),
            ({"devices": [{}]}, "without 'key'"),
            ({"devices": [{**claim_to_dict(claim(1, (DEVICES[0],)))["devices"][0], "equivalents": "1/0"}]}, "wrong shape"),
            ({"granted_at": "soon"}, "soon"),
        ],
    )
    def test_a_claim_that_is_none(self, change, says):
        with pytest.raises(ValueError, match=says):
            claim_from_dict({**claim_to_dict(claim(1, (DEVICES[0],))), **change})

    def test_a_claim_of_before_the_two_steps_of_an_end_is_still_one(self):
        data = claim_to_dict(claim(1, (DEVICES[0],)))
        del data["ending_since"]
        assert claim_from_dict(data) == claim(1, (DEVICES[0],))

    @pytest.mark.parametrize("key", sorted(set(claim_to_dict(claim(1, (DEVICES[0],)))) - {"ending_since"}))
    def test_every_field_is_needed(self, key):
        data = claim_to_dict(claim(1, (DEVICES[0],)))
        del data[key]
        with pytest.raises(ValueError, match=key):
            claim_from_dict(data)


texts = st.text(max_size=20)
claims = st.builds(
    Claim,
    id=st.from_regex(r"c[0-9a-f]{12}", fullmatch=True),
    uid=st.integers(0, 2**32),
    user=texts,
    container_id=texts,
    container_name=texts,
    request=texts,
    devices=st.lists(
        st.builds(
            ClaimedDevice,
            key=texts,
            gpu_uuid=texts,
            gpu_minor=st.integers(0, 255),
            equivalents=st.fractions(0, 8),
            memory_mib=st.integers(0, 10**6),
            profile=st.none() | texts,
            gi_id=st.none() | st.integers(0, 14),
            ci_id=st.none() | st.integers(0, 7),
            mig_uuid=st.none() | texts,
        ),
        max_size=3,
    ).map(tuple),
    granted_at=st.floats(0, 1e10),
    generation=texts,
    held_until=st.none() | st.floats(0, 1e10),
    hold=st.integers(0, 10**6),
    renewed_at=st.floats(0, 1e10),
    ends_at=st.none() | st.floats(0, 1e10),
)


@given(claims)
def test_any_claim_survives(made):
    again = claim_from_dict(json.loads(json.dumps(claim_to_dict(made))))
    assert again == made and again.equivalents == sum((d.equivalents for d in made.devices), Fraction(0))
