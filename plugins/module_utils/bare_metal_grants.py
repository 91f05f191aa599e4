# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Admins' grants of GPU access outside containers: one file a person in ``/etc/ds01/bare-metal.d``, which no converge undoes."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

from .core.bare_metal import Grant, grant_from_dict, grant_to_dict
from .file_set import write_atomically

GRANTS = Path("/etc/ds01/bare-metal.d")
_FILE = re.compile(r"(\d+)\.json")


@dataclass(frozen=True)
class GrantFiles:
    """All grants, also those that are over, by uid; and the files that are none, in words."""

    grants: tuple[Grant, ...]
    problems: tuple[str, ...]


def read(directory: Path = GRANTS) -> GrantFiles:
    """What stands in the directory. A file that can't be used grants nothing and is a problem."""
    grants: list[Grant] = []
    problems: list[str] = []
    for path in sorted(directory.glob("*.json")) if directory.is_dir() else []:
        match = _FILE.fullmatch(path.name)
        try:
            if match is None:
                raise ValueError("is not named <uid>.json")
            at = path.lstat()
            if at.st_uid != os.geteuid() or at.st_mode & 0o022:
                raise ValueError("could have been written by somebody else; expected owner root and mode 0644")
            grant = grant_from_dict(json.loads(path.read_text(encoding="utf-8")))
            if grant.uid != int(match.group(1)):
                raise ValueError(f"is of uid {grant.uid}")
        except (OSError, ValueError) as error:
            problems.append(f"{path}: {error}")
            continue
        grants.append(grant)
    return GrantFiles(tuple(sorted(grants, key=lambda g: g.uid)), tuple(problems))


def write(grant: Grant, directory: Path = GRANTS) -> None:
    """Give a grant; one that the person has is replaced."""
    directory.mkdir(mode=0o755, parents=True, exist_ok=True)
    content = (json.dumps(grant_to_dict(grant), indent=2) + "\n").encode()
    write_atomically(str(directory / f"{grant.uid}.json"), content, 0o644, os.geteuid(), os.getegid())


def remove(uid: int, directory: Path = GRANTS) -> bool:
    """Take a grant back; False when there was none."""
    try:
        (directory / f"{uid}.json").unlink()
    except FileNotFoundError:
        return False
    return True
