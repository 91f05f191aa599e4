# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The 122 cases of the threat table: every attack on the gate that can be decided without a daemon, by its number there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, quote

import pytest

from ds01.core.gate.chunked import ChunkDecoder
from ds01.core.gate.judge import admit
from ds01.core.gate.request_head import MAX_HEAD, BadHead, head_end, parse_head
from ds01.core.gate.verdict import Answer, Forward
from tests.unit.gate.gate_world import (
    ADMIN,
    ALICE,
    BOB,
    BOB_EXEC,
    BOB_ID,
    CONTEXT,
    DEAD_EXEC,
    GIB,
    GPU_ID,
    LIMITS,
    NEW_CLAIM,
    OWN_EXEC,
    OWN_ID,
    UUID,
    World,
    body_of,
    status_of,
)

C = "/v1.45/containers/create"
B = "bobs"


def raw_create(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


RAW_BODIES = [
    (1, '{"hostconfig":{"privileged":true}}', 403),
    (2, '{"Ho\u017ftConfig":{"Privileged":true}}', 400),
    (3, '{"Image":"bbx","HostConfig":{"Networ\\u212aMode":"host"}}', 400),
    (4, '{"HostConfig":{"\\u0050rivileged":true}}', 403),
    (5, '{"HostConfig":{"Privileged":true},"HostConfig":{"Memory":1}}', 400),
    (6, '{"HostConfig":{"Privileged":false,"privileged":true}}', 400),
    (7, '{"HostConfig":{"Privileged":true,"Privileged":null}}', 400),
    (8, '{"Image":"bbx","Privileged":true,"Binds":["/:/m"],"PidMode":"host"}', 400),
    (9, '{"Image":"bbx","Memory":1073741824}', 400),
    (9, '{"Image":"bbx","Cpuset":"0-3"}', 400),
    (10, '{"Image":"bbx","Labels":{"a":"1"},"Labels":{"b":"2"}}', 400),
    (10, '{"Image":"bbx","Labels":{"a":"1","a":"2"}}', 400),
    (10, '{"HostConfig":{"Mounts":[{"Type":"bind","Source":"/etc","Target":"/m"}],"Mounts":[{"Target":"/n"}]}}', 400),
    (11, '{"Image":"bbx"}{"Image":"bbx"}', 400),
    (11, '{"Image":"bbx"} garbage', 400),
    (12, '{"Image":"bbx","Hostname":"\\ud800"}', 400),
    (12, '{"Image":"bbx","Hostname":"\ud800"}', 400),
    (13, '{"Image":"bbx","HostConfig":{"Memory":8e6}}', 400),
    (13, '{"Image":"bbx","HostConfig":{"Memory":NaN}}', 400),
    (13, '{"Image":"bbx","HostConfig":{"Memory":-Infinity}}', 400),
    (13, '{"Image":"bbx","HostConfig":{"Memory":1180591620717411303424}}', 400),
    (13, '{"Image":"bbx","HostConfig":{"Memory":"8"}}', 400),
    (14, "[" * 20000, 400),
    (14, '{"HostConfig":' * 20000, 400),
    (15, '{"Image":"bbx","Hostname":"' + "x" * (1024 * 1024) + '"}', 413),
]


@pytest.mark.parametrize(("number", "text", "status"), RAW_BODIES, ids=[f"case{n}-{i}" for i, (n, _, _) in enumerate(RAW_BODIES)])
def test_json(number: int, text: str, status: int) -> None:
    assert status_of(World().ask("POST", C, raw=raw_create(text))) == status


def test_case_12_invalid_utf8() -> None:
    assert status_of(World().ask("POST", C, raw=b'{"Image":"bbx","Hostname":"\xff\xfe"}')) == 400


def test_case_15_a_declared_length_is_refused_before_any_byte_is_read() -> None:
    head = parse_head(b"POST /containers/create HTTP/1.1\r\nHost: d\r\nContent-Type: application/json\r\nContent-Length: 100000000\r\n\r\n")
    verdict = admit(ALICE, head, CONTEXT)
    assert isinstance(verdict, Answer)
    assert verdict.status == 413


PRIVILEGED = b'{"Image":"bbx","HostConfig":{"Privileged":true}}'


@pytest.mark.parametrize(
    ("number", "media", "status"),
    [
        (16, "application/json; charset=utf-8", 403),
        (16, "APPLICATION/JSON", 403),
        (16, "application/json;", 403),
        (17, "text/plain", 415),
        (17, "application/x-www-form-urlencoded", 415),
        (17, "multipart/form-data; boundary=x", 415),
        (17, "application/jsonx", 415),
    ],
)
def test_content_type(number: int, media: str, status: int) -> None:
    headers = {"Content-Type": media, "Content-Length": str(len(PRIVILEGED))}
    assert status_of(World().ask("POST", C, raw=PRIVILEGED, headers=headers)) == status


HEADS = [
    (18, b"POST /x HTTP/1.1\r\nHost: d\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    (19, b"POST /x HTTP/1.1\r\nHost: d\r\nTransfer-Encoding: xchunked\r\n\r\n", 400),
    (19, b"POST /x HTTP/1.1\r\nHost: d\r\nTransfer-Encoding: chunked, identity\r\n\r\n", 400),
    (19, b"POST /x HTTP/1.1\r\nHost: d\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    (19, b"POST /x HTTP/1.1\r\nHost: d\r\nX-A: 1\r\n folded\r\n\r\n", 400),
    (19, b"GET /x HTTP/1.1\nHost: d\n\n", 400),
    (19, b"GET /x HTTP/1.1\r\nHost: d\nX: y\r\n\r\n", 400),
    (19, b"GET /x HTTP/1.1\r\nHost: d\r\nX: a\x00b\r\n\r\n", 400),
    (19, b"GET /x HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    (19, b"GET /x HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\n", 400),
    (19, b"GET /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\n", 400),
    (19, b"GET /x HTTP/1.1\r\nHost : a\r\n\r\n", 400),
    (25, b"PRI * HTTP/2.0\r\n\r\n", 400),
    (30, b"GET http://evil/containers/json HTTP/1.1\r\nHost: d\r\n\r\n", 400),
    (33, b"get /containers/json HTTP/1.1\r\nHost: d\r\n\r\n", 400),
]


@pytest.mark.parametrize(("number", "raw", "status"), HEADS, ids=[f"case{n}-{i}" for i, (n, _, _) in enumerate(HEADS)])
def test_head(number: int, raw: bytes, status: int) -> None:
    with pytest.raises(BadHead) as error:
        parse_head(raw)
    assert error.value.status == status


def test_case_20_what_follows_a_denied_request_is_a_request_of_its_own() -> None:
    decoder = ChunkDecoder()
    assert b"".join(decoder.feed(b"3\r\nabc\r\n0\r\n\r\nGET /containers/json HTTP/1.1\r\n")) == b"abc"
    assert decoder.done
    assert decoder.rest == b"GET /containers/json HTTP/1.1\r\n"


def test_case_21_the_body_of_a_ping_is_read_and_forgotten() -> None:
    smuggled = b"POST /containers/x/start HTTP/1.1\r\n\r\n"
    verdict = World().ask("GET", "/_ping", raw=smuggled, headers={"Content-Type": "text/plain"})
    assert isinstance(verdict, Forward)
    assert (verdict.body, verdict.stream, verdict.target) == (None, False, "/_ping")


FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.mark.parametrize(
    ("number", "target", "headers"),
    [
        (22, "/containers/mine/rename?name=a", FORM),
        (23, "/containers/prune", FORM),
        (23, "/containers/prune", {"Content-Type": "Multipart/Form-Data; boundary=x"}),
        (23, "/images/create?fromImage=a", FORM),
        (23, "/build?t=alice/x", FORM),
    ],
)
def test_forms(number: int, target: str, headers: dict[str, str]) -> None:
    assert status_of(World().ask("POST", target, raw=b"name=b", headers={**headers, "Content-Length": "6"})) == 415


def test_case_25_an_upgrade_where_none_belongs_is_dropped() -> None:
    verdict = World().ask("GET", "/version", headers={"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": "AAM"})
    assert isinstance(verdict, Forward)
    assert verdict.upgrade is None
    assert verdict.headers == ()


def test_case_26_a_head_without_end() -> None:
    with pytest.raises(BadHead) as error:
        head_end(b"GET / HTTP/1.1\r\nX: " + b"a" * MAX_HEAD)
    assert error.value.status == 431
    with pytest.raises(BadHead) as error:
        parse_head(b"GET / HTTP/1.1\r\nHost: d\r\n" + b"".join(b"X-%d: 1\r\n" % i for i in range(100)) + b"\r\n")
    assert error.value.status == 431


def test_case_27_a_chunked_create_is_accepted_and_gets_a_length() -> None:
    head = parse_head(
        b"POST /v1.45/containers/create HTTP/1.1\r\nHost: d\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    world = World()
    admitted = admit(ALICE, head, CONTEXT)
    assert not isinstance(admitted, Answer)
    verdict = world.judged(admitted, b'{"Image":"bbx"}')
    assert body_of(verdict)["Image"] == "bbx"


URLS = [
    (24, "POST", "/containers/mine/rename?name=a1&name=b1", 400),
    (28, "GET", "//v1.41/containers/json", 400),
    (28, "GET", "/v1.41//containers/json", 400),
    (28, "GET", "/v1.41/../containers/json", 400),
    (28, "GET", "/./containers/json", 400),
    (29, "GET", "/%63ontainers/json", 400),
    (29, "GET", "/v1.41%2fcontainers/json", 400),
    (29, "GET", "/v1%2e41/containers/json", 400),
    (29, "GET", "/containers/js%6fn", 400),
    (31, "GET", "/containers/json/", 404),
    (31, "GET", "/networks/", 200),
    (32, "GET", "/v1.23/containers/json", 400),
    (32, "POST", "/v1.12/containers/x/start", 400),
    (32, "GET", "/v9.9/containers/json", 400),
    (32, "GET", "/v1.52/containers/json", 400),
    (32, "GET", "/v01.41/containers/json", 400),
    (32, "GET", "/v1.41.0/containers/json", 400),
    (32, "GET", "/v1.40/containers/json", 400),
    (33, "GET", "/V1.41/containers/json", 400),
    (34, "GET", "/containers/bob%2f..%2falice1/json", 400),
    (34, "GET", "/containers/a%00b/json", 400),
    (34, "GET", "/images/a%2f..%2fb/json", 400),
    (35, "GET", "/debug/pprof/", 403),
    (35, "GET", "/debug/pprof/heap", 403),
    (35, "GET", "/debug/vars", 403),
    (36, "OPTIONS", "/containers/json", 403),
    (37, "GET", "/containers/json?filters={};x", 400),
    (37, "GET", "/containers/json?a;b", 400),
]


@pytest.mark.parametrize(("number", "method", "target", "status"), URLS)
def test_url(number: int, method: str, target: str, status: int) -> None:
    assert status_of(World().ask(method, target)) == status


OWNERSHIP = [
    *((38, "GET", f"/containers/{B}/{what}", 404) for what in ("json", "logs", "top", "stats", "changes", "export", "archive?path=/")),
    *(
        (39, "POST", f"/containers/{B}/{what}", 404)
        for what in ["start", "stop", "kill", "restart", "pause", "unpause", "rename?name=n1", "resize", "wait", "attach"]
    ),
    (40, "PUT", f"/containers/{B}/archive?path=/", 404),
    (40, "HEAD", f"/containers/{B}/archive?path=/", 404),
    (40, "DELETE", f"/containers/{B}?force=1", 404),
    *((41, "GET", f"/containers/{ref}/json", 404) for ref in (BOB_ID[:3], BOB_ID[:4], BOB_ID[:12], BOB_ID, "stray", "nothing")),
    *((45, "GET", f"/exec/{exec_id}/json", 404) for exec_id in (BOB_EXEC, DEAD_EXEC, "4" * 64, "short")),
    (45, "POST", f"/exec/{BOB_EXEC}/resize?h=1&w=1", 404),
    (46, "GET", f"/exec/{OWN_EXEC}/json", 200),
    (50, "POST", f"/commit?container={B}&repo=alice/y", 404),
    (54, "GET", "/volumes/bobvol", 404),
    (54, "DELETE", "/volumes/bobvol", 404),
    (54, "GET", "/volumes/nobodys", 404),
    (54, "DELETE", "/volumes/ds01.root.5001.0123", 404),
    (56, "GET", "/networks/bobnet", 404),
    (56, "DELETE", "/networks/bobnet", 404),
    (56, "DELETE", "/networks/bridge", 404),
    (59, "POST", "/images/prune", 200),
    (59, "POST", "/build/prune", 200),
    (59, "GET", "/system/df", 403),
    (60, "DELETE", "/images/bob/x", 403),
    (60, "DELETE", "/images/pytorch?force=1", 403),
    (60, "DELETE", "/images/" + "8" * 12, 404),
    (60, "DELETE", "/images/sha256:" + "8" * 64, 403),
    (60, "DELETE", "/images/alice/x", 200),
    (61, "POST", "/images/alice/x/tag?repo=pytorch&tag=latest", 403),
    (61, "POST", "/images/bbx/tag?repo=alice/x", 200),
    (61, "POST", "/images/bbx/tag?repo=docker.io/library/pytorch", 403),
    (61, "POST", "/images/bbx/tag?repo=bob/x", 403),
    (61, "POST", "/images/bbx/tag?repo=deadbeef", 400),
    (62, "POST", "/images/load", 200),
    (62, "POST", "/images/create?fromSrc=-&repo=pytorch&tag=latest", 403),
    (62, "POST", "/images/create?fromSrc=-&repo=alice/imported", 200),
    (62, "POST", "/commit?container=mine&repo=pytorch", 403),
    (62, "POST", "/build?t=pytorch:latest", 403),
    (62, "POST", "/build?t=alice/a&t=pytorch", 403),
    (62, "POST", "/build?t=alice/a&t=alice/b:2", 200),
]


@pytest.mark.parametrize(("number", "method", "target", "status"), OWNERSHIP)
def test_ownership(number: int, method: str, target: str, status: int) -> None:
    verdict = World().ask(method, target)
    assert status_of(verdict) == status, verdict
    if status == 404:
        assert "bob" not in str(verdict).replace("bobs", "").replace("bobvol", "").replace("bobnet", "")


def test_case_39_with_a_body() -> None:
    assert status_of(World().ask("POST", f"/containers/{B}/exec", {"Cmd": ["id"]})) == 404
    assert status_of(World().ask("POST", f"/containers/{B}/update", {"Memory": 1})) == 404
    assert status_of(World().ask("POST", f"/exec/{BOB_EXEC}/start", {"Detach": False})) == 404


@pytest.mark.parametrize(
    ("number", "name", "status"),
    [(42, BOB_ID[:12], 400), (43, BOB_ID, 400), (43, "f" * 13, 400), (0, "bobs", 409), (0, "ok", 200), (0, "-x", 400)],
)
def test_names(number: int, name: str, status: int) -> None:
    assert status_of(World().create(name=name)) == status
    if name != "bobs":
        assert status_of(World().ask("POST", f"/containers/mine/rename?name={name}")) == status


def test_case_44_the_full_id_is_forwarded_whatever_the_name() -> None:
    for ref in ("mine", OWN_ID, OWN_ID[:12]):
        verdict = World().ask("DELETE", f"/v1.43/containers/{ref}")
        assert isinstance(verdict, Forward)
        assert verdict.target == f"/v1.43/containers/{OWN_ID}"


FILTER_QUERIES = [
    (47, "all=1", '{"label":{"ds01.user=alice":true}}'),
    (47, 'filters={"label":["ds01.user=bob"]}', '{"label":{"ds01.user=bob":true,"ds01.user=alice":true}}'),
    (48, 'filters={"label":{"x=y":true}}', '{"label":{"x=y":true,"ds01.user=alice":true}}'),
    (48, 'filters={"status":["running"]}', '{"status":{"running":true},"label":{"ds01.user=alice":true}}'),
    (48, "filters=", '{"label":{"ds01.user=alice":true}}'),
    (48, "filters=null", '{"label":{"ds01.user=alice":true}}'),
]


@pytest.mark.parametrize(("number", "query", "expected"), FILTER_QUERIES)
@pytest.mark.parametrize("path", ["/containers/json"])
def test_filters(number: int, query: str, expected: str, path: str) -> None:
    verdict = World().ask("GET", f"{path}?{query}")
    assert isinstance(verdict, Forward)
    assert f"filters={_quoted(expected)}" in verdict.query.split("&")


def _quoted(text: str) -> str:
    return quote(text, safe="")


@pytest.mark.parametrize(
    "query",
    [
        "filters={}&filters={}",
        "filters=x",
        'filters=["label"]',
        'filters={"label":{"a":false}}',
        'filters={"label":"a"}',
        'filters={"nonsense":["a"]}',
        "unknown=1",
    ],
)
def test_case_48_bad_filters(query: str) -> None:
    assert status_of(World().ask("GET", f"/containers/json?{query}")) == 400


@pytest.mark.parametrize(
    ("number", "method", "path"),
    [
        (49, "GET", "/events"),
        (58, "POST", "/containers/prune"),
        (58, "POST", "/volumes/prune"),
        (58, "POST", "/networks/prune"),
        (58, "GET", "/volumes"),
    ],
)
def test_own_only(number: int, method: str, path: str) -> None:
    verdict = World().ask(method, path)
    assert isinstance(verdict, Forward)
    assert _quoted('"ds01.user=alice":true') in verdict.query
    admin = World().as_(ADMIN).ask(method, path)
    assert isinstance(admin, Forward)
    assert "ds01.user" not in admin.query


HOSTS: list[tuple[int, dict[str, Any], int]] = [
    (51, {"VolumesFrom": [B]}, 404),
    (51, {"VolumesFrom": ["mine:ro"]}, 200),
    (51, {"VolumesFrom": ["mine:z"]}, 400),
    *((52, {mode: f"container:{B}"}, 404) for mode in ("NetworkMode", "PidMode", "IpcMode")),
    *((52, {mode: "container:mine"}, 200) for mode in ("NetworkMode", "PidMode", "IpcMode")),
    (53, {"Links": [f"{B}:x"]}, 404),
    (53, {"Links": ["mine:x"]}, 200),
    (54, {"Binds": ["bobvol:/m"]}, 409),
    (54, {"Mounts": [{"Type": "volume", "Source": "bobvol", "Target": "/m"}]}, 409),
    (54, {"Binds": ["nobodys:/m"]}, 409),
    (54, {"Binds": ["ds01.root.5001.0123:/m"]}, 403),
    (56, {"NetworkMode": "bobnet"}, 404),
    (56, {"NetworkMode": "alicenet"}, 200),
    (64, {"Privileged": True}, 403),
    (65, {"CapAdd": ["ALL"]}, 403),
    (65, {"CapAdd": ["SYS_ADMIN"]}, 403),
    (65, {"CapAdd": ["cap_sys_admin"]}, 403),
    (65, {"CapAdd": "SYS_ADMIN"}, 403),
    (66, {"Devices": [{"PathOnHost": "/dev/vda", "PathInContainer": "/dev/vda", "CgroupPermissions": "rwm"}]}, 403),
    (66, {"Devices": [{"PathOnHost": "/dev/nvidia0"}]}, 403),
    (67, {"DeviceCgroupRules": ["a *:* rwm"]}, 403),
    *(
        (68, {"SecurityOpt": [option]}, 403)
        for option in (
            "seccomp=unconfined",
            "apparmor=unconfined",
            "label=disable",
            "systempaths=unconfined",
            "writable-cgroups=true",
            "no-new-privileges=false",
        )
    ),
    (68, {"SecurityOpt": ["no-new-privileges"]}, 200),
    (69, {"MaskedPaths": []}, 403),
    (70, {"ReadonlyPaths": []}, 403),
    (71, {"MaskedPaths": None, "ReadonlyPaths": None}, 200),
    *(
        (72 + i, {mode: "host"}, 403)
        for i, mode in enumerate(("PidMode", "IpcMode", "UTSMode", "NetworkMode", "CgroupnsMode", "UsernsMode"))
    ),
    (79, {"Annotations": {"org.systemd.property.Slice": "'system.slice'"}}, 403),
    (79, {"Annotations": {"org.systemd.property.TasksMax": "uint64 9"}}, 403),
    (79, {"Annotations": {"cdi.k8s.io/x": "nvidia.com/gpu=all"}}, 403),
    (79, {"Annotations": {"anything": ""}}, 403),
    *((80, {"Runtime": runtime}, 403) for runtime in ("nvidia", "runc", "io.containerd.evil.v1")),
    (81, {"Sysctls": {"kernel.msgmax": "1"}}, 403),
    (82, {"StorageOpt": {"size": "1T"}}, 403),
    (83, {"VolumeDriver": "x"}, 403),
    *((85, {"LogConfig": {"Type": kind, "Config": {}}}, 403) for kind in ("gelf", "fluentd", "awslogs", "splunk", "journald")),
    (85, {"LogConfig": {"Type": "syslog", "Config": {"syslog-address": "unixgram:///run/x"}}}, 403),
    *(
        (87, {"Binds": [f"{source}:/m"]}, 403)
        for source in ("/", "/etc", "/home", "/home/bob", "/home/alice/../bob", "//etc/", "/home/alicex", "/scratch")
    ),
    *(
        (88, {"Binds": [f"{path}:/m"]}, 403)
        for path in ("/run/docker.sock", "/var/run/docker.sock", "/run/containerd", "/proc", "/sys", "/dev")
    ),
    *((89, {"Binds": [f"/home/alice/p:/m:{mode}"]}, 403) for mode in ("rshared", "shared", "Z", "z", "rslave", "ro,slave")),
    (90, {"Mounts": [{"Type": "bind", "Source": "/etc", "Target": "/m"}]}, 403),
    (90, {"Mounts": [{"Type": "BIND", "Source": "/etc", "Target": "/m"}]}, 400),
    (90, {"Mounts": [{"Type": "npipe", "Source": "x", "Target": "/m"}]}, 403),
    (90, {"Mounts": [{"Type": "cluster", "Source": "x", "Target": "/m"}]}, 403),
    (90, {"Mounts": [{"Type": "bind", "Source": "/home/alice", "Target": "/m", "BindOptions": {"Propagation": "rshared"}}]}, 403),
    (
        91,
        {
            "Mounts": [
                {
                    "Type": "volume",
                    "Target": "/m",
                    "VolumeOptions": {"DriverConfig": {"Name": "local", "Options": {"device": "/etc", "o": "bind"}}},
                }
            ]
        },
        403,
    ),
    (91, {"Mounts": [{"Type": "volume", "Target": "/m", "VolumeOptions": {"DriverConfig": {"Name": "evil"}}}]}, 403),
    (91, {"Mounts": [{"Type": "volume", "Target": "/m", "VolumeOptions": {"Subpath": "../x"}}]}, 400),
    (93, {"Binds": ["/home/alice/to-etc:/m"]}, 403),
    (93, {"Binds": ["/home/alice/to-bob:/m"]}, 403),
    (93, {"Binds": ["/home/alice/to-scratch:/m"]}, 200),
    (95, {"Binds": ["/unsafe/alice/x:/m"]}, 403),
    (99, {"PortBindings": {"22/tcp": [{"HostPort": "22"}]}}, 403),
    (99, {"PortBindings": {"80/tcp": [{"HostIp": "192.0.2.1", "HostPort": "8080"}]}}, 403),
    *((100, {"GroupAdd": [group]}, 403) for group in ("0", "docker", "shadow", "998", "42", "root")),
    (100, {"GroupAdd": ["students"]}, 200),
    (112, {"DeviceRequests": [{"Driver": "", "Count": 3, "Capabilities": [["gpu"]]}]}, 403),
    (112, {"DeviceRequests": [{"Driver": "cdi", "DeviceIDs": ["ds01.infra/gpu=c0123456789ab"]}]}, 403),
    (112, {"DeviceRequests": [{"Driver": "evil", "Count": 1}]}, 403),
    (114, {"Binds": ["/dev/null:/var/run/nvidia-container-devices/all"]}, 403),
    (114, {"Mounts": [{"Type": "volume", "Source": "minevol", "Target": "/run/nvidia-container-devices/all"}]}, 403),
    (114, {"Tmpfs": {"/var/run/../run/nvidia-container-devices/all": ""}}, 403),
]


@pytest.mark.parametrize(("number", "host", "status"), HOSTS, ids=[f"case{n}-{i}" for i, (n, _, _) in enumerate(HOSTS)])
def test_host_config(number: int, host: dict[str, Any], status: int) -> None:
    verdict = World().create(host)
    assert status_of(verdict) == status, verdict
    admin = World().as_(ADMIN).create(host)
    if status == 403 and number not in (54, 87, 88, 90, 93, 95, 100, 112):
        assert status_of(admin) == 403, "admins live by the same rules of create"


def test_case_55_a_name_that_is_taken() -> None:
    assert status_of(World().ask("POST", "/volumes/create", {"Name": "bobvol"})) == 409
    assert status_of(World().ask("POST", "/volumes/create", {"Name": "minevol"})) == 200
    assert status_of(World().ask("POST", "/volumes/create", {"Name": "ds01.root.5002.ffff"})) == 403
    assert body_of(World().ask("POST", "/volumes/create", {"Name": "fresh", "Labels": {"a": "b", "ds01.user": "bob"}})) == {
        "Driver": "local",
        "Labels": {"a": "b", "ds01.user": "alice", "ds01.uid": "5001"},
        "Name": "fresh",
    }


@pytest.mark.parametrize(
    ("number", "target", "body", "status"),
    [
        (56, "/networks/bobnet/connect", {"Container": "mine"}, 404),
        (56, "/networks/bobnet/disconnect", {"Container": "mine"}, 404),
        (57, "/networks/alicenet/connect", {"Container": B}, 404),
        (57, "/networks/alicenet/connect", {"Container": "mine"}, 200),
        (57, "/networks/bridge/connect", {"Container": "mine"}, 200),
        (57, "/networks/host/connect", {"Container": "mine"}, 404),
        (57, "/networks/alicenet/connect", {"Container": "mine", "EndpointConfig": {"DriverOpts": {"a": "b"}}}, 403),
        (57, "/networks/alicenet/connect", {"Container": "mine", "EndpointConfig": {"Links": [f"{B}:x"]}}, 404),
    ],
)
def test_connections(number: int, target: str, body: dict[str, Any], status: int) -> None:
    assert status_of(World().ask("POST", target, body)) == status


def test_case_56_endpoints() -> None:
    assert status_of(World().create(NetworkingConfig={"EndpointsConfig": {"bobnet": {}}})) == 404
    assert status_of(World().create(NetworkingConfig={"EndpointsConfig": {"host": {}}})) == 403
    assert status_of(World().create(NetworkingConfig={"EndpointsConfig": {"alicenet": {"Aliases": ["db"]}}})) == 200


def test_case_63_an_image_that_another_person_wrote() -> None:
    verdict = World().create(Image="bobmade")
    assert isinstance(verdict, Answer)
    assert verdict.status == 403
    assert "bob" in verdict.body["message"]
    assert status_of(World().create(Image="adminmade")) == 200
    assert status_of(World().as_(BOB).create(Image="bobmade")) == 200


@pytest.mark.parametrize("parent", ["/x", "system.slice", "../../", ""])
def test_case_78_the_slice_is_the_gates(parent: str) -> None:
    assert body_of(World().create({"CgroupParent": parent}))["HostConfig"]["CgroupParent"] == "ds01-u5001-nogpu.slice"


def test_case_84_and_86_bounds() -> None:
    wild = {
        "Memory": 10 * 1024 * GIB,
        "MemorySwap": -1,
        "NanoCpus": 10**12,
        "PidsLimit": -1,
        "ShmSize": 10**12,
        "OomScoreAdj": -1000,
        "Ulimits": [{"Name": "nofile", "Soft": 10**8, "Hard": 10**8}, {"Name": "memlock", "Soft": -1, "Hard": -1}],
        "LogConfig": {"Type": "json-file", "Config": {"max-size": "-1"}},
    }
    host = body_of(World().create(wild))["HostConfig"]
    assert host["Memory"] == host["MemorySwap"] == 32 * GIB
    assert host["NanoCpus"] == 8 * 10**9
    assert host["PidsLimit"] == 2048
    assert host["ShmSize"] == 8 * GIB
    assert "OomScoreAdj" not in host
    assert host["Ulimits"] == [
        {"Name": "nofile", "Soft": 1048576, "Hard": 1048576},
        {"Name": "memlock", "Soft": 32 * GIB, "Hard": 32 * GIB},
    ]
    assert host["LogConfig"] == {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}}
    for pids in (None, 0, -1):
        assert body_of(World().create({"Memory": 0, "PidsLimit": pids}))["HostConfig"]["PidsLimit"] == 2048


def test_case_82_the_layer_s_size_is_the_policy_s_where_dockerd_can_hold_it() -> None:
    limited = replace(LIMITS, container=replace(LIMITS.container, disk=10 * GIB))
    can = replace(CONTEXT, layer_quotas=True)
    assert body_of(World(limits=limited, context=can).create({}))["HostConfig"]["StorageOpt"] == {"size": str(10 * GIB)}
    assert "StorageOpt" not in body_of(World(limits=limited).create({}))["HostConfig"], "dockerd would refuse every container"
    assert "StorageOpt" not in body_of(World(context=can).create({}))["HostConfig"]
    nothing = replace(LIMITS, container=replace(LIMITS.container, disk=0))
    assert body_of(World(limits=nothing, context=can).create({}))["HostConfig"]["StorageOpt"]["size"] != "0", "0 is no limit to dockerd"


@pytest.mark.parametrize(
    "options",
    [
        {"type": "none", "o": "bind", "device": "/etc"},
        {"o": "rbind", "device": "/etc"},
        {"type": "overlay", "o": "lowerdir=/etc:/usr"},
        {"type": "proc", "device": "proc"},
        {"type": "ext4", "device": "/dev/vda"},
        {"type": "nfs", "device": ":/x"},
        {"type": "cifs", "device": "//h/x"},
        {"size": "1g"},
    ],
)
def test_case_92_driver_options(options: dict[str, str]) -> None:
    assert status_of(World().ask("POST", "/volumes/create", {"Name": "v1", "DriverOpts": options})) == 403


def test_case_94_a_bind_becomes_a_subpath_of_a_root_volume() -> None:
    verdict = World().create({"Binds": ["/home/alice/p/q:/w:ro"]})
    assert isinstance(verdict, Forward)
    host = body_of(verdict)["HostConfig"]
    assert "Binds" not in host
    (mount,) = host["Mounts"]
    assert mount["Type"] == "volume"
    assert mount["Source"].startswith("ds01.root.5001.")
    assert mount["VolumeOptions"] == {"NoCopy": True, "Subpath": "p/q"}
    assert mount["ReadOnly"] is True
    (volume,) = verdict.before
    assert volume.options == {"type": "none", "o": "rbind", "device": "/home/alice"}  # type: ignore[union-attr]
    assert "ds01.user" not in volume.labels, "docker volume prune of the owner must not take it"  # type: ignore[union-attr]
    assert verdict.path == "/v1.51/containers/create", "below API 1.45 dockerd would drop the subpath and mount the whole root"


def test_case_97_a_read_only_root() -> None:
    verdict = World().create({"Binds": ["/data/set:/d:rw"]})
    assert isinstance(verdict, Forward)
    assert body_of(verdict)["HostConfig"]["Mounts"][0]["ReadOnly"] is True
    assert verdict.before[0].options["o"] == "rbind,ro"  # type: ignore[union-attr]


def test_case_98_volumes_with_a_source() -> None:
    assert status_of(World().create(Volumes={"/etc:/m": {}})) == 400


def test_case_99_ports_are_local() -> None:
    host = body_of(World().create({"PortBindings": {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}, {"HostPort": ""}]}}))[
        "HostConfig"
    ]
    assert host["PortBindings"] == {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}, {"HostIp": "127.0.0.1", "HostPort": ""}]}


