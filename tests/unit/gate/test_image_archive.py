# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""``docker load``: what passes is an archive of ``docker save`` made anew, whose names are the caller's to write."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from ds01_gate.archive_upload import checked, plain
from hypothesis import given
from hypothesis import strategies as st

from ds01.core.gate.facts import Facts, Image
from ds01.core.gate.image_archive import ImageArchive, Named
from ds01.core.gate.judge import admit, judge_archive
from ds01.core.gate.request_head import parse_head
from ds01.core.gate.tar_header import ArchiveRefused
from ds01.core.gate.verdict import Answer, Forward, Need, Stop
from tests.search_effort import tries
from tests.unit.gate.gate_world import ADMIN, ALICE, CONTEXT, LIMITS, World

CONFIG = b'{"architecture":"amd64","config":{}}'
DIGEST = hashlib.sha256(CONFIG).hexdigest()
LAYER = "1" * 64
_NAME = "org.opencontainers.image.ref.name"
Files = list[tuple[str, bytes]]


def manifest(*tags: str, config: str = f"blobs/sha256/{DIGEST}") -> bytes:
    return json.dumps([{"Config": config, "RepoTags": list(tags), "Layers": [f"blobs/sha256/{LAYER}"]}]).encode()


def index(*names: dict[str, str]) -> bytes:
    manifests = [{"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": "sha256:x", "annotations": one} for one in names]
    return json.dumps({"schemaVersion": 2, "manifests": manifests}).encode()


def files(*tags: str) -> Files:
    return [
        (f"blobs/sha256/{DIGEST}", CONFIG),
        (f"blobs/sha256/{LAYER}", b"layer" * 300),
        (
            "index.json",
            index(*({"io.containerd.image.name": f"docker.io/{tag}", "org.opencontainers.image.ref.name": "1"} for tag in tags)),
        ),
        ("manifest.json", manifest(*tags)),
        ("oci-layout", b'{"imageLayoutVersion":"1.0.0"}'),
        ("repositories", b'{"python":{"latest":"x"}}'),
    ]


def entry(name: str, size: int = 0, **changes: Any) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.size = size
    for key, value in changes.items():
        setattr(made, key, value)
    return made


def tar(content: Iterable[tuple[str, bytes] | tarfile.TarInfo], form: int = tarfile.USTAR_FORMAT, **options: Any) -> bytes:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=form, **options) as archive:
        for one in content:
            if isinstance(one, tarfile.TarInfo):
                archive.addfile(one)
            else:
                archive.addfile(entry(one[0], len(one[1]), mtime=1700000000), io.BytesIO(one[1]))
    return raw.getvalue()


def through(raw: bytes, pieces: Sequence[int] = ()) -> tuple[bytes, tuple[Named, ...], tuple[str, ...]]:
    archive, out, at = ImageArchive(), b"", 0
    for size in pieces:
        out += b"".join(archive.feed(raw[at : at + size]))
        at += size
    out += b"".join(archive.feed(raw[at:]))
    end, names = archive.finish()
    return out + end, names, archive.images()


def members(raw: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(raw)) as archive:
        return {one.name: (archive.extractfile(one) or io.BytesIO()).read() for one in archive.getmembers() if one.isfile()}


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_an_archive_of_docker_save_comes_out_the_same_but_for_what_nobody_reads(form: int) -> None:
    content = [entry("blobs", type=tarfile.DIRTYPE), entry("blobs/sha256/", type=tarfile.DIRTYPE), *files("alice/x:1")]
    out, names, images = through(tar(content, form))
    assert members(out) == {name: data for name, data in files("alice/x:1") if name != "repositories"}
    assert names == (Named("alice/x:1", f"sha256:{DIGEST}"),)
    assert images == (f"sha256:{DIGEST}",)


@given(st.lists(st.integers(1, 1500), max_size=12))
@tries(60)
def test_it_does_not_matter_in_which_pieces_it_comes(pieces: list[int]) -> None:
    raw = tar(files("alice/x:1"))
    assert through(raw, pieces) == through(raw)


@given(st.integers(0, 8000), st.binary(min_size=1, max_size=4))
@tries(300)
def test_a_damaged_archive_is_refused_or_says_what_another_reader_sees(at: int, damage: bytes) -> None:
    raw = bytearray(tar(files("alice/x:1")))
    at %= len(raw)
    raw[at : at + len(damage)] = damage
    try:
        out, names, _ = through(bytes(raw))
    except ArchiveRefused:
        return
    seen = json.loads(members(out)["manifest.json"])
    assert {tag for one in seen for tag in one["RepoTags"]} <= {one.ref for one in names}


OTHERS = "python:3"


