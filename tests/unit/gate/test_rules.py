# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The rules beyond the numbered cases: what people may do, what they may not, and what no accepted request can ever contain."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ds01.core.gate import response_rules, strict_json
from ds01.core.gate.create_fields import CREATE, HOST_CONFIG
from ds01.core.gate.facts import Bind, Container, Network, Volume
from ds01.core.gate.gpu_rules import parse_ask
from ds01.core.gate.identity import Identity
from ds01.core.gate.image_names import reference
from ds01.core.gate.verdict import Answer, EnsureSlice, Forward, GrantClaim, MakeDirectory, RecordImage, ResponseRule, Stop
from ds01.core.gpu_request import GpuRequest
from tests.search_effort import tries
from tests.unit.gate.gate_world import (
    ADMIN,
    ALICE,
    BOB,
    BOB_ID,
    CONTEXT,
    GIB,
    LIMITS,
    OWN_EXEC,
    OWN_ID,
    UUID,
    World,
    body_of,
    owner,
    status_of,
)

# --- what no accepted create can contain ---------------------------------------------------------------------------------------------

NAMES = sorted({*CREATE.fields, *HOST_CONFIG.fields, "Nonsense", "privileged", "BINDS", "hostconfig"})
STRINGS = st.sampled_from(
    [
        "",
        "host",
        "x",
        "container:bobs",
        "container:mine",
        "/etc:/m",
        "/home/alice/p:/w:ro",
        "minevol:/v",
        "bobvol:/v",
        "ALL",
        "bbx",
        "ds01.user",
        "A=b",
        "nvidia",
    ]
)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2**40) | STRINGS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["Type", "Source", "Target", "Name", "a", "ds01.user", "Count", "Capabilities"]), inner, max_size=3
        )
    ),
    max_leaves=6,
)
CREATE_BODIES = st.fixed_dictionaries(
    {"Image": st.sampled_from(["bbx", "pytorch", "labelled"])},
    optional={
        "HostConfig": st.dictionaries(st.sampled_from(NAMES), JSON_VALUES, max_size=3),
        "Labels": st.dictionaries(st.sampled_from(["a", "ds01.user", "ds01.gpu", "ds01.kind"]), STRINGS, max_size=2),
        "Env": st.lists(st.sampled_from(["A=b", "NVIDIA_VISIBLE_DEVICES=all"]), max_size=2),
        **dict.fromkeys(("Cmd", "User", "Volumes", "Privileged", "ExposedPorts"), JSON_VALUES),
    },
)
HOST_KEYS = {name for name, known in HOST_CONFIG.fields.items() if known.treatment.value == "take"} - {
    "Binds",
    "CpuQuota",
    "CpuPeriod",
    "VolumeDriver",
    "MemorySwappiness",
}
HOST_KEYS |= {"CgroupParent"}


@given(CREATE_BODIES)
@tries(200)
def test_an_accepted_create_contains_only_what_is_allowed(body: dict[str, Any]) -> None:
    verdict = World().ask("POST", "/v1.45/containers/create", body)
    if isinstance(verdict, Answer):
        assert verdict.status in (400, 403, 404, 409), verdict
        assert verdict.body["message"]
        return
    built = body_of(verdict)
    assert strict_json.dump(strict_json.parse(verdict.body or b"")) == verdict.body
    assert set(built) <= {name for name, known in CREATE.fields.items() if known.treatment.value == "take"}
    host = built["HostConfig"]
    assert set(host) <= HOST_KEYS
    assert built["Labels"]["ds01.user"] == "alice"
    assert host["CgroupParent"].startswith("ds01-u5001-")
    assert built["Env"][-1] == "NVIDIA_VISIBLE_DEVICES=void"
    assert all(mount["Type"] != "bind" for mount in host.get("Mounts", ()))
    assert 0 < host["Memory"] <= LIMITS.container.memory
    assert 0 < host["PidsLimit"] <= LIMITS.container.pids
    assert 0 < host["NanoCpus"] <= LIMITS.container.cpus * 10**9
    assert BOB_ID not in str(built)
    for request in host.get("DeviceRequests", ()):
        assert request == {"Driver": "cdi", "DeviceIDs": [f"ds01.infra/gpu={CONTEXT.new_claim_id}"]}