@pytest.mark.parametrize("key", ["Privileged", "privileged", "PRIVILEGED"])
def test_case_101_privileged_exec(key: str) -> None:
    assert status_of(World().ask("POST", "/containers/mine/exec", {"Cmd": ["id"], key: True})) == 403


def test_case_102_update() -> None:
    world = World()
    body = body_of(
        world.ask(
            "POST", "/containers/mine/update", {"PidsLimit": -1, "NanoCpus": 10**12, "memory": 10**15, "RestartPolicy": {"Name": "always"}}
        )
    )
    assert body == {
        "Memory": 32 * GIB,
        "MemorySwap": 32 * GIB,
        "NanoCpus": 8 * 10**9,
        "PidsLimit": 2048,
        "RestartPolicy": {"Name": "always", "MaximumRetryCount": 0},
    }
    assert body_of(world.ask("POST", "/containers/mine/update", {"CpuShares": 0, "Memory": 0, "PidsLimit": None})) == {}
    assert status_of(world.ask("POST", "/containers/mine/update", {"Devices": [{"PathOnHost": "/dev/sda"}]})) == 403


def test_case_103_start_takes_nothing() -> None:
    assert status_of(World().ask("POST", "/containers/mine/start", {"Privileged": True})) == 400
    assert status_of(World().ask("POST", "/containers/mine/start?checkpoint-dir=/etc")) == 400
    assert status_of(World().ask("POST", "/containers/mine/start?checkpoint=x")) == 400
    assert status_of(World().ask("POST", "/containers/mine/start", raw=b"{}")) == 200


