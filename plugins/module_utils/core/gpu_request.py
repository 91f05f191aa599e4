# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""A request for GPUs, whatever client made it, and its text form in the label ``ds01.gpu.request``."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class GpuRequest:
    """``count`` devices, each of ``profile``, of at least ``memory_mib``, whole (``full``), or the named ``keys``.

    ``everything`` is what ``--gpus all`` asks for: it becomes the caller's normal allocation, one device.
    """

    count: int = 1
    profile: str | None = None
    memory_mib: int | None = None
    full: bool = False
    uuids: tuple[str, ...] = ()
    everything: bool = False

    def text(self) -> str:
        """The canonical form, parsed back by ``parse``: ``count=2,profile=1g.5gb``."""
        parts = ["all"] if self.everything else [f"count={self.count}"]
        if self.profile is not None:
            parts.append(f"profile={self.profile}")
        if self.memory_mib is not None:
            parts.append(f"memory={self.memory_mib}")
        if self.full:
            parts.append("full")
        parts.extend(f"uuid={u}" for u in self.uuids)
        return ",".join(parts)

    @classmethod
    def parse(cls, text: str) -> GpuRequest:
        """The request whose ``text()`` is ``text``; raises ValueError naming the part that is not understood."""
        count, profile, memory, full, uuids, everything = 1, None, None, False, [], False
        for part in text.split(","):
            key, _, value = part.partition("=")
            if part == "all":
                everything = True
            elif part == "full":
                full = True
            elif key == "count" and value.isdigit() and int(value) > 0:
                count = int(value)
            elif key == "profile" and value:
                profile = value
            elif key == "memory" and value.isdigit():
                memory = int(value)
            elif key == "uuid" and value:
                uuids.append(value)
            else:
                known = "all, full, count=N, profile=NAME, memory=MIB or uuid=ID"
                raise ValueError(f"GPU request {text!r}: {part!r} is not understood; expected {known}")
        return cls(count, profile, memory, full, tuple(uuids), everything)