@given(
    st.sampled_from(["GET", "POST", "PUT", "DELETE", "HEAD"]),
    st.lists(
        st.sampled_from(
            ["containers", "mine", "bobs", "json", "images", "bbx", "networks", "volumes", "exec", "create", "v1.45", "tag", "%2e", "start"]
        ),
        max_size=4,
    ),
    JSON_VALUES,
)
@tries(150)
def test_no_request_breaks_the_judge(method: str, parts: list[str], body: Any) -> None:
    verdict = World().ask(method, "/" + "/".join(parts), body)
    if isinstance(verdict, Forward):
        assert verdict.path.startswith(("/v1.", "/_ping", "/version"))
        assert "bobs" not in verdict.path
        assert "%2e" not in verdict.target


# --- GPU -------------------------------------------------------------------------------------------------------------------------------

ASKS = [
    ("2g.20gb", GpuRequest(1, "2g.20gb")),
    ("full", GpuRequest(full=True)),
    ("all", GpuRequest(everything=True)),
    ("2", GpuRequest(2)),
    ("count=2,1g.10gb", GpuRequest(2, "1g.10gb")),
    ("profile=1g.10gb+me", GpuRequest(1, "1g.10gb+me")),
    ("memory=20GiB", GpuRequest(memory_mib=20480)),
    ("2g", GpuRequest(1, "2g")),
    ("2x1g.5gb", GpuRequest(2, "1g.5gb")),
    (f"uuid={UUID}", GpuRequest(uuids=(UUID,))),
    ("none", None),
    ("0", None),
    ("", None),
]


@pytest.mark.parametrize(("text", "request_"), ASKS)
def test_the_label_that_asks(text: str, request_: GpuRequest | None) -> None:
    asked = parse_ask(text)
    assert asked == request_
    if asked is not None:
        assert GpuRequest.parse(asked.text()) == asked


@pytest.mark.parametrize(
    "text", ["fulll", "memory=", "memory=lots", "count=0", "uuid=", "2q", "profile=", "all;rm", "1.5", "-1", "all,2", "9" * 5000]
)
def test_a_label_that_is_not_understood(text: str) -> None:
    with pytest.raises(Stop) as error:
        parse_ask(text)
    assert error.value.status == 400


def test_the_label_wins_over_gpus_all_and_is_not_kept() -> None:
    host = {"DeviceRequests": [{"Count": -1, "Capabilities": [["gpu"]]}]}
    body = body_of(World().create(host, Labels={"ds01.gpu": "2g.20gb"}))
    assert body["Labels"]["ds01.gpu.request"] == "count=1,profile=2g.20gb"
    assert "ds01.gpu" not in body["Labels"]


@pytest.mark.parametrize(
    ("label", "gpu", "status"),
    [
        ("full", {}, 403),
        ("full", {"full_gpu": True}, 200),
        ("3", {}, 403),
        ("7g.80gb", {}, 403),
        ("7g.80gb", {"profiles": None}, 200),
        (f"uuid={UUID}", {}, 403),
        (f"uuid={UUID}", {"by_uuid": True}, 200),
        ("1", {"equivalents": Fraction(0)}, 403),
        ("1", {"equivalents": None}, 200),
        ("1", {"devices_per_container": 0}, 403),
    ],
)
def test_what_the_policy_can_never_grant(label: str, gpu: dict[str, Any], status: int) -> None:
    world = World(limits=replace(LIMITS, gpu=replace(LIMITS.gpu, **gpu)))
    assert status_of(world.create(Labels={"ds01.gpu": label})) == status


def test_gpus_zero_is_no_gpu() -> None:
    assert "DeviceRequests" not in body_of(World().create({"DeviceRequests": [{"Count": 0, "Capabilities": [["gpu"]]}]}))["HostConfig"]
    assert "DeviceRequests" not in body_of(World().create(Env=["NVIDIA_VISIBLE_DEVICES=none"]))["HostConfig"]


@pytest.mark.parametrize(
    "request_",
    [
        {"Count": 1, "DeviceIDs": ["0"], "Capabilities": [["gpu"]]},
        {"Count": -2, "Capabilities": [["gpu"]]},
        {"Count": 1, "Capabilities": "gpu"},
        {"Count": 1, "Capabilities": [["tpu"]]},
        {"Count": 1},
        {"Driver": "cdi", "DeviceIDs": ["vendor.com/net=0"]},
        {"DeviceIDs": ["../x"], "Capabilities": [["gpu"]]},
        {"Count": 1, "Capabilities": [["gpu"]], "Options": {"a": "b"}},
    ],
)
def test_odd_device_requests(request_: dict[str, Any]) -> None:
    assert status_of(World().create({"DeviceRequests": [request_]})) in (400, 403)