def test_case_104_labels_of_the_image_are_emptied() -> None:
    assert body_of(World().create(Image="labelled"))["Labels"] == {
        "ds01.user": "alice",
        "ds01.protected": "",
        "ds01.uid": "5001",
        "ds01.group": "student",
        "ds01.kind": "docker",
        "ds01.created_at": "2026-01-02T03:04:05Z",
    }


def test_case_105_labels_of_the_client() -> None:
    assert body_of(World().create(Labels={"ds01.user": "bob", "ds01.claim": "c000000000000", "mine": "1"}))["Labels"] == {
        "mine": "1",
        "ds01.user": "alice",
        "ds01.uid": "5001",
        "ds01.group": "student",
        "ds01.kind": "docker",
        "ds01.created_at": "2026-01-02T03:04:05Z",
    }
    assert status_of(World().create(Labels={"DS01.user": "bob"})) == 400
    assert status_of(World().create(Labels={"ds01.protected": "true"})) == 400


@pytest.mark.parametrize(
    ("number", "change", "status"),
    [
        (106, "LABEL ds01.user=bob", 403),
        (106, "label DS01.user=bob", 403),
        (106, 'LABEL "ds01.user"=bob', 403),
        (106, "LABEL a=b ds01.user=bob", 403),
        (106, "LABEL d\\s01.user=bob", 403),
        (106, "LABEL $X.user=bob", 403),
        (106, "CMD x%0aLABEL ds01.user=bob", 400),
        (106, "ENV NVIDIA_VISIBLE_DEVICES=all", 403),
        (106, "ENV NVIDIA_VISIBLE_DEVICES all", 403),
        (106, "ONBUILD RUN id", 403),
        (106, "LABEL a=b", 200),
        (106, 'CMD ["sh"]', 200),
    ],
)
def test_commit_changes(number: int, change: str, status: int) -> None:
    encoded = change if "%0a" in change else _quoted(change)
    assert status_of(World().ask("POST", f"/commit?container=mine&repo=alice/y&changes={encoded.replace(' ', '+')}")) == status


