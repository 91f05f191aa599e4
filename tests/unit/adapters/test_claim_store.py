# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The directory as the table: what is written is there whole, what is broken is said and its devices stay taken."""

from __future__ import annotations

import json
import multiprocessing
import os
import threading
from dataclasses import replace

import pytest

from ds01.claim_store import ClaimStore
from ds01.core.cdi_spec import spec_for, with_claim
from ds01.core.offers import offers
from tests.allocation_examples import SEVEN, base_spec, claim, inventory, mig_gpu, whole_gpu

STOCK = inventory(whole_gpu(0), mig_gpu(1, SEVEN))
DEVICES = [o.device for o in offers(STOCK)]


@pytest.fixture
def store(tmp_path):
    return ClaimStore(tmp_path / "cdi", tmp_path / "run" / "claims.lock")


def put(store, made):
    spec = spec_for(made, base_spec(STOCK))
    store.write(made.id, spec)
    return spec


def test_no_directory_is_no_claims(store):
    assert store.read().claims == () and store.delete("c000000000001") is False and store.sweep() == []


def test_what_is_written_is_read(store, tmp_path):
    made = [claim(n, (DEVICES[n],)) for n in (2, 1)]
    for one in made:
        put(store, one)
    assert store.read().claims == tuple(reversed(made))
    assert sorted(os.listdir(tmp_path / "cdi")) == ["ds01-c000000000001.json", "ds01-c000000000002.json"]
    assert (tmp_path / "cdi" / "ds01-c000000000001.json").stat().st_mode & 0o777 == 0o644
    assert store.delete("c000000000001") is True and store.read().claims == (made[0],)


def test_a_change_is_seen_by_another_reader(store, tmp_path):
    spec = put(store, claim(1, (DEVICES[1],)))
    other = ClaimStore(tmp_path / "cdi", tmp_path / "run" / "claims.lock")
    assert other.read().claims[0].held_until is None
    store.write("c000000000001", with_claim(spec, replace(claim(1, (DEVICES[1],)), held_until=9.0)))
    assert other.read().claims[0].held_until == 9.0


def test_files_of_others_are_nobodys_claims(store, tmp_path):
    put(store, claim(1, (DEVICES[1],)))
    for name in ("vendor.json", "ds01-.json", "ds01-c1.json", "ds01-c000000000002.yaml", ".ds01-c000000000003.1.tmp"):
        (tmp_path / "cdi" / name).write_text("{")
    table = store.read()
    assert [c.id for c in table.claims] == ["c000000000001"] and table.corrupt == ()


@pytest.mark.parametrize("claim_id", ["", "../x", "c00000000000", "c000000000001/..", "C000000000001", "c000000000001\n"])
def test_ids_that_lead_elsewhere(store, claim_id):
    with pytest.raises(ValueError, match="claim id"):
        store.path(claim_id)


class TestCorrupt:
    def corrupt(self, store, text):
        store.path("c000000000001").parent.mkdir(exist_ok=True)
        store.path("c000000000001").write_text(text)
        return store.read()

    def test_cut_off_after_the_claim_it_still_holds(self, store):
        put(store, claim(1, (DEVICES[1],)))
        whole = store.path("c000000000001").read_text()
        assert self.corrupt(store, whole[: len(whole) - 50]).claims == (claim(1, (DEVICES[1],)),)

    @pytest.mark.parametrize("device", [DEVICES[0], DEVICES[3]], ids=["gpu", "mig"])
    def test_cut_off_within_the_claim_its_devices_stay_taken(self, store, device):
        put(store, claim(1, (device,)))
        head = store.path("c000000000001").read_text().splitlines()[0]
        table = self.corrupt(store, head[: head.index("profile")] + "…")
        assert table.claims == () and table.blocked == {device.cdi_device}
        assert table.corrupt[0].id == "c000000000001" and "JSON" in table.corrupt[0].reason

    @pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"annotations": {}}', "\x00\xff"])
    def test_nothing_readable(self, store, text):
        table = self.corrupt(store, text)
        assert table.claims == () and table.blocked == frozenset() and len(table.corrupt) == 1

    def test_the_claim_of_another_file(self, store):
        put(store, claim(2, (DEVICES[1],)))
        text = store.path("c000000000002").read_text()
        table = self.corrupt(store, text)
        assert [c.id for c in table.claims] == ["c000000000002"] and table.corrupt[0].reason == "carries the claim c000000000002"

    def test_reformatted_by_hand_is_fine(self, store):
        spec = put(store, claim(1, (DEVICES[1],)))
        assert self.corrupt(store, json.dumps(spec, indent=4)).claims == (claim(1, (DEVICES[1],)),)


def test_a_link_in_place_of_the_temporary_file_is_not_followed(store, tmp_path):
    (tmp_path / "cdi").mkdir()
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "cdi" / f".ds01-c000000000001.{os.getpid()}.tmp").symlink_to(victim)
    with pytest.raises(OSError):
        put(store, claim(1, (DEVICES[1],)))
    assert victim.read_text() == "precious"


def test_what_a_killed_writer_left_is_swept(store, tmp_path):
    (tmp_path / "cdi").mkdir()
    (tmp_path / "cdi" / ".ds01-c000000000001.4711.tmp").write_text("{")
    (tmp_path / "cdi" / "other.tmp").write_text("{")
    assert store.sweep() == [".ds01-c000000000001.4711.tmp"]
    assert os.listdir(tmp_path / "cdi") == ["other.tmp"]


def _count(directory, lock, rounds):
    store = ClaimStore(directory, lock)
    counter = directory / "counter"
    for _ in range(rounds):
        with store.lock():
            counter.write_text(str(int(counter.read_text()) + 1))


def test_the_lock_excludes_processes_and_threads(tmp_path):
    (tmp_path / "counter").write_text("0")
    arguments = (tmp_path, tmp_path / "lock", 50)
    workers = [multiprocessing.get_context("fork").Process(target=_count, args=arguments) for _ in range(3)]
    workers += [threading.Thread(target=_count, args=arguments) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert (tmp_path / "counter").read_text() == "300"
