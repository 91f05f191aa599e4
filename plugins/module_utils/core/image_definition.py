# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""An image of a person's own: what it is called, begins with and holds. Everything in it is checked here, once, before it is used anywhere.

A name is what the person calls it, in their own words; Docker's name for it (``slug``) is made from it. A description is any one line of
text. Packages are checked against the grammar of their package manager, so that none is an option, a path, an address or a second command.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from .gate.image_names import reference
from .gate.path import is_image_name
from .gate.verdict import Stop
from .image_catalogue import FRAMEWORKS, PRESETS

VERSION = 1
LONGEST_NAME, LONGEST_DESCRIPTION, LONGEST_SLUG = 128, 500, 60
MOST_PACKAGES, MOST_REQUIREMENTS_BYTES = 500, 256 * 1024

# PEP 508 (name, extras) and PEP 440 (version specifiers), without addresses and markers: those belong into a requirements file.
_PIP = re.compile(
    r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,98}[A-Za-z0-9])?"
    r"(?:\[[A-Za-z0-9._-]{1,60}(?:,[A-Za-z0-9._-]{1,60})*\])?"
    r"(?:(?:===|==|~=|!=|<=|>=|<|>)[A-Za-z0-9.*+!_-]{1,60}(?:,(?:===|==|~=|!=|<=|>=|<|>)[A-Za-z0-9.*+!_-]{1,60})*)?"
)
_BLANKS = re.compile(r" *([=!~<>]=+|[<>,]) *")
# Debian policy 5.6.1 (names) and 5.6.12 (versions).
_APT = re.compile(r"[a-z0-9][a-z0-9+.-]{1,99}(?:=[A-Za-z0-9][A-Za-z0-9.+:~-]{0,99})?")
# Lines of a requirements file that point at files which the build does not have.
_LOCAL_REQUIREMENT = re.compile(
    r"\s*(?:-r|-c|-e|--requirement|--constraint|--editable|-f\s*[./]|--find-links[=\s]\s*[./]|[./]|file:|\S+\s*@\s*file:)"
)


class BadDefinition(ValueError):
    """A part of a definition can't be used. ``why`` says which and why, ``instead`` what would be right."""

    def __init__(self, why: str, instead: str) -> None:
        super().__init__(f"{why}; {instead}")
        self.why = why
        self.instead = instead


@dataclass(frozen=True)
class ImageDefinition:
    """A checked definition; made by ``define`` or ``from_document`` only."""

    name: str
    base: str
    framework: str | None = None
    preset: str | None = None
    packages: tuple[str, ...] = ()
    system: tuple[str, ...] = ()
    requirements: tuple[str, ...] = ()
    description: str = ""

    @property
    def slug(self) -> str:
        """Docker's name for it, below the person's namespace."""
        return slug(self.name)

    def all_packages(self) -> tuple[str, ...]:
        """Python packages in the order they are installed: the framework's, the preset's, the person's own; each once."""
        framework = FRAMEWORKS[self.framework].packages if self.framework else ()
        preset = PRESETS[self.preset].packages if self.preset else ()
        own = {project_name(package) for package in self.packages}
        return (*(one for one in dict.fromkeys((*framework, *preset)) if project_name(one) not in own), *self.packages)

    def document(self) -> dict[str, Any]:
        """The form that is kept on disk."""
        return {"version": VERSION, **asdict(self)}

    def fingerprint(self) -> str:
        """Changes when what is built would; the image carries it, so that a changed definition can be told from a built one."""
        return hashlib.sha256(json.dumps(self.document(), sort_keys=True).encode()).hexdigest()[:16]


def project_name(package: str) -> str:
    """The normalised project name of a requirement (PEP 503)."""
    return re.sub(r"[-_.]+", "-", re.split(r"[\[=~!<>]", package, maxsplit=1)[0]).lower()


def slug(name: str) -> str:
    """``My Image (v2)`` → ``my-image-v2``: fit for a component of a repository name. Raises BadDefinition where nothing is left."""
    checked = one_line(name, "name", LONGEST_NAME)
    spelled = unicodedata.normalize("NFKD", checked.replace("ß", "ss")).encode("ascii", "ignore").decode().lower()
    plain = re.sub(r"[^a-z0-9]+", "-", spelled).strip("-")
    if not plain:
        raise BadDefinition(
            f"the name {checked!r} has no letter or digit that Docker's names can have",
            "name it in a-z and 0-9 and keep your words with --description",
        )
    if len(plain) <= LONGEST_SLUG:
        return plain
    return f"{plain[: LONGEST_SLUG - 7].rstrip('-')}-{hashlib.sha256(checked.encode()).hexdigest()[:6]}"


def one_line(text: str, what: str, longest: int) -> str:
    """``text`` without blanks around it; raises BadDefinition for control characters and what is no text."""
    if not isinstance(text, str) or any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in text):
        raise BadDefinition(f"the {what} {ascii(text)[:60]} holds a control character or is no text", "write it in one plain line")
    stripped = text.strip()
    if len(stripped) > longest:
        raise BadDefinition(f"the {what} is {len(stripped)} characters long", f"keep it to {longest}")
    return stripped


def base_of(framework: str) -> tuple[str, str]:
    """(framework, base image) of ``pytorch`` or ``pytorch:TAG``; raises BadDefinition."""
    name, _, tag = framework.partition(":")
    if name not in FRAMEWORKS:
        known = ", ".join(FRAMEWORKS)
        raise BadDefinition(f"{ascii(framework)[:60]} is no framework known here", f"known are {known}; --base takes any image")
    return name, checked_base(f"{FRAMEWORKS[name].repository}:{tag or FRAMEWORKS[name].tag}")