# --- start, count, owner -----------------------------------------------------------------------------------------------------------------


def test_start_without_gpu_makes_sure_of_the_slice() -> None:
    verdict = World().ask("POST", "/containers/mine/start")
    assert isinstance(verdict, Forward)
    assert verdict.before == (EnsureSlice("ds01-u5001-nogpu.slice", 5001, "alice"),)
    assert verdict.object_id == OWN_ID


def test_too_many_at_once() -> None:
    refused = World(running=3).ask("POST", "/containers/mine/start")
    assert isinstance(refused, Answer)
    assert "3 of your containers run, and 3 may run at once" in refused.body["message"]
    assert status_of(World(running=2).ask("POST", "/containers/mine/start")) == 200
    assert (
        status_of(
            World(running=99, limits=replace(LIMITS, container=replace(LIMITS.container, count=None))).ask("POST", "/containers/mine/start")
        )
        == 200
    )


def test_an_admin_starts_for_the_owner() -> None:
    world = World(running=99).as_(ADMIN)
    world.containers[2] = Container(BOB_ID, "bobs", {**owner(BOB), "ds01.claim": "c0123456789ab", "ds01.gpu.request": "all"})
    verdict = world.ask("POST", "/containers/bobs/start")
    assert isinstance(verdict, Forward)
    assert verdict.before == (GrantClaim("c0123456789ab", 5002, "bob", BOB_ID, "bobs", "all"),)


def test_a_start_knows_what_its_failure_would_end() -> None:
    world = World()
    made = world.create({"AutoRemove": True, "DeviceRequests": [{"Count": 1, "Capabilities": [["gpu"]]}]})
    assert isinstance(made, Forward) and made.body is not None
    body = json.loads(made.body)
    world.containers[0] = Container(OWN_ID, "mine", body["Labels"], host=body["HostConfig"])
    verdict = world.ask("POST", "/containers/mine/start")
    assert isinstance(verdict, Forward)
    (grant,) = [effect for effect in verdict.before if isinstance(effect, GrantClaim)]
    assert grant.removed_on_failure


def test_an_admin_does_not_start_what_has_no_owner() -> None:
    assert status_of(World().as_(ADMIN).ask("POST", "/containers/stray/start")) == 403
    assert status_of(World().as_(ADMIN).ask("DELETE", "/containers/stray")) == 200


def test_a_network_that_changed_hands_is_not_joined_again() -> None:
    world = World()
    world.networks[0] = Network("9a" * 32, "alicenet", owner(BOB))
    assert status_of(world.ask("POST", "/containers/mine/start")) == 409


def test_a_forged_claim_label_is_no_claim() -> None:
    world = World()
    world.containers[0] = Container(OWN_ID, "mine", {**owner(ALICE), "ds01.claim": "../../etc"})
    verdict = world.ask("POST", "/containers/mine/start")
    assert isinstance(verdict, Forward)
    assert isinstance(verdict.before[0], EnsureSlice)


# --- streams -----------------------------------------------------------------------------------------------------------------------------

UPGRADE = {"Connection": "Upgrade", "Upgrade": "tcp"}


def test_hijacks() -> None:
    attach = World().ask(
        "POST", "/containers/mine/attach?stdin=1&stream=1", headers={**UPGRADE, "Content-Type": "text/plain", "Content-Length": "0"}
    )
    assert isinstance(attach, Forward)
    assert (attach.upgrade, attach.endless, attach.query) == ("tcp", True, "stdin=1&stream=1")
    started = World().ask("POST", f"/exec/{OWN_EXEC}/start", {"Tty": True, "ConsoleSize": [24, 80]}, headers=UPGRADE)
    assert isinstance(started, Forward)
    assert (started.upgrade, body_of(started)) == ("tcp", {"Tty": True, "ConsoleSize": [24, 80]})
    detached = World().ask("POST", f"/exec/{OWN_EXEC}/start", {"Detach": True}, headers=UPGRADE)
    assert isinstance(detached, Forward)
    assert (detached.upgrade, detached.endless) == (None, False)


def test_other_protocols_are_not_hijacked_to() -> None:
    for protocol in ("h2c", "websocket", "tcp/1"):
        verdict = World().ask("POST", "/containers/mine/attach", headers={"Connection": "Upgrade", "Upgrade": protocol})
        assert isinstance(verdict, Forward)
        assert verdict.upgrade is None


