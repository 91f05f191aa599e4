# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Containers of before the gate: whose they are, what their owners may do with them, and what no label can open."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ds01.core.container_marks import marked
from ds01.core.gate import response_rules
from ds01.core.gate.bind_rules import root_volume
from ds01.core.gate.facts import Container, Network, Volume
from ds01.core.gate.identity import Identity
from ds01.core.gate.made_with import check_made_here
from ds01.core.gate.ownership import owns_container
from ds01.core.gate.verdict import Answer, EnsureSlice, Forward, ResponseRule
from ds01.core.refusal import Refusal
from ds01.core.workload_facts import ContainerFacts, People
from ds01.core.workload_owner import container_owner
from tests.search_effort import tries
from tests.unit.gate.gate_world import ADMIN, ALICE, BOB, CONTEXT, World, body_of, owner, status_of

V = "/v1.45/containers"
OLD = "9" * 64
NAMES = {5000: "root1", 5001: "alice", 5002: "bob"}
ALICES = {"aime.mlc.USER": "alice"}
ANONYMOUS = "0a" * 32
HOME = root_volume(5001, "/home/alice", writable=True)
FORGED = [root_volume(5001, path, writable=True) for path in ("/", "/home/bob")]
READS = ["GET {}/json", "GET {}/logs", "GET {}/top", "GET {}/stats", "GET {}/changes", "GET {}/export"]
ACTS = ["POST {}/stop", "POST {}/kill", "POST {}/pause", "POST {}/wait", "DELETE {}"]


def world(labels: dict[str, str] | None = None, name: str = "old", host: dict[str, Any] | None = None, *mounts: dict[str, Any]) -> World:
    made = World()
    container = Container(OLD, name, ALICES if labels is None else labels, host=host or {}, mounts=mounts)
    made.containers.append(container)
    made.volumes += [
        Volume(ANONYMOUS),
        Volume(HOME.name, dict(HOME.labels), dict(HOME.options)),
        Volume("rootfs", {**owner(ALICE)}, {"type": "none", "o": "bind", "device": "/"}),
        Volume(root_volume(5001, "/", writable=True).name, dict(HOME.labels), dict(root_volume(5001, "/", writable=True).options)),
        Volume(
            root_volume(5001, "/home/bob", writable=True).name, dict(HOME.labels), {"o": "rbind", "device": "/home/bob", "type": "none"}
        ),
    ]
    made.networks.append(Network("6f" * 32, "oldnet", {}))
    return made


# --- whose it is -----------------------------------------------------------------------------------------------------------------------

MARKS = [
    (ALICES, "box", 5001),
    ({}, "train._.5001", 5001),
    (ALICES, "train._.5001", 5001),
    ({"ds01.user": "alice"}, "box", 5001),
    ({"ds01.user": "alice"}, "train._.5001", 5001),
    (ALICES, "train._.5002", None),
    ({"ds01.user": "bob"}, "train._.5001", None),
    ({"ds01.user": "bob", "aime.mlc.USER": "alice"}, "box", None),
    (ALICES, "train._.4711", None),
    ({"aime.mlc.USER": "ghost"}, "train._.5001", None),
    ({"aime.mlc.USER": "ALICE"}, "box", None),
    ({}, "train._.5001x", None),
    ({}, "._.5001", None),
    ({}, "train._.05001", 5001),
    ({}, "train._.99999999999", None),
    ({**owner(BOB), "aime.mlc.USER": "alice"}, "train._.5001", 5002),
    ({"ds01.uid": "5002"}, "train._.5001", 5002),
    ({"ds01.uid": "", "ds01.user": "alice"}, "box", 5001),
    ({}, "box", None),
]


@pytest.mark.parametrize(("labels", "name", "uid"), MARKS)
def test_the_marks_of_a_container(labels: dict[str, str], name: str, uid: int | None) -> None:
    mark = marked(labels, name, NAMES)
    assert (None if mark is None else mark.uid) == uid


LABELS = st.dictionaries(
    st.sampled_from(["ds01.user", "ds01.uid", "aime.mlc.USER", "x"]), st.sampled_from(["alice", "bob", "5001", "5002", "ghost", ""])
)
CONTAINER_NAMES = st.sampled_from(["box", "a._.5001", "a._.5002", "a._.77", "._.5001"])


