# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The one name made from a person's name: image namespace, prefix of containers, host name, network, directory.

A name that is fit for all of them stays as it is (``alice``). Any other loses its domain, is spelled in ``a-z0-9-`` and gets the uid
behind it: ``h.baker@example.org`` with uid 20002 becomes ``h-baker-u20002``, so that ``j.doe``, ``j_doe``, ``J.Doe`` and
``j.doe@elsewhere`` are four names. Two people (two names, two uids) never share one: fit names differ as they are, a fit name never ends
like a made one, and a made one ends in its uid. One uid with two names is one person, to the kernel and here.

The rules met: Docker's repository component (https://github.com/distribution/reference, ``reference.go``: alphanumeric parts separated by
``.``, ``_``, ``__`` or dashes) and container name, a label of a host name (RFC 1123, section 2.1; at most 63 octets), systemd unit names
(systemd.unit(5)), and the names of networks and files.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata

MAX_LENGTH = 32
MAX_UID = 2**32 - 2
_FIT = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_LIKE_MADE = re.compile(r".*-u[0-9]+", re.DOTALL)
_RESERVED = frozenset({"admin", "all", "docker", "ds01", "library", "localhost", "none", "root", "scratch", "system"})


def safe_name(user: str, uid: int) -> str:
    """The person's name where names are restricted: at most 32 of ``a-z0-9-``, beginning and ending with a letter or digit.

    The same for the same person everywhere and always. Raises ValueError for an empty name or a uid that no person can have.
    """
    if not user:
        raise ValueError("the user name is empty; expected the name as the user database has it")
    if not 0 <= uid <= MAX_UID:
        raise ValueError(f"uid {uid}: expected 0 to {MAX_UID}")
    if _FIT.fullmatch(user) and len(user) <= MAX_LENGTH and not _LIKE_MADE.fullmatch(user) and user not in _RESERVED:
        return user
    suffix = f"-u{uid}"
    return _shortened(_spelled(user), MAX_LENGTH - len(suffix)) + suffix


def container_prefix(user: str, uid: int) -> str:
    """What the names of the person's containers begin with: ``alice.``.

    The dot can't be part of a safe name, so nobody's prefix is the beginning of somebody else's (as ``alice-`` would be of ``alice-b-``).
    """
    return f"{safe_name(user, uid)}."


def network_name(user: str, uid: int) -> str:
    """The name of the person's own Docker network: ``ds01.alice``."""
    return f"ds01.{safe_name(user, uid)}"


def container_host_name(user: str, uid: int, container: str) -> str:
    """A host name for a container, at most 63 octets: ``alice-training``."""
    return _shortened(f"{safe_name(user, uid)}-{_spelled(container)}", 63)


def without_domain(user: str) -> str:
    """The name without its domain, for people to read: ``248835@example.org`` and ``EXAMPLE\\248835`` are ``248835``."""
    return user.rsplit("\\", 1)[-1].split("@", 1)[0] or user


def _spelled(text: str) -> str:
    plain = unicodedata.normalize("NFKD", without_domain(text)).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-") or "user"


def _shortened(text: str, length: int) -> str:
    """``text``, or its beginning and six hex digits of its SHA-256 where it is longer than ``length``."""
    if len(text) <= length:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()[:6]
    return f"{text[: length - 7].rstrip('-')}-{digest}"