def test_websockets() -> None:
    headers = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Key": "k", "Sec-WebSocket-Version": "13", "X-Evil": "1"}
    verdict = World().ask("GET", "/containers/mine/attach/ws?stream=1", headers=headers)
    assert isinstance(verdict, Forward)
    assert verdict.headers == (("Sec-WebSocket-Key", "k"), ("Sec-WebSocket-Version", "13"))


def test_archives_are_streamed() -> None:
    verdict = World().ask(
        "PUT",
        "/containers/mine/archive?path=/w&noOverwriteDirNonDir=true",
        headers={"Transfer-Encoding": "chunked", "Content-Type": "text/plain"},
    )
    assert isinstance(verdict, Forward)
    assert (verdict.stream, verdict.headers) == (True, (("Content-Type", "application/x-tar"),))
    assert verdict.target == f"/v1.51/containers/{OWN_ID}/archive?path=%2Fw&noOverwriteDirNonDir=1"


def test_headers_come_from_a_list() -> None:
    headers = {
        "X-Registry-Auth": "e30=",
        "Accept": "*/*",
        "Cookie": "a",
        "X-Forwarded-For": "b",
        "Trailer": "c",
        "Expect": "100-continue",
        "Origin": "d",
    }
    verdict = World().ask("POST", "/images/create?fromImage=bbx&tag=latest", headers=headers)
    assert isinstance(verdict, Forward)
    assert sorted(verdict.headers) == [("Accept", "*/*"), ("X-Registry-Auth", "e30=")]


# --- binds -------------------------------------------------------------------------------------------------------------------------------


def test_a_missing_directory_is_made_as_the_user_for_v_but_not_for_mount() -> None:
    verdict = World().create({"Binds": ["/home/alice/new:/w"]})
    assert isinstance(verdict, Forward)
    assert MakeDirectory("/home/alice/new") in verdict.before
    mount = {"Type": "bind", "Source": "/home/alice/new", "Target": "/w"}
    assert status_of(World().create({"Mounts": [mount]})) == 400
    assert status_of(World().create({"Mounts": [{**mount, "BindOptions": {"CreateMountpoint": True}}]})) == 200


@pytest.mark.parametrize("path", ["/home/alice/sock", "/home/alice/secret"])
def test_binds_of_what_is_no_file(path: str) -> None:
    assert status_of(World().create({"Binds": [f"{path}:/w"]})) == 403


def test_a_root_itself_and_one_root_for_two_binds() -> None:
    verdict = World().create({"Binds": ["/home/alice:/a", "/home/alice/x:/b", "/home/alice/file:/c:ro"]})
    assert isinstance(verdict, Forward)
    mounts = body_of(verdict)["HostConfig"]["Mounts"]
    assert [mount["VolumeOptions"].get("Subpath") for mount in mounts] == [None, "x", "file"]
    assert len(verdict.before) == 1


def test_the_deepest_root_decides() -> None:
    limits = replace(LIMITS, bind_roots=(*LIMITS.bind_roots, type(LIMITS.bind_roots[0])("/data/alice", True)))
    world = World(limits=limits)
    world.roots["/data/alice"] = replace(world.roots["/data"], real="/data/alice")
    mounts = body_of(world.create({"Binds": ["/data/alice/x:/a", "/data/y:/b"]}))["HostConfig"]["Mounts"]
    assert [mount.get("ReadOnly", False) for mount in mounts] == [False, True]


def test_the_root_of_everything_is_no_root() -> None:
    world = World()
    world.roots["/home/alice"] = replace(world.roots["/home/alice"], real="/")
    assert status_of(world.create({"Binds": ["/etc:/m"]})) == 403


def test_a_root_that_is_gone_grants_nothing() -> None:
    world = World()
    del world.roots["/home/alice"]
    assert status_of(world.create({"Binds": ["/home/alice/p:/m"]})) == 403


def test_a_refused_bind_says_where_it_leads_and_what_is_allowed() -> None:
    refused = World().create({"Binds": ["/home/alice/to-etc:/m"]})
    assert isinstance(refused, Answer)
    assert "it leads to /etc" in refused.body["message"]
    assert "/data (read-only)" in refused.body["message"]


