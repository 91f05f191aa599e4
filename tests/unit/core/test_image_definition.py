# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Image definitions and their Dockerfiles: anybody's own words for a name, and no field that becomes an instruction or option."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ds01.core.dockerfile import context_files, dockerfile, quoted
from ds01.core.gate.image_names import reference
from ds01.core.image_catalogue import FRAMEWORKS, PRESETS
from ds01.core.image_definition import BadDefinition, define, from_document, requirement_lines, slug

INSTRUCTIONS = {"FROM", "RUN", "ENV", "COPY", "LABEL", "#"}
BASE = "python:3.12-slim"


def read_label(word: str) -> str:
    """How the builder reads a word in double quotes: a backslash takes the meaning from ``"``, ``$`` and itself; no other is left."""
    assert re.fullmatch(r'"(?:\\["$\\]|[^"$\\])*"', word), word
    return re.sub(r"\\([\"$\\])", r"\1", word[1:-1])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("work", "work"),
        ("My Image (v2)", "my-image-v2"),
        ("  spaces  ", "spaces"),
        ("Größe & Maß", "grosse-mass"),
        ("a_b.c", "a-b-c"),
        ("$(touch x)", "touch-x"),
        ("`id`; rm -rf /", "id-rm-rf"),
        ('it\'s "mine"', "it-s-mine"),
        ("模型 v3", "v3"),
        ("-rf", "rf"),
        ("../../etc/passwd", "etc-passwd"),
    ],
)
def test_names_become_dockers(name: str, expected: str) -> None:
    assert slug(name) == expected


@pytest.mark.parametrize("name", ["", "   ", "模型", "!!!", "a\nb", "a\x1b[2Jb", "a\u2028b", "x" * 129])
def test_names_that_nothing_can_be_made_of_are_refused_with_advice(name: str) -> None:
    with pytest.raises(BadDefinition) as caught:
        slug(name)
    assert caught.value.instead


@given(st.text(max_size=200))
def test_a_name_is_a_reference_or_refused(name: str) -> None:
    try:
        made = slug(name)
    except BadDefinition:
        return
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", made)
    assert len(made) <= 60
    assert reference(f"alice/{made}", "") == f"alice/{made}:latest"
    assert slug(made) == made


@given(st.text(), st.text())
def test_every_dockerfile_has_only_the_instructions_it_should(name: str, description: str) -> None:
    try:
        definition = define(name, base=BASE, packages=["numpy"], system=["git"], description=description)
    except BadDefinition:
        return
    lines = dockerfile(definition).splitlines()
    words = [line.split(" ")[0] for line in lines]
    assert set(words) <= INSTRUCTIONS
    assert (words.count("FROM"), words.count("RUN")) == (1, 2)
    (label,) = (line.removeprefix("LABEL ") for line in lines if line.startswith("LABEL "))
    labels = dict(re.findall(r'([a-z.]+)=("(?:\\.|[^"\\])*")(?: |$)', label))
    assert " ".join(f"{key}={value}" for key, value in labels.items()) == label
    assert read_label(labels["org.opencontainers.image.title"]) == definition.name
    assert read_label(labels.get("org.opencontainers.image.description", '""')) == definition.description
    for line in lines:
        if line.startswith("RUN "):
            assert all(isinstance(word, str) for word in json.loads(line[4:]))


INJECTIONS = [
    "numpy; touch /x",
    "numpy && id",
    "$(id)",
    "`id`",
    "numpy\nRUN id",
    "numpy\\\nid",
    "--index-url=http://evil",
    "-e .",
    "git+https://x/y",
    "./local",
    "/etc/passwd",
    "numpy @ file:///etc",
    "a b; c",
    "numpy|id",
    "numpy>out>x y",
    '"], "x',
    "",
    "x" * 200,
    "numpy<<EOF\nx",
    "ONBUILD RUN id",
    "${HOME}",
]


@pytest.mark.parametrize("text", INJECTIONS)
def test_no_package_is_anything_else(text: str) -> None:
    for key in ("packages", "system"):
        with pytest.raises(BadDefinition):
            define("x", base=BASE, **{key: [text]})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text", ["numpy", "numpy>=1.26,<2", "jax[cuda12]", "jax[cuda12,k8s]==0.4.*", "Pillow!=9.0", "torch~=2.5", "a", "x==1!2.0+cu121"]
)
def test_ordinary_packages_pass_as_they_are(text: str) -> None:
    line = dockerfile(define("x", base=BASE, packages=[text])).splitlines()[3]
    assert json.loads(line.removeprefix("RUN ")) == ["python3", "-m", "pip", "install", text]