@pytest.mark.parametrize(
    "extra",
    [
        {"Driver": "macvlan"},
        {"Driver": "ipvlan"},
        {"Driver": "overlay"},
        {"Driver": "host"},
        {"Options": {"com.docker.network.bridge.name": "docker0"}},
        {"IPAM": {"Driver": "default", "Config": [{"Subnet": "10.0.0.0/8"}]}},
        {"ConfigFrom": {"Network": "x"}},
        {"ConfigOnly": True},
        {"Ingress": True},
        {"Scope": "swarm"},
    ],
)
def test_case_107_networks(extra: dict[str, Any]) -> None:
    assert status_of(World().ask("POST", "/networks/create", {"Name": "net1", **extra})) == 403


@pytest.mark.parametrize(
    "target",
    [
        "/swarm/init",
        "/plugins/pull?remote=x",
        "/services/create",
        "/secrets/create",
        "/configs/create",
        "/nodes/x/update",
        "/plugins/a/b/enable",
        "/checkpoints",
    ],
)
def test_case_108_swarm_and_plugins(target: str) -> None:
    assert status_of(World().ask("POST", target)) == 403
    assert status_of(World().as_(ADMIN).ask("POST", target)) == 403


@pytest.mark.parametrize(
    ("number", "target", "status"),
    [
        (109, "/images/create?fromSrc=http://169.254.169.254/&repo=alice/x", 403),
        (109, "/build?remote=http://169.254.169.254/", 403),
        (109, "/build?remote=https://example.org/x.git", 403),
        (110, "/build?networkmode=host", 403),
        (110, f"/build?networkmode=container:{B}", 404),
        (110, "/build?networkmode=container:mine", 200),
        (110, "/build?securityopt=seccomp=unconfined", 403),
    ],
)
def test_build_and_import(number: int, target: str, status: int) -> None:
    assert status_of(World().ask("POST", target)) == status


