# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""ENFORCE: what a person may use, in the kernel and not only on paper."""

from __future__ import annotations

import shlex

import pytest

from tests.lab.server_access import wait_until
from tests.m1.row import Row
from tests.m1.world import World

_SLICE = "/sys/fs/cgroup/ds01.slice/ds01-u3101.slice"
_SPIN = "sh -c 'while :; do :; done'"


@pytest.mark.requirement("ENFORCE-01")
def test_cpu_in_aggregate(world: World, row: Row) -> None:
    row.did("student1 spins in four containers of one CPU each; the kernel's count of CPU time is read over five seconds")
    for number in range(4):
        world.start("student1", f"spin{number}", command=_SPIN)
    script = (
        f"f={_SLICE}/cpu.stat; a=$(awk '/usage_usec/{{print $2}}' $f); t=$(date +%s%N); sleep 5;"
        f" b=$(awk '/usage_usec/{{print $2}}' $f); u=$(date +%s%N); echo $(( (b - a) * 100000 / (u - t) ))"
    )
    percent = int(world.root.must(script))
    limit = world.root.must(f"cat {_SLICE}/cpu.max")
    throttled = int(world.root.must(f"awk '/nr_throttled/{{print $2}}' {_SLICE}/cpu.stat"))
    assert limit == "150000 100000"
    assert percent <= 160, percent
    assert throttled > 0
    row.saw(f"together {percent} % of one CPU, cpu.max {limit}, throttled {throttled} times")


@pytest.mark.requirement("ENFORCE-02")
def test_memory_in_aggregate(world: World, row: Row) -> None:
    row.did("student1 fills memory in one container; another of student1 and one of student2 go on")
    world.start("student2", "bystander")
    world.start("student1", "sibling")
    hog = world.run("student1", "--name hog", "sh -c " + shlex.quote("dd if=/dev/zero of=/dev/null bs=400M count=1; echo alive $?"))
    assert "alive 137" in hog.out or hog.code == 137, hog.text
    assert world.running("bystander") and world.running("sibling")
    assert world.root.must(f"cat {_SLICE}/memory.max") == str(512 * 1024**2)
    wait_until("it is on record", lambda: "container.oom" in world.kinds("--container hog --since 5m"), 30)
    row.saw("the hog is killed by the kernel, both others run, container.oom is in the log")


@pytest.mark.requirement("ENFORCE-03")
def test_io(world: World, row: Row) -> None:
    row.did("student1 writes 24 MB past the cache, with 8 MB/s allowed")
    write = "dd if=/dev/zero of=/big bs=1M count=24 oflag=direct 2>&1 || dd if=/dev/zero of=/big bs=1M count=24 conv=fsync 2>&1"
    timed = f"s=$(date +%s); {write}; sync; echo $(($(date +%s) - s)) > /took; sleep 1000"
    world.start("student1", "writer", command=f"sh -c {shlex.quote(timed)}")
    wait_until("it is written", lambda: world.inside("writer", "cat /took").ok, 120, 1)
    seconds = int(world.as_root("exec writer cat /took"))
    limits = world.root.must(f"cat {_SLICE}/io.max {_SLICE}/io.weight 2>/dev/null || cat {_SLICE}/io.max")
    assert "wbps=8388608" in limits
    assert seconds >= 2, f"24 MB took {seconds} s"
    row.saw(f"io.max has wbps=8388608; 24 MB took {seconds} s")


@pytest.mark.requirement("ENFORCE-04")
def test_disk(world: World, row: Row) -> None:
    row.did("student6 writes more than a gigabyte into the home, and into a container's own layer")
    home = world.person("student6").run("dd if=/dev/zero of=big bs=1M count=1100; rm -f big", limit_s=600)
    assert "quota" in home.err.lower() or "no space" in home.err.lower(), home.text
    layer = world.run("student6", "--rm", "dd if=/dev/zero of=/big bs=1M count=1100", limit_s=600)
    assert "quota" in layer.err.lower() or "no space" in layer.err.lower(), layer.text
    row.saw(f"home: {home.err.strip().splitlines()[0]}; layer: {layer.err.strip().splitlines()[0]}")


@pytest.mark.requirement("ENFORCE-05")
def test_gpu_limits_for_every_container(world: World, row: Row) -> None:
    row.did("student1 asks for two devices by CLI, CDI name and environment; researcher1, who may have two, asks for two")
    for options in ("--gpus 2", "--device nvidia.com/gpu=all", "--gpus all --label ds01.gpu=2x1g.5gb", "--gpus all --label ds01.gpu=full"):
        result = world.run("student1", f"--rm {options}", "sh -c 'ls -d /dev/nvidia[0-9]*'")
        assert result.out.count("/dev/nvidia") <= 1, f"{options}: {result.text}"
    world.start("student1", "one", "--gpus all")
    second = world.run("student1", "--rm --gpus all --label ds01.gpu=3g.20gb", "true")
    world.start("researcher1", "two", "--gpus 2 --label ds01.gpu=2x1g.5gb")
    (claim,) = [claim for claim in world.claims() if claim["container"] == "two"]
    assert len(claim["devices"]) == 2
    hidden = world.run("student2", "--rm -e NVIDIA_VISIBLE_DEVICES=void", "sh -c 'ls -d /dev/nvidia* 2>&1; true'")
    assert "/dev/nvidia0" not in hidden.out
    beside = "granted within the quota" if second.ok else "refused"
    row.saw(f"student1 never has more than one device in a container; a second container beside it: {beside}; two for researcher1")


@pytest.mark.requirement("ENFORCE-06")
def test_one_policy(world: World, row: Row) -> None:
    row.did("first.last, whom the policy names, and student1 ask for their limits; root asks which rule set a value")
    own = world.person("first.last").must("ds01 limits")
    assert 'users["first.last"]' in own
    assert "defaults" in world.person("student1").must("ds01 limits")
    explained = world.root.must("ds01 policy explain researcher1")
    assert "researcher" in explained
    row.saw("defaults, the group's and the person's own rule are named beside each value")


@pytest.mark.requirement("ENFORCE-07")
def test_quota_at_login_and_on_demand(world: World, row: Row) -> None:
    row.did("student1 logs in at a terminal with a container running; asks ds01 quota; logs in without a terminal")
    world.start("student1", "mine", "--gpus all")
    wait_until("the outlook", lambda: "mine" in (text := world.person("student1").run("ds01 lifecycle").out) and "stop at" in text, 120, 3)
    greeting = world.login("student1")
    assert "GPU" in greeting and "mine" in greeting, greeting
    assert "GPU" in world.person("student1").must("ds01 quota")
    silent = world.person("student1").new_session().must("echo only-this")
    assert silent == "only-this"
    row.saw("the greeting shows quota, use and the container; ds01 quota too; no word where there is no terminal")


@pytest.mark.requirement("ENFORCE-08")
def test_pressure_and_pids(world: World, row: Row) -> None:
    row.did("student1 starts a fork bomb of 200; the pressure of student1's slice is read from the kernel and the exporter")
    bomb = world.run("student1", "--rm", "sh -c " + shlex.quote("i=0; while [ $i -lt 200 ]; do sleep 5 & i=$((i+1)); done; wait"))
    assert "fork" in bomb.err.lower(), bomb.text
    world.start("student1", "spin", command=_SPIN)
    assert "some" in world.root.must(f"cat {_SLICE}/memory.pressure")
    samples = wait_until(
        "the exporter has it", lambda: [s for s in world.metric("ds01_user_pressure_seconds_total") if 'uid="3101"' in s], 60, 2
    )
    row.saw(f"fork is refused inside; {samples[0]}")