def test_two_mounts_on_one_target() -> None:
    assert status_of(World().create({"Binds": ["minevol:/a", "/home/alice/p:/a/"]})) == 400


@pytest.mark.parametrize(
    ("bind", "status"),
    [
        ("minevol:/v", 200),
        ("newvol:/v:ro", 200),
        ("/anon", 200),
        ("a:b:c:d", 400),
        (":/x", 400),
        ("minevol:relative", 400),
        ("./x:/y", 400),
        ("minevol:/", 400),
        ("x:/v", 400),
    ],
)
def test_bind_forms(bind: str, status: int) -> None:
    assert status_of(World().create({"Binds": [bind]})) == status


def test_anonymous_volumes_carry_their_owner() -> None:
    host = body_of(World().create(Image="pytorch", Volumes={"/cache": {}}))["HostConfig"]
    assert [(mount["Target"], mount["VolumeOptions"]["Labels"]["ds01.user"]) for mount in host["Mounts"]] == [
        ("/cache", "alice"),
        ("/workspace", "alice"),
    ]
    covered = body_of(World().create({"Binds": ["/home/alice/p:/workspace"]}, Image="pytorch"))["HostConfig"]
    assert len(covered["Mounts"]) == 1


def test_a_volume_of_the_gate_cannot_be_had_by_another_spelling() -> None:
    world = World()
    world.volumes.append(Volume("innocent", {"ds01.internal": "bind-root", "ds01.user": "alice"}))
    assert status_of(world.create({"Binds": ["innocent:/m"]})) == 403
    assert status_of(world.ask("DELETE", "/volumes/innocent")) == 404


# --- images ------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("repository", "tag", "expected"),
    [
        ("bbx", "", "bbx:latest"),
        ("bbx:1", "", "bbx:1"),
        ("docker.io/library/bbx", "2", "bbx:2"),
        ("index.docker.io/bob/x", "", "bob/x:latest"),
        ("library/bbx", "", "bbx:latest"),
        ("docker.io/library/a/b", "", "library/a/b:latest"),
        ("localhost:5000/x", "", "localhost:5000/x:latest"),
        ("ghcr.io/a/b:c", "", "ghcr.io/a/b:c"),
    ],
)
def test_references(repository: str, tag: str, expected: str) -> None:
    assert reference(repository, tag) == expected


@pytest.mark.parametrize(
    "repository",
    [
        "docker.io/docker.io/pytorch",
        "index.docker.io/docker.io/x",
        "A/b",
        "a//b",
        "-a",
        "a:b:c",
        "",
        "deadbeef0",
    ],
)
def test_names_that_dockerd_would_read_otherwise(repository: str) -> None:
    with pytest.raises(Stop):
        reference(repository, "")


@pytest.mark.parametrize(
    ("repo", "status"),
    [
        ("alice/x", 200),
        ("docker.io/alice/x", 200),
        ("ds01-u5001/x", 200),
        ("ds01-u5002/x", 403),
        ("alice", 403),
        ("alicex/y", 403),
        ("index.docker.io/bob/y", 403),
        ("index.docker.io/pytorch", 403),
        ("ghcr.io/alice/x", 200),
        ("vsc-proj-1234", 200),
        ("nvidia/cuda", 403),
    ],
)
def test_where_people_may_tag(repo: str, status: int) -> None:
    verdict = World().ask("POST", f"/images/bbx/tag?repo={repo}&tag=1")
    assert status_of(verdict) == status
    if isinstance(verdict, Forward):
        assert isinstance(verdict.after[0], RecordImage)
        assert verdict.after[0].user == "alice"
    assert status_of(World().as_(ADMIN).ask("POST", f"/images/bbx/tag?repo={repo}&tag=1")) == 200


def test_pull() -> None:
    verdict = World().ask("POST", "/images/create?fromImage=docker.io/library/pytorch")
    assert isinstance(verdict, Forward)
    assert verdict.query == "fromImage=pytorch&tag=latest"
    assert verdict.after == (RecordImage("pytorch:latest", None),)
    assert status_of(World().ask("POST", "/images/create?fromImage=bob/x&tag=latest")) == 403
    assert status_of(World().ask("POST", f"/images/create?fromImage=pytorch@sha256:{'a' * 64}")) == 200
    assert status_of(World().ask("POST", f"/images/create?fromImage=pytorch@sha256:{'a' * 64}&tag=latest")) == 400
    assert status_of(World().ask("POST", "/images/create?fromImage=pytorch&changes=LABEL+a%3Db")) == 400
    assert status_of(World().ask("POST", "/images/create")) == 400


