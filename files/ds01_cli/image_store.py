# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Definitions of a person's images on disk: a JSON file each in their home, written by rename, read with care: they may be edited."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import tempfile
from pathlib import Path

from ds01.core.image_definition import MOST_REQUIREMENTS_BYTES, BadDefinition, ImageDefinition, from_document

from .failure import Failure

_MOST_BYTES = 2 * MOST_REQUIREMENTS_BYTES
_ENDING = ".json"


def directory() -> Path:
    """Where definitions are: ``~/.config/ds01/images``, or below XDG_CONFIG_HOME."""
    config = os.environ.get("XDG_CONFIG_HOME") or os.path.join(os.path.expanduser("~"), ".config")
    return Path(config) / "ds01" / "images"


def path_of(slug: str) -> Path:
    """The file of one definition."""
    return directory() / f"{slug}{_ENDING}"


def read_text(path: Path, most: int) -> str:
    """The text of an ordinary file of at most so many bytes; raises Failure for anything else."""
    try:
        # Without blocking: a FIFO would wait for a writer that never comes.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as stream:
            if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                raise Failure(f"{path} is no ordinary file", "name a text file")
            data = stream.read(most + 1)
        if len(data) > most:
            raise Failure(f"{path} is larger than {most // 1024} KiB", "is this the file that you mean?")
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise Failure(f"{path} is no text in UTF-8", "is this the file that you mean?") from None
    except OSError as error:
        raise Failure(f"{path}: {error.strerror}", "see whether the path is right: ls -l") from None


def parse(text: str, where: str) -> ImageDefinition:
    """The definition in a text; raises Failure naming ``where``."""
    try:
        return from_document(json.loads(text))
    except BadDefinition as error:
        raise Failure(f"{where}: {error.why}", error.instead) from None
    except (ValueError, RecursionError) as error:
        raise Failure(f"{where} is no JSON: {error}", "mend it, or build the image again under another name") from None


def read(slug: str) -> ImageDefinition | None:
    """The definition of that name, None where there is none; raises Failure for one that can't be used."""
    path = path_of(slug)
    if not path.exists():
        return None
    found = parse(read_text(path, _MOST_BYTES), str(path))
    if found.slug != slug:
        raise Failure(f"{path} defines the image {found.slug}", f"rename it to {found.slug}{_ENDING}")
    return found


def slugs() -> list[str]:
    """Names of all definitions."""
    with contextlib.suppress(OSError):
        return sorted(path.name.removesuffix(_ENDING) for path in directory().iterdir() if path.name.endswith(_ENDING))
    return []


def write(definition: ImageDefinition) -> Path:
    """Keep it: whole or not at all. Raises Failure."""
    path = path_of(definition.slug)
    text = json.dumps(definition.document(), indent=2, ensure_ascii=False) + "\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with open(handle, "w", encoding="utf-8") as stream:
                stream.write(text)
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
    except OSError as error:
        raise Failure(f"{path} can't be written: {error.strerror}", "is your home full? ds01 usage, du -sh ~") from None
    return path


def remove(slug: str) -> bool:
    """Forget a definition; whether there was one."""
    try:
        path_of(slug).unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise Failure(f"{path_of(slug)} can't be removed: {error.strerror}", "") from None
    return True