def _entries(value: Any) -> str:
    """A case by the names of its entries: the same in every worker, whatever is in them."""
    return value if isinstance(value, str) else "+".join(one.name if isinstance(one, tarfile.TarInfo) else one[0] for one in value)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ([("../etc/passwd", b"x")], "does not belong"),
        ([("/etc/passwd", b"x")], "does not belong"),
        ([("blobs/sha256/../../x", b"x")], "does not belong"),
        ([("etc/passwd", b"x")], "does not belong"),
        ([("Manifest.json", manifest(OTHERS))], "does not belong"),
        ([entry(f"{LAYER}/layer.tar", type=tarfile.SYMTYPE, linkname="/etc/shadow")], "is a link"),
        ([entry(f"{LAYER}/layer.tar", type=tarfile.SYMTYPE, linkname="../../../etc/shadow")], "is a link"),
        ([entry("manifest.json", type=tarfile.SYMTYPE, linkname="../x")], "does not belong"),
        ([entry("manifest.json", type=tarfile.LNKTYPE, linkname=f"{LAYER}.json")], "does not belong"),
        ([entry("x", type=tarfile.CHRTYPE)], "does not belong"),
        ([entry(f"{LAYER}.json", type=tarfile.FIFOTYPE)], "does not belong"),
        ([("manifest.json", manifest("alice/x:1")), ("manifest.json", manifest(OTHERS))], "twice"),
        ([("manifest.json", manifest("alice/x:1")), ("./manifest.json", manifest(OTHERS))], "twice"),
        ([("manifest.json", b"{}")], "no list"),
        ([("manifest.json", b"[{}]")], "does not say"),
        ([("manifest.json", b'[{"Config":"c","repotags":["python:3"]}]')], "does not say"),
        ([("manifest.json", b'[{"Config":"c","RepoTags":["alice/x:1"],"repotags":["python:3"]}]')], "manifest.json"),
        ([("manifest.json", b'[{"Config":"c","RepoTags":["alice/x:1"],"RepoTags":["python:3"]}]')], "manifest.json"),
        ([("manifest.json", b'[{"Config":"c","RepoTags":["a b"]}]')], "not the name"),
        ([("manifest.json", manifest("alice/x:1", "alice/x:1"))], "twice"),
        ([("manifest.json", manifest(*(f"alice/x:{n}" for n in range(101))))], "at most 100"),
        ([("manifest.json", manifest("alice/x:1")), ("index.json", b'{"Manifests":[]}')], "index.json"),
        ([("manifest.json", manifest()), ("index.json", b'{"manifests":[{"Annotations":{}}]}')], "index.json"),
        ([("manifest.json", manifest()), ("index.json", index({"org.opencontainers.image.ref.name": "no name!"}))], "not the name"),
        ([("index.json", index())], "missing"),
        ([("manifest.json", b" " * (4 * 1024 * 1024 + 1))], "at most"),
    ],
    ids=_entries,
)
def test_what_is_no_archive_of_docker_save_is_refused(content: Any, why: str) -> None:
    with pytest.raises(ArchiveRefused, match=why):
        through(tar(content))


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "breaks off"),
        (bytes(512), "missing"),
        (tar(files("alice/x:1"))[:700], "breaks off"),
        (tar(files("alice/x:1")).rstrip(b"\0"), "breaks off"),
        (tar(files("alice/x:1")) + tar([("manifest.json", manifest(OTHERS))]), "follows the end"),
        (b"\xfd7zXZ\0" + bytes(600), "ustar"),
        (tar([("manifest.json", manifest(OTHERS))], tarfile.PAX_FORMAT, pax_headers={"path": "x"}), "pax header"),
        (tar([("x" * 150, b"")], tarfile.GNU_FORMAT), "does not belong"),
        (tar([("x" * 150, b"")], tarfile.PAX_FORMAT), "gives a name"),
        (tar([(f"{LAYER}/" + "x" * 60, b"")], tarfile.USTAR_FORMAT), "longer name|does not belong"),
        (tar([("manifest.json", manifest("alice/x:1"))]).replace(b"manifest.json", b"manifest.jsom", 1), "checksum"),
    ],
    ids=range(11),
)
def test_what_two_readers_could_read_differently_is_refused(raw: bytes, why: str) -> None:
    with pytest.raises(ArchiveRefused, match=why):
        through(raw)


def sized(name: str, data: bytes, pax: bytes) -> bytes:
    """An entry whose size stands in a pax record, too."""
    record = tar([("PaxHeaders/x", pax)])[: 512 + 512]
    header = tar([(name, data)])[:512]
    fixed = bytearray(record)
    fixed[156:157] = b"x"
    fixed[148:156] = b" " * 8
    fixed[148:156] = f"{sum(fixed[:512]):06o}\0 ".encode()
    return bytes(fixed) + header + data + bytes(-len(data) % 512) + bytes(1024)