def checked_base(base: str) -> str:
    """A reference that FROM takes; raises BadDefinition."""
    try:
        if not isinstance(base, str) or not is_image_name(base) or base.endswith(":"):
            raise ValueError
        if "@" not in base:
            reference(base, "")
    except (ValueError, Stop):
        raise BadDefinition(f"{ascii(base)[:80]} is not the name of an image", "expected NAME:TAG, such as python:3.12-slim") from None
    return base


def _checked(texts: Iterable[Any], grammar: re.Pattern[str], what: str, example: str) -> tuple[str, ...]:
    found = []
    for one in texts:
        if not isinstance(one, str) or grammar.fullmatch(one) is None:
            raise BadDefinition(f"{ascii(one)[:80]} is not the name of a {what}", f"expected {example}")
        found.append(one)
    if len(found) > MOST_PACKAGES:
        raise BadDefinition(f"{len(found)} {what}s are asked for", f"at most {MOST_PACKAGES} are possible")
    return tuple(dict.fromkeys(found))


def python_packages(texts: Iterable[Any]) -> tuple[str, ...]:
    """Checked requirements for pip; blanks around a comparison or comma are left out (``numpy >= 1, < 2``)."""
    plain = (_BLANKS.sub(r"\1", one.strip(" ")) if isinstance(one, str) else one for one in texts)
    return _checked(plain, _PIP, "Python package", "numpy, 'numpy>=1.26,<2' or 'jax[cuda12]'; addresses go into a --requirements file")


def system_packages(texts: Iterable[Any]) -> tuple[str, ...]:
    """Checked names for apt."""
    return _checked(texts, _APT, "system package", "a name of Debian or Ubuntu, such as ffmpeg or libgl1")


def requirement_lines(text: str) -> tuple[str, ...]:
    """The lines of a requirements file; raises BadDefinition for what the build could not follow."""
    if len(text.encode()) > MOST_REQUIREMENTS_BYTES:
        raise BadDefinition("the requirements file is too long", f"keep it to {MOST_REQUIREMENTS_BYTES // 1024} KiB")
    return _requirements(text.removeprefix("\ufeff").splitlines())


def _requirements(lines: Iterable[Any]) -> tuple[str, ...]:
    kept = []
    for number, line in enumerate(lines, 1):
        if not isinstance(line, str) or any(unicodedata.category(one) in ("Cc", "Cs", "Zl", "Zp") and one != "\t" for one in line):
            raise BadDefinition(f"line {number} of the requirements holds a control character", "write it as plain text")
        if _LOCAL_REQUIREMENT.match(line):
            raise BadDefinition(
                f"line {number} of the requirements, {ascii(line.strip())[:60]}, names a file that the build does not have",
                "put packages and versions into it, and your own code into the directory that you mount",
            )
        kept.append(line.rstrip())
    while kept and not kept[-1]:
        kept.pop()
    return tuple(kept)


def define(
    name: str,
    *,
    base: str | None = None,
    framework: str | None = None,
    preset: str | None = None,
    packages: Iterable[Any] = (),
    system: Iterable[Any] = (),
    requirements: Iterable[Any] = (),
    description: str = "",
) -> ImageDefinition:
    """A checked definition; raises BadDefinition for the first part that can't be used. ``base`` goes before the framework's own."""
    wanted = one_line(name, "name", LONGEST_NAME)
    slug(wanted)
    if framework is not None:
        framework, of_framework = base_of(framework)
        base = of_framework if base is None else base
    if base is None:
        raise BadDefinition("the definition names neither a base nor a framework", "expected base, such as python:3.12-slim")
    if preset is not None and preset not in PRESETS:
        raise BadDefinition(f"{ascii(preset)[:40]} is no preset", f"known are {', '.join(PRESETS)}")
    return ImageDefinition(
        wanted,
        checked_base(base),
        framework,
        preset,
        python_packages(packages),
        system_packages(system),
        _requirements(requirements),
        one_line(description, "description", LONGEST_DESCRIPTION),
    )


_LISTS = ("packages", "system", "requirements")
_TEXTS = ("name", "base", "framework", "preset", "description")


def from_document(document: Any) -> ImageDefinition:
    """The definition that stands in a file, which people edit; raises BadDefinition."""
    if not isinstance(document, Mapping):
        raise BadDefinition("the definition is no JSON object", 'expected {"version": 1, "name": …, "base": …}')
    unknown = sorted(set(map(str, document)) - {*_LISTS, *_TEXTS, "version"})
    if unknown:
        raise BadDefinition(f"the definition has the unknown key {ascii(unknown[0])[:40]}", f"known are {', '.join((*_TEXTS, *_LISTS))}")
    if document.get("version") != VERSION:
        raise BadDefinition(f"the definition is of version {ascii(document.get('version'))[:20]}", f"this program writes version {VERSION}")
    for key in _LISTS:
        if not isinstance(document.get(key, []), (list, tuple)):
            raise BadDefinition(f"{key} is no list", f'expected "{key}": ["…", "…"]')
    for key in _TEXTS:
        if not isinstance(document.get(key), (str, type(None))):
            raise BadDefinition(f"{key} is no text", f'expected "{key}": "…"')
    values = {key: document[key] for key in (*_LISTS, *_TEXTS) if document.get(key) is not None}
    return define(values.pop("name", ""), **values)