def test_case_110_the_slice_of_a_build_is_the_gates() -> None:
    verdict = World().ask("POST", "/build?cgroupparent=/x&t=alice/x")
    assert isinstance(verdict, Forward)
    assert "cgroupparent=ds01-u5001-nogpu.slice" in verdict.query.split("&")
    assert f"memory={32 * GIB}" in verdict.query.split("&")
    assert verdict.stream


def test_a_build_is_cancelled_by_the_one_who_runs_it() -> None:
    """The client chooses the id: the same id of two people means two builds, and none of dockerd's special forms gets through."""
    for identity, own in ((ALICE, "u5001"), (BOB, "u5002"), (ADMIN, "u5000")):
        for asked in ("abc", "u5002.abc", "upload-request:abc"):
            started, ended = (World().as_(identity).ask("POST", f"/v1.45/{what}={asked}") for what in ("build?buildid", "build/cancel?id"))
            assert isinstance(started, Forward)
            assert isinstance(ended, Forward)
            assert parse_qs(started.query)["buildid"] == parse_qs(ended.query)["id"] == [f"{own}.{asked}"]
    plain = World().ask("POST", "/v1.45/build")
    assert isinstance(plain, Forward)
    assert "buildid" not in plain.query


def test_case_111_buildkit_needs_the_guard() -> None:
    headers = {"Connection": "Upgrade", "Upgrade": "h2c", "X-Docker-Expose-Session-Uuid": "u1"}
    refused = World().ask("POST", "/session", headers=headers)
    assert isinstance(refused, Answer)
    assert "DOCKER_BUILDKIT=0" in refused.body["message"]
    guarded = World(context=type(CONTEXT)(**{**vars(CONTEXT), "buildkit_allowed": True}))
    verdict = guarded.ask("POST", "/session", headers=headers)
    assert isinstance(verdict, Forward)
    assert (verdict.upgrade, verdict.target) == ("h2c", "/session")
    assert ("x-docker-expose-session-uuid", "u1") in verdict.headers


