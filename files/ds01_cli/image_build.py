# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Builds an image from its definition: the builder gets the Dockerfile and nothing of the person's files."""

from __future__ import annotations

import io
import re
import sys
import tarfile
from typing import Any, TextIO

from ds01.core.dockerfile import TITLE_LABEL, context_files
from ds01.core.image_definition import ImageDefinition

from .docker_calls import Refused, build, call, query
from .failure import Failure
from .own_images import reference_of
from .screen import paint

_LAST_LINES = 12
_LONGEST_LINE = 2000
# What the builder says about its own layers, and the labels at the end, which the person did not write.
_NOISE = re.compile(r" ---> (?!Using cache)|Removed intermediate container|Successfully (built|tagged) |Step [0-9/]+ : LABEL ")


def context(definition: ImageDefinition) -> bytes:
    """The build context as a tar, the same bytes for the same definition, so that layers come from the cache."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in context_files(definition).items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), 0o644
            archive.addfile(entry, io.BytesIO(data))
        end = archive.offset
    # Two empty blocks end an archive. The padding to a whole record, which tarfile adds, the builder never reads; with unread bytes in
    # the way dockerd does not notice that the client has gone, and a build that was left by Ctrl-C would go on.
    return buffer.getvalue()[: end + 2 * tarfile.BLOCKSIZE]


def _shown(text: str) -> str:
    """What the build prints, without what would steer the terminal."""
    return "".join(character for character in text[:_LONGEST_LINE] if character.isprintable() or character == "\t")


class _Log:
    """Prints the builder's lines as they come, and keeps the last ones for when it fails; ``based``: whether the base is there."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self.quiet = stream is None
        self._rest = ""
        self.last: list[str] = []
        self.based = False

    def add(self, text: str) -> None:
        *lines, self._rest = (self._rest + text).replace("\r\n", "\n").replace("\r", "\n").split("\n")
        self._rest = self._rest[-_LONGEST_LINE:]
        for line in lines:
            self._line(_shown(line))

    def end(self) -> None:
        if self._rest:
            self._line(_shown(self._rest))
            self._rest = ""

    def _line(self, line: str) -> None:
        self.based = self.based or line.startswith(" ---> ")
        if not line.strip() or _NOISE.match(line):
            return
        self.last = [*self.last[1 - _LAST_LINES :], line]
        if self._stream is not None:
            text = paint(line, "bold") if line.startswith("Step ") and self._stream is sys.stdout else line
            print(text, file=self._stream, flush=True)


def build_image(definition: ImageDefinition, *, cache: bool = True, log: TextIO | None = None) -> str:
    """Build and name it; the id of the new image. What the builder says goes to ``log``. Raises Failure with its last lines."""
    ref, identity = reference_of(definition.slug), ""
    said = _Log(log)
    for message in build(context(definition), t=[ref], dockerfile="Dockerfile", rm=True, forcerm=True, nocache=not cache):
        if "error" in message:
            said.end()
            raise _failed(definition, str(message["error"]), said)
        if "stream" in message:
            said.add(str(message["stream"]))
        elif "status" in message and "progressDetail" not in message:
            said.add(f"{message['status']}\n")
        identity = str((message.get("aux") or {}).get("ID") or identity)
    said.end()
    if not identity:
        raise Failure(f"the build of {ref} ended without an image", f"ds01 image update {definition.slug} --rebuild")
    return identity


def _failed(definition: ImageDefinition, error: str, said: _Log) -> Failure:
    words = [*(said.last if said.quiet else ()), _shown(error.replace("\n", " "))]
    if said.based:
        hint = f"Change it and build again: ds01 image update {definition.slug} --remove PACKAGE, or --edit"
    else:
        hint = f"Is the base {definition.base} right? Another one: ds01 image update {definition.slug} --base NAME:TAG"
    return Failure("\n".join(["the image could not be built:", *words]), hint)


def users_of_older(definition: ImageDefinition, identity: str) -> list[str]:
    """Names of the caller's containers that were made from this image as it was before; they keep that."""
    label = f"{TITLE_LABEL}={definition.name}"
    try:
        entries: list[dict[str, Any]] = call("GET", f"/containers/json?{query(all=True, filters={'label': [label]})}")
    except Refused:
        return []
    return sorted(one["Names"][0].lstrip("/") for one in entries if one.get("ImageID") != identity and one.get("Names"))
