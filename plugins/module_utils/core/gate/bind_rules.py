# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""A directory of the host in a container: below one of the caller's bind roots, as a gate-owned volume of that root plus a subpath.

dockerd resolves the subpath inside the root and pins what it found, so that a path swapped for a symbolic link after the check leads
nowhere (needs API 1.45). The path itself was followed with the caller's own rights (``facts.BindFact``).
"""

from __future__ import annotations

import hashlib
import posixpath
from typing import Any

from ..limits import BindRoot
from ..refusal import Refusal
from .case import Case
from .facts import BindFact, Question, Root, RootFact
from .identity import INTERNAL_LABEL, UID_LABEL
from .mount_wishes import BindWish
from .ownership import RESERVED_PREFIX
from .verdict import Effect, EnsureVolume, MakeDirectory, Stop


def questions(case: Case, wish: BindWish) -> list[Question]:
    """What has to be known about a bind: where it leads, and what the roots are."""
    return [BindFact(_clean(wish.source)), *(RootFact(root.path) for root in case.limits.bind_roots)]


def place(case: Case, wish: BindWish) -> tuple[dict[str, Any], list[Effect]]:
    """The mount that takes the bind's place, and what must exist for it."""
    source = _clean(wish.source)
    bind = case.facts.bind(source)
    if bind.real is None:
        raise _refused(case, source, bind.error or "you cannot reach it yourself", "bind-unreachable")
    root, real = _root_of(case, source, bind.real)
    if not (real.nosuid and real.nodev):
        raise Refusal(
            f"bind mount of {source} is refused",
            f"{real.real} is not mounted nosuid,nodev, so that a container could make a way to root there",
            "An administrator has to mount it so (role storage).",
            rule="bind-root-unsafe",
        )
    if bind.kind == "other":
        raise _refused(case, source, "it is a socket, device or pipe", "bind-kind")
    effects: list[Effect] = []
    if bind.kind == "missing":
        if not wish.create or not root.writable:
            raise Stop(400, f'invalid mount config for type "bind": bind source path does not exist: {source}', "bind-missing")
        effects.append(MakeDirectory(bind.real))
    volume = root_volume(case.identity.uid, real.real, writable=root.writable)
    options: dict[str, Any] = {"NoCopy": True}
    if bind.real != real.real:
        options["Subpath"] = posixpath.relpath(bind.real, real.real)
    mount: dict[str, Any] = {"Type": "volume", "Source": volume.name, "Target": wish.target, "VolumeOptions": options}
    if wish.read_only or not root.writable:
        mount["ReadOnly"] = True
    return mount, [volume, *effects]


def root_volume(uid: int, root: str, *, writable: bool) -> EnsureVolume:
    """The volume that stands for a bind root: one for each person, root and mode."""
    mode = "rbind" if writable else "rbind,ro"
    digest = hashlib.sha256(f"{root}\0{mode}".encode()).hexdigest()[:16]
    return EnsureVolume(
        f"{RESERVED_PREFIX}root.{uid}.{digest}",
        {INTERNAL_LABEL: "bind-root", UID_LABEL: str(uid)},
        {"type": "none", "o": mode, "device": root},
    )


def _clean(source: str) -> str:
    if ".." in source.split("/"):
        raise Stop(403, f"bind mount of {ascii(source)[:120]} is refused: the path contains '..'. Write it without.", "bind-dotdot")
    return "/" + posixpath.normpath(source).lstrip("/")


def _below(path: str, root: str) -> bool:
    return path == root or path.startswith(root.rstrip("/") + "/")


def _root_of(case: Case, source: str, real: str) -> tuple[BindRoot, Root]:
    """The deepest bind root of the caller that holds ``real``."""
    found: list[tuple[BindRoot, Root]] = []
    for root in case.limits.bind_roots:
        answer = case.facts.root(root.path)
        if answer is not None and answer.real != "/" and _below(real, answer.real):
            found.append((root, answer))
    if not found:
        why = (
            "it is not below one of your directories"
            if real == source
            else f"it leads to {real}, which is not below one of your directories"
        )
        raise _refused(case, source, why, "bind-root")
    return max(found, key=lambda pair: len(pair[1].real))


def _refused(case: Case, source: str, why: str, rule: str) -> Refusal:
    roots = ", ".join(root.path + ("" if root.writable else " (read-only)") for root in case.limits.bind_roots) or "none"
    return Refusal(f"bind mount of {ascii(source)[1:-1][:160]} is refused", why, f"You may mount from below: {roots}.", rule=rule)