@given(LABELS, CONTAINER_NAMES)
@tries(300)
def test_the_gate_and_the_watcher_name_the_same_person(labels: dict[str, str], name: str) -> None:
    """Nobody else's by the gate, and the watcher's person where the gate knows one; never two owners."""
    container = Container(OLD, name, labels)
    owners = [who for who in (ALICE, BOB) if owns_container(who, container)]
    seen = container_owner(ContainerFacts("docker", OLD, name, labels=labels), People(NAMES, {}))
    assert len(owners) <= 1
    if owners and "ds01.uid" not in labels:
        assert seen.uid == owners[0].uid
    if seen.uid in (5001, 5002) and "ds01.uid" not in labels:
        assert [one.uid for one in owners] == [seen.uid]


@pytest.mark.parametrize("labels", [ALICES, {"ds01.user": "alice"}, {}])
def test_its_owner_sees_and_ends_it_and_nobody_else_does(labels: dict[str, str]) -> None:
    there = world(labels, "train._.5001")
    for line in (*READS, *ACTS):
        method, _, path = line.partition(" ")
        for ref in (OLD, OLD[:12], "train._.5001"):
            target = path.format(f"{V}/{ref}")
            assert isinstance(there.ask(method, target), Forward), line
            foreign = there.as_(BOB).ask(method, target)
            assert (status_of(foreign), foreign.body) == (404, {"message": f"No such container: {ref}"}), line  # type: ignore[union-attr]
    assert status_of(there.as_(BOB).ask("POST", f"{V}/{OLD}/start")) == 404
    assert status_of(there.as_(BOB).ask("POST", f"{V}/{OLD}/exec", {"Cmd": ["id"]})) == 404


def test_an_account_that_is_gone_owns_nothing() -> None:
    there = world({}, "train._.6666").as_(Identity(6666, ""))
    assert status_of(there.ask("GET", f"{V}/{OLD}/json")) == 403


def test_a_new_container_is_its_makers_whatever_it_is_marked_with() -> None:
    verdict = World().create(name="train._.5002", Labels={"aime.mlc.USER": "bob"})
    labels = body_of(verdict)["Labels"]
    assert (labels["ds01.user"], labels["ds01.uid"]) == ("alice", "5001")
    made = Container(OLD, "train._.5002", labels)
    assert owns_container(ALICE, made)
    assert not owns_container(BOB, made)


def test_the_list_of_somebody_with_old_containers_is_filtered_here() -> None:
    there = replace(World(), legacy=1)
    verdict = there.ask("GET", f"{V}/json?all=1&limit=1&filters=%7B%22status%22%3A%5B%22exited%22%5D%7D")
    assert isinstance(verdict, Forward)
    assert (verdict.response, verdict.most) == (ResponseRule.OWN_CONTAINERS, 1)
    assert "ds01.user" not in verdict.query
    assert "limit" not in verdict.query
    assert "status" in verdict.query
    entries = [
        {"Id": "1", "Names": ["/bobs"], "Labels": owner(BOB)},
        {"Id": "2", "Names": ["/mine"], "Labels": owner(ALICE)},
        {"Id": "3", "Names": ["/other/alias", "/train._.5001"], "Labels": None},
        {"Id": "4", "Names": ["/train._.5002", "/x/train._.5001"], "Labels": {}},
        {"Id": "5", "Names": ["/box"], "Labels": ALICES},
        {"Id": "6", "Names": None, "Labels": {"aime.mlc.USER": "bob"}},
    ]
    for most, seen in ((0, ["2", "3", "5"]), (2, ["2", "3"])):
        raw = response_rules.rewrite(ResponseRule.OWN_CONTAINERS, json.dumps(entries).encode(), ALICE, CONTEXT, most)
        assert [one["Id"] for one in json.loads(raw)] == seen
    assert "ds01.user" in World().ask("GET", f"{V}/json").query  # type: ignore[union-attr]


# --- what it may do --------------------------------------------------------------------------------------------------------------------

FREE = {"CgroupParent": "", "NetworkMode": "bridge", "Runtime": "runc", "CapAdd": None, "LogConfig": {"Type": "json-file"}}