def test_force_is_for_admins() -> None:
    verdict = World().ask("DELETE", "/images/alice/x?force=1")
    assert isinstance(verdict, Forward)
    assert "force" not in verdict.query


@pytest.mark.parametrize(
    ("user", "namespaces"),
    [
        ("alice", ("alice", "ds01-u7")),
        ("first.last", ("first.last", "ds01-u7")),
        ("248835@hertie-school.lan", ("ds01-u7",)),
        ("Upper", ("ds01-u7",)),
        ("ds01-u8", ("ds01-u7",)),
        ("a" * 40, ("a" * 40, "ds01-u7")),
    ],
)
def test_namespaces(user: str, namespaces: tuple[str, ...]) -> None:
    assert Identity(7, user).namespaces == namespaces


# --- networks and answers ----------------------------------------------------------------------------------------------------------------


def test_networks_are_bridges_with_an_owner() -> None:
    body = {
        "Name": "n1",
        "Driver": "bridge",
        "IPAM": {"Driver": "default", "Options": {}, "Config": []},
        "Internal": True,
        "Labels": {"a": "b"},
        "Attachable": True,
    }
    assert body_of(World().ask("POST", "/networks/create", body)) == {
        "Name": "n1",
        "CheckDuplicate": True,
        "Driver": "bridge",
        "Labels": {"a": "b", "ds01.user": "alice", "ds01.uid": "5001"},
        "Internal": True,
    }
    assert status_of(World(network_count=16).ask("POST", "/networks/create", body)) == 403
    for name in ("bobnet", "bridge", "host", "a" * 64, "a b", ""):
        assert status_of(World().ask("POST", "/networks/create", {"Name": name})) in (400, 409)


def test_predefined_networks_are_shown_without_their_containers() -> None:
    verdict = World().ask("GET", "/networks/bridge")
    assert isinstance(verdict, Forward)
    assert verdict.response is ResponseRule.SHARED_NETWORK
    raw = json.dumps({"Name": "bridge", "Containers": {BOB_ID: {"Name": "bobs"}}}).encode()
    assert json.loads(response_rules.rewrite(verdict.response, raw, ALICE, CONTEXT)) == {"Name": "bridge", "Containers": {}}


def test_lists_of_networks() -> None:
    raw = json.dumps(
        [{"Name": "bridge", "Labels": None}, {"Name": "a", "Labels": owner(ALICE)}, {"Name": "b", "Labels": owner(BOB)}, {"Name": "c"}]
    ).encode()
    mine = json.loads(response_rules.rewrite(ResponseRule.OWN_NETWORKS, raw, ALICE, CONTEXT))
    assert [item["Name"] for item in mine] == ["bridge", "a"]
    assert len(json.loads(response_rules.rewrite(ResponseRule.OWN_NETWORKS, raw, ADMIN, CONTEXT))) == 4
    assert response_rules.rewrite(ResponseRule.OWN_NETWORKS, b"null", ALICE, CONTEXT) == b"[]\n"


def test_the_version_is_capped() -> None:
    old = replace(CONTEXT, api_max=(1, 45))
    raw = json.dumps(
        {
            "ApiVersion": "1.55",
            "MinAPIVersion": "1.24",
            "Components": [{"Name": "Engine", "Details": {"ApiVersion": "1.55"}}, {"Name": "runc"}],
        }
    ).encode()
    answer = json.loads(response_rules.rewrite(ResponseRule.CAP_VERSION, raw, ALICE, old))
    assert (answer["ApiVersion"], answer["MinAPIVersion"], answer["Components"][0]["Details"]["ApiVersion"]) == ("1.45", "1.41", "1.45")
    assert response_rules.cap_api_header("1.44", old) == "1.44"
    assert response_rules.cap_api_header("1.100", old) == "1.45"
    assert response_rules.cap_api_header("junk", old) == "1.45"
    refused = World(context=old).ask("GET", "/v1.46/containers/json")
    assert isinstance(refused, Answer)
    assert refused.body == {"message": "client version 1.46 is too new. Maximum supported API version is 1.45"}
    with pytest.raises(ValueError, match="expected an object"):
        response_rules.rewrite(ResponseRule.CAP_VERSION, b"[]", ALICE, old)


