# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Who last wrote an image reference, and who made an image: all people share one daemon's images, and neither says whose it is.

The one thing that the gate remembers across reboots; a reference that is not listed was pulled, or written by root. Written by rename.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

_DEFAULT_DOMAIN = "docker.io"


class TagsUnwritable(Exception):
    """The table could not be written and is as it was; the message is for the person who asked."""


@dataclass(frozen=True)
class Writer:
    """Who wrote a reference, and whether they were an admin then."""

    user: str
    admin: bool


def canonical(ref: str) -> str:
    """The reference as dockerd compares it: with domain, ``library/`` and tag. A digest or an id stays as it is.

    The rule of github.com/distribution/reference: the first component is a domain if it has a dot or a colon or is ``localhost``.
    """
    name, at, digest = ref.partition("@")
    head, slash, rest = name.partition("/")
    if not slash or not ("." in head or ":" in head or head == "localhost"):
        head, rest = _DEFAULT_DOMAIN, name
    if head in (_DEFAULT_DOMAIN, "index.docker.io"):
        head = _DEFAULT_DOMAIN
        if "/" not in rest:
            rest = f"library/{rest}"
    if not at and ":" not in rest.rsplit("/", 1)[-1]:
        rest += ":latest"
    return f"{head}/{rest}{at}{digest}"


class ImageTags:
    """The table, in memory and at ``path``. Safe for several threads; one process writes it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._writers: dict[str, Writer] = {}
        self._makers: dict[str, str] = {}
        self._load()

    def _load(self) -> None:
        """Raises ValueError for a file that is not the table: who wrote what must not be forgotten silently."""
        try:
            document = json.loads(self._path.read_text(encoding="utf-8"))
            self._writers = {ref: Writer(str(entry["user"]), bool(entry["admin"])) for ref, entry in document["writers"].items()}
            self._makers = {str(image): str(user) for image, user in document.get("makers", {}).items()}
        except FileNotFoundError:
            return
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{self._path}: not a table of image writers ({error}); restore it or remove it") from error

    def writer(self, ref: str) -> Writer | None:
        """Who wrote ``ref`` last through the gate, None for a pulled or unknown one."""
        with self._lock:
            return self._writers.get(canonical(ref))

    def record(self, ref: str, writer: Writer | None) -> None:
        """``ref`` was written by ``writer``; None: it came from a registry."""
        key = canonical(ref)
        with self._lock:
            if self._writers.get(key) == writer:
                return
            changed = {name: known for name, known in self._writers.items() if name != key}
            if writer is not None:
                changed[key] = writer
            self._save(changed, self._makers)
            self._writers = changed

    def written_by(self, user: str) -> list[str]:
        """The references that ``user`` wrote last, sorted."""
        with self._lock:
            return sorted(ref for ref, writer in self._writers.items() if writer.user == user)

    def maker(self, image_id: str) -> str | None:
        """Who made the image of that id through the gate; the first who did, None for any other."""
        with self._lock:
            return self._makers.get(image_id)

    @property
    def made(self) -> int:
        """How many images have a maker here."""
        with self._lock:
            return len(self._makers)

    def record_made(self, image_id: str, user: str) -> None:
        """``user`` made that image. An image that somebody made before (the same content) stays theirs."""
        with self._lock:
            if image_id not in self._makers:
                changed = {**self._makers, image_id: user}
                self._save(self._writers, changed)
                self._makers = changed

    def keep_made(self, there: Collection[str]) -> None:
        """Forget the makers of images that are not ``there`` any more."""
        with self._lock:
            changed = {image: user for image, user in self._makers.items() if image in there}
            if changed != self._makers:
                self._save(self._writers, changed)
                self._makers = changed

    def _save(self, writers: dict[str, Writer], makers: dict[str, str]) -> None:
        self._path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        temporary = self._path.with_name(f".{self._path.name}.tmp")
        document = {"writers": {ref: {"user": one.user, "admin": one.admin} for ref, one in sorted(writers.items())}, "makers": makers}
        try:
            with temporary.open("w", encoding="utf-8") as stream:
                json.dump(document, stream)
                stream.flush()
                os.fsync(stream.fileno())
            os.rename(temporary, self._path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            why = f"who writes which image can't be noted ({error}); tell the administrator, the disk may be full"
            raise TagsUnwritable(why) from error