@pytest.mark.parametrize("host", [{}, FREE, {**FREE, "CgroupParent": "ds01-nogpu.slice", "CapAdd": ["CAP_CHOWN"], "PortBindings": {}}])
def test_a_plain_old_container_starts_in_its_owners_name(host: dict[str, Any]) -> None:
    verdict = world(None, "old", host, {"Type": "volume", "Name": ANONYMOUS}, {"Type": "tmpfs"}).ask("POST", f"{V}/{OLD}/start")
    assert isinstance(verdict, Forward)
    assert [(one.uid, one.user) for one in verdict.before if isinstance(one, EnsureSlice)] == [(5001, "alice")]


REACHING = [
    {"Privileged": True},
    {"CapAdd": ["SYS_ADMIN"]},
    {"CapAdd": ["ALL"]},
    {"Devices": [{"PathOnHost": "/dev/sda"}]},
    {"DeviceCgroupRules": ["a *:* rwm"]},
    {"PidMode": "host"},
    {"IpcMode": "host"},
    {"UTSMode": "host"},
    {"UsernsMode": "host"},
    {"NetworkMode": "host"},
    {"SecurityOpt": ["seccomp=unconfined"]},
    {"MaskedPaths": []},
    {"ReadonlyPaths": []},
    {"Sysctls": {"kernel.msgmax": "1"}},
    {"Annotations": {"a": "b"}},
    {"OomKillDisable": True},
    {"OomScoreAdj": -1000},
    {"NetworkMode": "container:bobs"},
    {"PidMode": "container:stray"},
    {"IpcMode": f"container:{'b' * 12}"},
]
AT_START = [
    {"CgroupParent": "ds01-student-alice.slice"},
    {"CgroupParent": "/system.slice"},
    {"Cgroup": "container:bobs"},
    {"DeviceRequests": [{"Driver": "nvidia", "Count": -1}]},
    {"DeviceRequests": [{"Driver": "cdi", "DeviceIDs": ["ds01.infra/gpu=c0123456789ab"]}]},
    {"Runtime": "nvidia"},
    {"PortBindings": {"22/tcp": [{"HostIp": "", "HostPort": "22"}]}},
    {"LogConfig": {"Type": "syslog"}},
    {"Links": ["/bobs:/old/db"]},
]


@pytest.mark.parametrize("labels", [ALICES, owner(ALICE)], ids=["old", "forged"])
@pytest.mark.parametrize("host", [*REACHING, *AT_START], ids=str)
def test_what_a_create_would_refuse_is_not_started(host: dict[str, Any], labels: dict[str, str]) -> None:
    """Also under the gate's own labels: before the gate anybody could write them, and root can now."""
    if labels != ALICES and "Links" in host:
        return
    slices = {"CgroupParent": "ds01-u5001-nogpu.slice"} if labels != ALICES else {}
    there = world(labels, "old", {**slices, **host})
    for who in (ALICE, ADMIN):
        for action in ("start", "restart"):
            verdict = there.as_(who).ask("POST", f"{V}/{OLD}/{action}")
            assert isinstance(verdict, Answer)
            assert verdict.status == 403
            if who is ALICE:
                assert verdict.rule == "made-elsewhere"
                assert "docker commit old" in verdict.body["message"]


@pytest.mark.parametrize("host", REACHING, ids=str)
def test_nobody_enters_what_reaches_beyond_itself(host: dict[str, Any]) -> None:
    there = world(None, "old", host)
    for who in (ALICE, ADMIN):
        for action, body in (("exec", {"Cmd": ["id"]}), ("attach", None), ("unpause", None)):
            assert status_of(there.as_(who).ask("POST", f"{V}/{OLD}/{action}", body)) == 403
    assert isinstance(there.ask("POST", f"{V}/{OLD}/stop"), Forward)


@pytest.mark.parametrize("host", AT_START, ids=str)
def test_who_is_inside_may_go_on(host: dict[str, Any]) -> None:
    assert isinstance(world(None, "old", host).ask("POST", f"{V}/{OLD}/exec", {"Cmd": ["id"]}), Forward)


HOME_BIND = {"Type": "bind", "Source": "/home/alice/work", "Destination": "/workspace"}
ETC_BIND = {"Type": "bind", "Source": "/etc", "Destination": "/workspace"}
NEAR_BIND = {"Type": "bind", "Source": "/home/alicex", "Destination": "/workspace"}