GPU_WAYS: list[tuple[dict[str, Any], list[str], str]] = [
    ({"DeviceRequests": [{"Driver": "", "Count": -1, "DeviceIDs": None, "Capabilities": [["gpu"]], "Options": {}}]}, [], "all"),
    ({"DeviceRequests": [{"Driver": "", "Count": 2, "Capabilities": [["gpu"]]}]}, [], "count=2"),
    ({"DeviceRequests": [{"Driver": "", "DeviceIDs": ["0"], "Capabilities": [["gpu"]]}]}, [], "count=1"),
    ({"DeviceRequests": [{"Driver": "nvidia", "Count": 1, "Capabilities": [["gpu", "utility"]]}]}, [], "count=1"),
    ({"DeviceRequests": [{"Driver": "cdi", "DeviceIDs": ["nvidia.com/gpu=all"]}]}, [], "all"),
    ({"DeviceRequests": [{"Driver": "cdi", "DeviceIDs": ["nvidia.com/gpu=0", "nvidia.com/gpu=1"]}]}, [], "count=2"),
    ({}, ["NVIDIA_VISIBLE_DEVICES=all"], "all"),
    ({}, ["NVIDIA_VISIBLE_DEVICES=0"], "count=1"),
    ({}, ["NVIDIA_VISIBLE_DEVICES=runtime.nvidia.com/gpu=all"], "all"),
]


