# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The queue at work with the allocator: who gets what comes free, what survives a restart, and starts that wait."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from ds01_gate.client_stream import ClientGone
from ds01_gate.turn_keeper import MOST_STARTS
from ds01_gate.turn_wait import MustWait

from ds01.core.gate.verdict import GrantClaim
from ds01.core.refusal import Refusal
from tests.unit.gate_program.turn_bench import TurnBench


@pytest.fixture
def bench(tmp_path) -> TurnBench:
    return TurnBench(tmp_path)


def refused(bench: TurnBench, uid: int, number: int = 9) -> Refusal:
    with pytest.raises(Refusal) as caught:
        bench.start(uid, number)
    return caught.value


def must_wait(uid: int, bench: TurnBench, seconds: int = 30, number: int = 0) -> MustWait:
    identity = f"{uid:06x}{number:06x}"
    wanted = GrantClaim(f"c{identity}", uid, f"u{uid}", identity * 5, f"box{number}", "count=1")
    return MustWait(wanted, bench.limits_of(uid), seconds, Refusal("busy", "nothing is free", "wait", rule="gpu.busy", status=409))


class TestHandOver:
    def test_what_comes_free_is_kept_for_who_waits_and_nobody_comes_first(self, bench) -> None:
        first = bench.start(1)
        bench.join(2)
        bench.end(first)
        assert refused(bench, 3).rule == "gpu.busy"
        assert bench.start(2).uid == 2
        assert bench.turns.entry(2) is None
        kinds = [event["kind"] for event in bench.events()]
        assert kinds == ["queue.joined", "queue.offered", "queue.left"]

    def test_a_start_in_the_moment_of_the_release_does_not_come_first(self, bench) -> None:
        """The hold of a stopped container runs out unseen: the next start finds the device kept."""
        bench.end(bench.start(1), hold=60)
        bench.join(2)
        bench.now += 61
        assert refused(bench, 3).rule == "gpu.busy"
        assert bench.positions() == {2: 0}

    def test_joining_while_something_is_free_is_an_offer_at_once(self, bench) -> None:
        bench.join(1)
        assert bench.positions() == {1: 0}

    def test_not_taken_it_goes_to_the_next_and_then_to_anybody(self, bench) -> None:
        bench.hold = 60.0
        held = bench.start(1)
        bench.join(2)
        bench.now += 1
        bench.join(3)
        bench.end(held)
        assert bench.positions() == {2: 0, 3: 1}
        bench.now += 60
        bench.allocator.expire()
        assert bench.positions() == {3: 0}
        bench.now += 60
        assert bench.start(9).uid == 9
        whys = [event["details"]["why"] for event in bench.events() if event["kind"] == "queue.left"]
        assert whys == ["the offer was not taken in time"] * 2

    def test_who_leaves_hands_on(self, bench) -> None:
        entry = bench.join(2)
        bench.join(3)
        assert bench.turns.leave(entry, "left")
        bench.allocator.arrange()
        assert bench.positions() == {3: 0}
        assert not bench.turns.leave(entry, "left")

    def test_priority_and_then_who_had_least(self, bench) -> None:
        bench.priorities = {4: 30}
        had = bench.start(2)
        bench.now += 7200
        bench.end(had)
        held = bench.start(1)
        for uid in (2, 3, 4):
            bench.now += 1
            bench.join(uid)
        bench.end(held)
        assert bench.positions() == {4: 0, 3: 1, 2: 2}

    def test_one_entry_a_person(self, bench) -> None:
        bench.start(1)
        entry = bench.join(2)
        assert bench.join(2) == entry
        with pytest.raises(Refusal, match="ds01 queue leave") as caught:
            bench.join(2, "count=2")
        assert caught.value.status == 409

    def test_somebody_whom_nobody_knows_any_more_blocks_nobody(self, bench) -> None:
        held = bench.start(1)
        bench.join(2)
        bench.now += 1
        bench.join(3)
        bench.unknown.add(2)
        bench.turns.refresh()
        bench.end(held)
        assert bench.positions()[3] == 0


class TestRestart:
    def test_entries_offers_and_what_people_had_survive(self, bench) -> None:
        held = bench.start(1)
        bench.now += 3600
        bench.join(2)
        bench.now += 1
        bench.join(3, container_id="f" * 64)
        bench.end(held)
        before = json.loads(Path(bench.queue_path).read_text())
        bench.open()
        assert bench.positions() == {2: 0}
        assert refused(bench, 9).rule == "gpu.busy"
        assert before["served"]["1"]
        assert os.stat(bench.queue_path).st_mode & 0o777 == 0o600

    @pytest.mark.parametrize("text", ["", "{", "[]", '{"v": 9}', '{"v":1,"charged_at":0,"served":{},"waiters":[{"id":1}]}'])
    def test_a_damaged_file_is_set_aside(self, bench, text: str) -> None:
        with open(bench.queue_path, "w", encoding="ascii") as file:
            file.write(text)
        bench.open()
        assert bench.positions() == {}
        assert Path(bench.queue_path + ".damaged").read_text() == text
        bench.join(2)
        assert bench.positions() == {2: 0}

    def test_a_full_disk_refuses_to_join_and_keeps_what_is_there(self, bench, monkeypatch) -> None:
        bench.start(1)
        bench.join(2)

        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("ds01.queue_file.save", full)
        with pytest.raises(Refusal) as caught:
            bench.join(3)
        assert (caught.value.rule, caught.value.status) == ("queue.unwritable", 503)
        assert bench.positions() == {2: 1}