@pytest.mark.parametrize(("mount", "enters"), [(HOME_BIND, True), (ETC_BIND, False), (NEAR_BIND, False), ({"Type": "npipe"}, False)])
def test_a_bind_mount_is_never_followed_again(mount: dict[str, Any], enters: bool) -> None:
    """dockerd resolves its path at a start and at docker cp, as root; a running container's is resolved already."""
    there = world(None, "old", {}, mount)
    assert status_of(there.ask("POST", f"{V}/{OLD}/start")) == 403
    for method in ("GET", "HEAD", "PUT"):
        assert status_of(there.ask(method, f"{V}/{OLD}/archive?path=/workspace")) == 403
    assert isinstance(there.ask("POST", f"{V}/{OLD}/exec", {"Cmd": ["id"]}), Forward) is enters


VOLUMES = [
    ("minevol", True),
    (ANONYMOUS, True),
    (HOME.name, True),
    ("gone", True),
    ("bobvol", False),
    ("nobodys", False),
    ("rootfs", False),
    *((one.name, False) for one in FORGED),
]


@pytest.mark.parametrize(("name", "starts"), VOLUMES)
def test_a_volume_is_the_owners_or_stands_for_their_directory(name: str, starts: bool) -> None:
    there = world(owner(ALICE), "old", {"CgroupParent": "ds01-u5001-nogpu.slice"}, {"Type": "volume", "Name": name})
    assert isinstance(there.ask("POST", f"{V}/{OLD}/start"), Forward) is starts
    assert isinstance(there.ask("GET", f"{V}/{OLD}/archive?path=/x"), Forward) is starts


def test_an_old_container_on_a_network_of_nobody_is_not_started() -> None:
    there = world()
    there.containers[-1] = replace(there.containers[-1], networks=("oldnet",))
    assert status_of(there.ask("POST", f"{V}/{OLD}/start")) == 409


def test_what_the_gate_made_starts_again() -> None:
    """The body of an accepted create, as dockerd would hold it, raises no objection."""
    made = body_of(World().create({"Binds": ["/home/alice/p:/w", "minevol:/v"], "CapAdd": ["CHOWN"], "PortBindings": {"80/tcp": [{}]}}))
    host = made["HostConfig"]
    mounts = [{"Type": one["Type"], "Name": one["Source"]} for one in host.pop("Mounts")]
    host["PortBindings"] = {port: [{**one, "HostPort": "8080"} for one in bound] for port, bound in host["PortBindings"].items()}
    there = world(made["Labels"], "old", host, *mounts)
    assert isinstance(there.ask("POST", f"{V}/{OLD}/start"), Forward)
    assert isinstance(there.ask("GET", f"{V}/{OLD}/archive?path=/w"), Forward)
    assert isinstance(there.as_(ADMIN).ask("POST", f"{V}/{OLD}/restart"), Forward)


@pytest.mark.parametrize(("host", "mounts", "starts"), [({}, [], True), ({"Privileged": True}, [], False), ({}, [ETC_BIND], False)])
def test_what_the_gate_starts_again_by_itself_was_made_here(host: dict[str, Any], mounts: list[dict[str, Any]], starts: bool) -> None:
    """A restart policy and the label of a claim are no proof either."""
    slices = {"CgroupParent": "ds01-u5001-c0123456789ab.slice"}
    labels = {**owner(ALICE), "ds01.claim": "c0123456789ab"}
    found = {"Name": "/old", "Config": {"Labels": labels}, "HostConfig": {**slices, **host}, "Mounts": mounts}
    if starts:
        check_made_here(found)
        return
    with pytest.raises(Refusal, match="not made through this gate"):
        check_made_here(found)


def test_a_list_that_the_gate_filters_looks_for_own_containers_alone() -> None:
    """Its filters go to dockerd without the owner's label."""
    there = World(legacy=1)
    assert status_of(there.ask("GET", V + '/json?filters={"since":["mine"]}')) == 200
    for name in ("bobs", "nowhere"):
        verdict = there.ask("GET", V + f'/json?filters={{"since":["{name}"]}}')
        assert isinstance(verdict, Answer)
        assert (verdict.status, verdict.body) == (404, {"message": f"No such container: {name}"})