@pytest.mark.parametrize(("host", "env", "request_text"), GPU_WAYS)
def test_case_112_every_way_leads_to_one_claim(host: dict[str, Any], env: list[str], request_text: str) -> None:
    body = body_of(World().create(host, Env=[*env, "A=b"]))
    assert body["HostConfig"]["DeviceRequests"] == [{"Driver": "cdi", "DeviceIDs": [f"ds01.infra/gpu={NEW_CLAIM}"]}]
    assert body["HostConfig"]["CgroupParent"] == f"ds01-u5001-{NEW_CLAIM}.slice"
    assert body["Labels"]["ds01.claim"] == NEW_CLAIM
    assert body["Labels"]["ds01.gpu.request"] == request_text
    assert body["Env"] == ["A=b", "NVIDIA_VISIBLE_DEVICES=void"]


def test_case_112_by_uuid_is_for_those_who_may() -> None:
    host = {"DeviceRequests": [{"Driver": "", "DeviceIDs": [UUID], "Capabilities": [["gpu"]]}]}
    assert status_of(World().create(host)) == 403


def test_case_113_an_image_that_wants_all_gpus_gets_none() -> None:
    body = body_of(World().create(Image="pytorch"))
    assert "DeviceRequests" not in body["HostConfig"]
    assert body["Env"] == ["NVIDIA_VISIBLE_DEVICES=void"]
    for entry in ("NVIDIA_MIG_CONFIG_DEVICES=all", "nvidia_visible_devices=all", "NVIDIA_VISIBLE_DEVICES", "NVIDIA_IMEX_CHANNELS=0"):
        assert body_of(World().create(Env=[entry]))["Env"] == ["NVIDIA_VISIBLE_DEVICES=void"]


@pytest.mark.parametrize("verb", ["start", "restart"])
def test_case_115_a_start_grants_the_claim(verb: str) -> None:
    verdict = World().ask("POST", f"/containers/gpu/{verb}")
    assert isinstance(verdict, Forward)
    (grant,) = verdict.before
    assert grant.claim_id == "c0123456789ab"  # type: ignore[union-attr]
    assert (grant.uid, grant.user, grant.container_id, grant.request) == (5001, "alice", GPU_ID, "count=1")  # type: ignore[union-attr]


def test_case_116_removal_ends_the_claim() -> None:
    verdict = World().ask("DELETE", "/containers/gpu?force=1")
    assert isinstance(verdict, Forward)
    assert [effect.claim_id for effect in verdict.after] == ["c0123456789ab"]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("number", "changes"),
    [
        (117, {"uid": 0, "user": "root", "from_host_pidns": False}),
        (117, {"uid": 0, "user": "root"}),
        (117, {"from_host_pidns": False}),
        (119, {"user": ""}),
    ],
)
def test_identity(number: int, changes: dict[str, Any]) -> None:
    identity = type(ALICE)(**{**vars(ALICE), **changes})
    assert status_of(World().as_(identity).ask("GET", "/_ping")) == 403