def test_info_keeps_the_daemons_settings_to_admins() -> None:
    raw = json.dumps({"ID": "x", "RegistryConfig": {}, "Labels": ["a"]}).encode()
    assert json.loads(response_rules.rewrite(ResponseRule.INFO, raw, ALICE, CONTEXT)) == {"ID": "x"}
    assert "Labels" in json.loads(response_rules.rewrite(ResponseRule.INFO, raw, ADMIN, CONTEXT))


# --- limits ------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "nano"),
    [
        ({}, 8),
        ({"NanoCpus": 2 * 10**9}, 2),
        ({"CpuQuota": 150_000, "CpuPeriod": 50_000}, 3),
        ({"CpuQuota": 200_000}, 2),
        ({"CpuQuota": -1}, 8),
        ({"CpuQuota": 10**9}, 8),
    ],
)
def test_cpus(asked: dict[str, int], nano: int) -> None:
    host = body_of(World().create(asked))["HostConfig"]
    assert host["NanoCpus"] == nano * 10**9
    assert not {"CpuQuota", "CpuPeriod"} & set(host)


def test_a_small_host_bounds_the_policy() -> None:
    world = World(context=replace(CONTEXT, host_cpus=2))
    assert body_of(world.create())["HostConfig"]["NanoCpus"] == 2 * 10**9


@pytest.mark.parametrize(
    ("host", "key", "value"),
    [
        ({"Memory": GIB}, "MemorySwap", GIB),
        ({"Memory": GIB, "MemoryReservation": 2 * GIB}, "MemoryReservation", GIB),
        ({"ShmSize": GIB}, "ShmSize", GIB),
        ({"OomScoreAdj": 2000}, "OomScoreAdj", 1000),
        ({"CpuShares": 10**9}, "CpuShares", 262144),
        ({"BlkioWeight": 1}, "BlkioWeight", 10),
        ({"LogConfig": {"Type": "none"}}, "LogConfig", {"Type": "none", "Config": {}}),
        (
            {"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3}},
            "RestartPolicy",
            {"Name": "on-failure", "MaximumRetryCount": 3},
        ),
        ({"RestartPolicy": {"Name": "always"}}, "RestartPolicy", {"Name": "always", "MaximumRetryCount": 0}),
        ({"Init": False}, "Init", False),
        ({"CapAdd": ["CAP_CHOWN"]}, "CapAdd", ["CHOWN"]),
        ({"GroupAdd": ["6000"]}, "GroupAdd", ["6000"]),
        ({"Links": ["mine"]}, "Links", [f"{OWN_ID}:mine"]),
        ({"VolumesFrom": ["mine:ro"]}, "VolumesFrom", [f"{OWN_ID}:ro"]),
        ({"PidMode": "container:mine"}, "PidMode", f"container:{OWN_ID}"),
        ({"NetworkMode": ""}, "NetworkMode", "default"),
        ({"Tmpfs": {"/t/": "size=64m,mode=1777"}}, "Tmpfs", {"/t": "size=64m,mode=1777"}),
    ],
)
def test_what_becomes_of_a_field(host: dict[str, Any], key: str, value: Any) -> None:
    assert body_of(World().create(host))["HostConfig"][key] == value


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ({"RestartPolicy": {"Name": "sometimes"}}, 400),
        ({"MemorySwappiness": 60}, 403),
        ({"Ulimits": [{"Name": "rtprio", "Soft": 99, "Hard": 99}]}, 403),
        ({"Tmpfs": {"/t": "suid"}}, 403),
        ({"Tmpfs": {"/t": "size=1,uid=0 dev"}}, 403),
        ({"PortBindings": {"80/tcp": [{"HostPort": "99999"}]}}, 400),
        ({"PortBindings": {"80/icmp": [{"HostPort": "8080"}]}}, 400),
        ({"PortBindings": {"80/tcp": [{"HostPort": "1000-2000"}]}}, 403),
        ({"NetworkMode": "container:"}, 400),
        ({"NetworkMode": "a b"}, 400),
        ({"IpcMode": "container:nothing"}, 404),
        ({"UTSMode": "container:mine"}, 403),
        ({"Memory": True}, 400),
        ({"Binds": "x"}, 400),
        ({"Binds": [1]}, 400),
        ({"Mounts": {}}, 200),
        ({"Mounts": [1]}, 400),
        ({"NewField": 0}, 200),
        ({"NewField": 1}, 400),
        ({"Mounts": [{"Type": "tmpfs", "Target": "/t", "Nonsense": 1}]}, 400),
        ({"Mounts": [{"Type": "image", "Source": "bobmade", "Target": "/i"}]}, 403),
        ({"Mounts": [{"Type": "image", "Source": "bbx", "Target": "/i"}]}, 200),
    ],
)
def test_other_fields(host: dict[str, Any], status: int) -> None:
    verdict = World().create(host)
    assert status_of(verdict) == status, verdict