def test_a_size_in_a_pax_record_counts_for_both_readers() -> None:
    """The record says 10 bytes, the header says more: dockerd goes by the record, and so does this; what goes on says 10 in the header."""
    with pytest.raises(ArchiveRefused):
        through(sized("manifest.json", manifest("alice/x:1") + bytes(512), b"11 size=10\n"))
    for bad in (b"13 path=abcd\n", b"11 size=1x\n", b"11 size=10\n11 size=20\n", b"99 size=10\n", b"x"):
        with pytest.raises(ArchiveRefused):
            through(sized("manifest.json", manifest("alice/x:1"), bad))


# --- whose names -----------------------------------------------------------------------------------------------------------------------


def approved(world: World, *names: Named) -> tuple[str, ...] | Answer:
    admitted = admit(world.identity, parse_head(b"POST /v1.45/images/load HTTP/1.1\r\nHost: d\r\nContent-Length: 9\r\n\r\n"), world.context)
    assert not isinstance(admitted, Answer)
    assert isinstance(world.judged(admitted, b""), Forward)
    facts = Facts()
    while isinstance(found := judge_archive(world.identity, admitted, names, facts, LIMITS, CONTEXT), Need):
        facts = facts.told({question: world.answer(question) for question in found.questions})
    return found


@pytest.mark.parametrize("ref", ["python:3", "bobmade:latest", "bob/x:latest", "pytorch:latest", "bbx:latest"])
def test_a_name_that_is_not_ones_own_refuses_the_whole_archive(ref: str) -> None:
    found = approved(World(), Named("alice/y:1", "sha256:" + "9" * 64), Named(ref, "sha256:" + "9" * 64))
    assert isinstance(found, Answer)
    assert (found.status, found.rule) == (403, "image-name")
    assert ref in found.body["message"]
    assert approved(World().as_(ADMIN), Named(ref, "sha256:" + "9" * 64)) == (ref,)


def test_own_names_pass_and_a_name_that_means_the_same_image_already_changes_nothing() -> None:
    bbx = World().images["bbx"]
    assert isinstance(bbx, Image)
    assert approved(World(), Named("bbx:latest", bbx.id), Named("alice/y:1", None)) == ("alice/y:1",)
    assert isinstance(approved(World(), Named("bbx:latest", None)), Answer)
    assert approved(World()) == ()


def test_the_id_of_an_image_is_of_its_content_and_not_of_its_name() -> None:
    """A configuration under another's digest is found out: the name would go to an image of the attacker's."""
    victim = "7" * 64
    content = [(f"blobs/sha256/{victim}", CONFIG), ("manifest.json", manifest("bbx:latest", config=f"blobs/sha256/{victim}"))]
    _, names, _ = through(tar(content))
    assert names == (Named("bbx:latest", f"sha256:{DIGEST}"),)
    assert isinstance(approved(World(), *names), Answer)


# --- the upload ------------------------------------------------------------------------------------------------------------------------


def sent(raw: bytes, refuse: Exception | None = None) -> tuple[bytes, list[Any], Exception | None]:
    out, asked = b"", []

    def approve(names: Sequence[Named], images: Sequence[str]) -> None:
        asked.append((names, images))
        if refuse is not None:
            raise refuse

    try:
        for piece in checked((raw[at : at + 700] for at in range(0, len(raw), 700)), approve):
            out += b"".join(piece)
    except Stop as error:
        return out, asked, error
    return out, asked, None


def test_the_archive_ends_only_when_its_names_are_approved() -> None:
    out, asked, error = sent(tar(files("alice/x:1")))
    assert error is None
    assert len(asked) == 1
    assert members(out)["manifest.json"] == manifest("alice/x:1")
    refusal = Stop(403, "no", "image-name")
    cut, _, error = sent(tar(files(OTHERS)), refusal)
    assert error is refusal
    assert cut == sent(tar(files(OTHERS)))[0][:-1024]


def test_gzip_is_unpacked_and_bounded() -> None:
    raw = tar(files("alice/x:1"))
    assert members(sent(gzip.compress(raw))[0]) == members(sent(raw)[0])
    bomb = gzip.compress(bytes(64 * 1024 * 1024))
    assert max(len(piece) for piece in plain([bomb])) <= 1024 * 1024
    for bad in (gzip.compress(raw)[:-9], gzip.compress(raw) + b"x", b"\x1f\x8bnothing", gzip.compress(raw) * 2):
        assert isinstance(sent(bad)[2], Stop)


def test_who_sends_nothing_is_told() -> None:
    error = sent(b"")[2]
    assert isinstance(error, Stop)
    assert error.status == 400
    assert ALICE.user == "alice"