class TestWaitingStart:
    def wait(self, bench: TurnBench, start: MustWait, client: socket.socket, done: list[object]) -> None:
        try:
            with bench.waiting.ticket(start) as ticket:
                ticket.wait(client, start.refusal)
                done.append(bench.start(start.wanted.uid))
        except (Refusal, ClientGone) as error:
            done.append(error)

    def running(self, bench: TurnBench, start: MustWait) -> tuple[threading.Thread, socket.socket, list[object]]:
        ours, theirs = socket.socketpair()
        done: list[object] = []
        thread = threading.Thread(target=self.wait, args=(bench, start, ours, done), daemon=True)
        thread.start()
        deadline = time.monotonic() + 10
        while not done and start.wanted.uid not in bench.positions() and time.monotonic() < deadline:
            threading.Event().wait(0.01)
        return thread, theirs, done

    def test_it_is_granted_when_something_comes_free(self, bench) -> None:
        held = bench.start(1)
        thread, _client, done = self.running(bench, must_wait(2, bench))
        assert bench.positions() == {2: 1}
        bench.end(held)
        thread.join(10)
        assert done[0].uid == 2  # type: ignore[attr-defined]
        assert bench.positions() == {}

    def test_its_own_offer_is_not_another_start_of_the_same_person(self, bench) -> None:
        bench.start(1)
        bench.join(2, container_id="e" * 64)
        bench.end(bench.allocator.claims()[0])
        assert bench.positions() == {2: 0}
        assert refused(bench, 2, 5).rule == "gpu.busy"

    def test_the_time_that_was_asked_for(self, bench) -> None:
        bench.start(1)
        thread, _client, done = self.running(bench, must_wait(2, bench, seconds=0))
        thread.join(10)
        assert isinstance(done[0], Refusal)
        assert "in the time that it waited" in done[0].why
        assert bench.positions() == {}

    def test_a_client_that_goes_gives_its_place_away(self, bench) -> None:
        bench.start(1)
        thread, client, done = self.running(bench, must_wait(2, bench))
        client.close()
        thread.join(10)
        assert isinstance(done[0], ClientGone)
        assert bench.positions() == {}

    def test_a_client_that_only_stops_writing_goes_on_waiting(self, bench) -> None:
        held = bench.start(1)
        thread, client, done = self.running(bench, must_wait(2, bench))
        client.shutdown(socket.SHUT_WR)
        bench.end(held)
        thread.join(10)
        assert done[0].uid == 2  # type: ignore[attr-defined]

    def test_the_end_of_the_gate(self, bench) -> None:
        bench.start(1)
        thread, _client, done = self.running(bench, must_wait(2, bench))
        bench.waiting.stop()
        thread.join(10)
        assert isinstance(done[0], Refusal)
        assert done[0].status == 503

    def test_not_more_than_so_many_of_one_person_and_not_twice(self, bench) -> None:
        bench.start(1)
        for number in range(MOST_STARTS):
            bench.join(2, container_id=f"{number:064x}")
        with pytest.raises(Refusal) as caught:
            bench.join(2, container_id="f" * 64)
        assert caught.value.rule == "queue.starts"
        with pytest.raises(Refusal):
            bench.join(2, container_id=f"{0:064x}")
        bench.join(3, container_id="d" * 64)

    def test_refusals_say_the_place_and_the_command(self, bench) -> None:
        bench.start(1)
        bench.join(2)
        refusal = must_wait(3, bench).refusal
        told = bench.waiting.told(refusal, must_wait(3, bench).wanted, bench.limits_of(3))
        assert "number 2: ds01 queue join" in told.next_step
        told = bench.waiting.told(refusal, must_wait(2, bench).wanted, bench.limits_of(2))
        assert "You wait as number 1" in told.next_step


def test_many_at_once_never_share_a_device_and_end_with_an_empty_queue(tmp_path) -> None:
    bench = TurnBench(tmp_path, gpus=3)
    owners: list[int] = []

    def live(uid: int) -> None:
        client, _other = socket.socketpair()
        for number in range(4):
            try:
                claim = bench.start(uid, number)
            except Refusal:
                start = must_wait(uid, bench, 60, number)
                with bench.waiting.ticket(start) as ticket:
                    while True:
                        ticket.wait(client, start.refusal)
                        try:
                            claim = bench.start(uid, number)
                            break
                        except Refusal:
                            continue
            held = [device.key for one in bench.allocator.claims() for device in one.devices]
            assert len(set(held)) == len(held) <= 3
            owners.append(uid)
            bench.end(claim)

    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(live, uid) for uid in range(1, 9)]:
            done.result(120)
    assert sorted(owners) == sorted(list(range(1, 9)) * 4)
    assert bench.positions() == {}