def test_an_unknown_field_is_named() -> None:
    refused = World().create({"Mounts": [{"Type": "tmpfs", "Target": "/t", "TmpfsOptions": {"Future": 1}}]})
    assert isinstance(refused, Answer)
    assert "HostConfig.Mounts[0].TmpfsOptions.Future" in refused.body["message"]


def test_an_absent_image_is_absent_in_dockerds_words() -> None:
    refused = World().create(Image="nothing")
    assert isinstance(refused, Answer)
    assert (refused.status, refused.body) == (404, {"message": "No such image: nothing:latest"})


@pytest.mark.parametrize("entrypoint", [[], [""], ["/bin/sh"], "/bin/sh"])
def test_entrypoint_and_cmd_keep_their_emptiness(entrypoint: Any) -> None:
    assert body_of(World().create(Entrypoint=entrypoint))["Entrypoint"] == ([entrypoint] if isinstance(entrypoint, str) else entrypoint)


def test_every_refusal_is_json_with_a_message_and_a_rule() -> None:
    for verdict in (World().create({"Privileged": True}), World().ask("GET", "/nothing"), World().ask("GET", "/containers/bobs/json")):
        assert isinstance(verdict, Answer)
        assert json.loads(verdict.encoded())["message"]
        assert verdict.rule


def test_answers_of_the_gates_own() -> None:
    plugins = World().ask("GET", "/plugins")
    assert isinstance(plugins, Answer)
    assert (plugins.status, plugins.encoded()) == (200, b"[]\n")
    assert status_of(World().ask("GET", "/swarm")) == 503


def test_binds_are_looked_up_all_at_once() -> None:
    world = World()
    asked: list[Any] = []
    original = world.answer

    def counted(question: Any) -> Any:
        asked.append(question)
        return original(question)

    world.answer = counted  # type: ignore[method-assign]
    world.create({"Binds": ["/home/alice/a:/a", "/home/alice/b:/b", "minevol:/c"]}, name="n1")
    assert len(asked) == 2 + 2 + 1 + len(LIMITS.bind_roots)


def test_a_bind_to_a_file_of_another_root_follows_the_link() -> None:
    world = World()
    world.paths["/home/alice/link"] = Bind("/data/set/file", "file")
    (mount,) = body_of(world.create({"Binds": ["/home/alice/link:/f"]}))["HostConfig"]["Mounts"]
    assert (mount["ReadOnly"], mount["VolumeOptions"]["Subpath"]) == (True, "set/file")


@pytest.mark.parametrize(
    "host",
    [
        {"Binds": [f"/home/alice/{i}:/m{i}" for i in range(20000)]},
        {"Mounts": [{"Type": "tmpfs", "Target": f"/{i}"} for i in range(101)]},
        {"Tmpfs": {f"/{i}": "" for i in range(101)}},
        {"VolumesFrom": ["mine"] * 51},
        {"Links": [f"mine:a{i}" for i in range(51)]},
        {"PortBindings": {f"{i}/tcp": [{"HostPort": ""}] for i in range(1, 300)}},
        {"DeviceRequests": [{"Count": 1, "Capabilities": [["gpu"]]}] * 17},
    ],
)
def test_nobody_keeps_the_server_busy_with_one_request(host: dict[str, Any]) -> None:
    refused = World().create(host)
    assert isinstance(refused, Answer)
    assert (refused.status, refused.rule) == (400, "too-many")


def test_nor_with_anonymous_volumes_or_networks() -> None:
    assert status_of(World().create(Volumes={f"/{i}": {} for i in range(101)})) == 400
    assert status_of(World().create(NetworkingConfig={"EndpointsConfig": {f"n{i}": {} for i in range(51)}})) == 400
    assert status_of(World().create(ExposedPorts={f"{i}/tcp": {} for i in range(1, 300)})) == 400
    assert status_of(World().ask("GET", "/images/get?" + "&".join(["names=bbx"] * 51))) == 400