@pytest.mark.parametrize("text", ["libgl1", "g++", "ffmpeg=7:5.1.6-0+deb12u1", "python3.11-venv"])
def test_ordinary_system_packages_are_arguments_of_a_constant_script(text: str) -> None:
    words = json.loads(dockerfile(define("x", base=BASE, system=[text])).splitlines()[2].removeprefix("RUN "))
    assert words[:2] == ["/bin/sh", "-c"]
    assert words[3:] == ["apt", text]
    assert text not in words[2]


def test_blanks_around_a_comparison_are_no_part_of_a_requirement() -> None:
    assert define("x", base=BASE, packages=[" numpy >= 1.26 , < 2 "]).packages == ("numpy>=1.26,<2",)


@pytest.mark.parametrize(
    "base", ["a b", "x\nRUN id", "$BASE", "x AS y", "--platform=x y", "", "http://x/y", "../x", "X Y", "UPPER/case", "x:"]
)
def test_no_base_is_anything_but_a_reference(base: str) -> None:
    with pytest.raises(BadDefinition):
        define("x", base=base)


def test_a_base_may_have_a_registry_tag_or_digest() -> None:
    for base in ("python", "registry.example.org:5000/team/tool:1.0", f"python@sha256:{'a' * 64}"):
        assert dockerfile(define("x", base=base)).splitlines()[1] == f"FROM {base}"


@pytest.mark.parametrize("text", ['"', "\\", "$HOME", "${HOME}", "\\n", "a\\", '\\"', "$(id) `id` ' & | ; <<EOF #", "Größe 模型 🚀"])
def test_labels_keep_every_character(text: str) -> None:
    assert read_label(quoted(text)) == text


def test_a_line_break_is_no_word() -> None:
    for text in ("a\nRUN id", "a\rb"):
        with pytest.raises(ValueError, match="line break"):
            quoted(text)
    for text in ("a\nRUN id", "a\r\nb", "a\u2028b", "a\x85b", "\x00"):
        with pytest.raises(BadDefinition):
            define("x", base=BASE, description=text)


@pytest.mark.parametrize(
    "line",
    ["-r other.txt", "-e .", "./wheel.whl", "/etc/passwd", "--constraint c.txt", "x @ file:///y", "file:///y", "a\x00b", "-f ./wheels"],
)
def test_requirements_name_no_files_that_are_not_there(line: str) -> None:
    with pytest.raises(BadDefinition, match="line 2"):
        requirement_lines(f"numpy\n{line}\n")


def test_requirements_are_kept_as_they_are_and_only_as_a_file() -> None:
    text = "\ufeffnumpy==1.26  # why; $(id)\n\n--extra-index-url https://example.org/simple\nx ; python_version < '3.13'\n\n"
    definition = define("x", base=BASE, requirements=requirement_lines(text))
    files = context_files(definition)
    assert files["requirements.txt"].decode() == text.strip("\ufeff\n") + "\n"
    assert b"1.26" not in files["Dockerfile"]
    with pytest.raises(BadDefinition, match="too long"):
        requirement_lines("x" * 300_000)


def test_presets_and_frameworks_are_installable_words_and_ones_own_version_goes_first() -> None:
    for framework in FRAMEWORKS:
        for preset in PRESETS:
            definition = define("x", framework=framework, preset=preset, packages=["NumPy==1.26"])
            packages = definition.all_packages()
            assert define("y", base=BASE, packages=packages).packages == packages
            assert [one for one in packages if one.lower().startswith("numpy")] == ["NumPy==1.26"]
    assert define("x", framework="pytorch:2.6.0-cuda12.6-cudnn9-runtime").base == "pytorch/pytorch:2.6.0-cuda12.6-cudnn9-runtime"


def test_a_definition_comes_back_from_its_document() -> None:
    definition = define("Thesis (v2)", framework="jax", preset="nlp", packages=["a"], system=["git"], requirements=["b"], description='"x"')
    again = from_document(json.loads(json.dumps(definition.document())))
    assert again == definition
    assert again.fingerprint() == definition.fingerprint()
    assert define("Thesis (v2)", framework="jax").fingerprint() != definition.fingerprint()


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"name": None},
        {"name": 5},
        {"base": "a b"},
        {"packages": "numpy"},
        {"packages": [5]},
        {"packages": [["a"]]},
        {"system": [None]},
        {"requirements": ["-r x"]},
        {"requirements": [5]},
        {"preset": "games"},
        {"framework": "fortran"},
        {"run": "id"},
        {"description": "a\nb"},
    ],
)
def test_what_people_type_into_the_file_is_checked_all_the_same(change: dict[str, Any]) -> None:
    document = {**define("x", base=BASE).document(), **change}
    with pytest.raises(BadDefinition):
        from_document(document)


@pytest.mark.parametrize("document", [None, [], "x", 5, {}, {"version": 1}])
def test_a_document_that_is_none_is_refused(document: Any) -> None:
    with pytest.raises(BadDefinition):
        from_document(document)
