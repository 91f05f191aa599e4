# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""``devcontainer.json`` for this platform: one that works, and what in an existing one the gate would refuse.

The format is https://containers.dev/implementors/json_reference/: JSON with comments and commas after the last element. The rules are
those of ``core/gate`` in the words of that file; the gate itself decides when the container is made.
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .gate.namespace_rules import DEFAULT_CAPABILITIES


@dataclass(frozen=True)
class Finding:
    """Something about one place of the file. ``refused``: the container can't be made so; else it can, and ``instead`` would be better."""

    where: str
    what: str
    instead: str
    refused: bool = True


def strip_comments(text: str) -> str:
    """JSON from JSON with comments: ``//`` and ``/* */`` outside of strings, and commas before a closing bracket, become blanks."""
    out: list[str] = []
    at, comma = 0, -1
    while at < len(text):
        character = text[at]
        if character == '"':
            end = at + 1
            while end < len(text) and text[end] != '"':
                end += 2 if text[end] == "\\" else 1
            out.append(text[at : end + 1])
            at, comma = end + 1, -1
        elif text.startswith("//", at):
            end = text.find("\n", at)
            at = len(text) if end < 0 else end
        elif text.startswith("/*", at):
            end = text.find("*/", at + 2)
            at = len(text) if end < 0 else end + 2
            out.append(" ")
        else:
            if character == ",":
                comma = len(out)
            elif character in "]}" and comma >= 0:
                out[comma] = " "
            if not character.isspace() and character != ",":
                comma = -1
            out.append(character)
            at += 1
    return "".join(out)


def parse(text: str) -> Mapping[str, Any]:
    """The document; raises ValueError with a line number, or saying that it is no object."""
    document = json.loads(strip_comments(text))
    if not isinstance(document, dict):
        raise ValueError("the file holds no JSON object")
    return document


def new_config(name: str, image: str, gpu: str | None) -> dict[str, Any]:
    """A configuration that works here; ``gpu`` as in the label ``ds01.gpu``, ``all`` for one device, None for none."""
    arguments: list[str] = []
    if gpu is not None:
        arguments = ["--gpus", "all"]
        if gpu != "all":
            arguments += ["--label", f"ds01.gpu={gpu}"]
    return {
        "name": name,
        "image": image,
        "runArgs": arguments,
        "workspaceMount": "source=${localWorkspaceFolder},target=/workspace,type=bind",
        "workspaceFolder": "/workspace",
        "shutdownAction": "stopContainer",
        "customizations": {"vscode": {"extensions": ["ms-python.python", "ms-toolsai.jupyter"]}},
    }


_LEAVE_OUT = "Leave it out."
_GPU = 'For a GPU write "runArgs": ["--gpus", "all"].'
# Options of docker run that are refused whatever their value is: (why, what instead).
_REFUSED = {
    "--privileged": ("a privileged container is root on the server", _GPU),
    "--device": ("device files of the server are not handed out", _GPU),
    "--device-cgroup-rule": ("device rules reach every disk and GPU of the server", _GPU),
    "--runtime": ("the runtime is chosen by the server", _GPU),
    "--cgroup-parent": ("a container lives in its owner's slice", _LEAVE_OUT),
    "--sysctl": ("kernel settings are the server's", _LEAVE_OUT),
    "--oom-kill-disable": ("a container that can't be killed can stop the server", "Ask for more memory with --memory."),
    "--cpuset-cpus": ("CPUs are shared by the server", "Use --cpus."),
    "--cpuset-mems": ("memory nodes are shared by the server", _LEAVE_OUT),
    "--storage-opt": ("storage options are the server's", _LEAVE_OUT),
    "--volume-driver": ("only local volumes exist here", _LEAVE_OUT),
    "--mac-address": ("a chosen MAC address can take another container's traffic", _LEAVE_OUT),
}
_FLAGS = frozenset(("--privileged", "--oom-kill-disable"))
_NAMESPACES = {"--network": "network", "--net": "network", "--pid": "pid", "--ipc": "ipc", "--uts": "uts", "--userns": "userns"}
_SHORT = {"-v": "--volume", "-m": "--memory", "-e": "--env", "-p": "--publish", "-u": "--user"}
_NO_PRIVILEGES = ("no-new-privileges", "no-new-privileges=true", "no-new-privileges:true")


def check(document: Mapping[str, Any], roots: Sequence[str]) -> list[Finding]:
    """What the gate would refuse, and what would be better. ``roots`` are the directories below which the person may mount."""
    found: list[Finding] = []
    if document.get("privileged") is True:
        found.append(Finding("privileged", *_REFUSED["--privileged"]))
    found += _capabilities("capAdd", document.get("capAdd"))
    found += _security("securityOpt", document.get("securityOpt"))
    options = list(_options(document.get("runArgs")))
    for name, value in options:
        found += _option(name, value, roots)
    for place in ("mounts", "workspaceMount"):
        given = document.get(place)
        for one in given if isinstance(given, list) else [given] if given else []:
            found += _mount(place, _mount_source(one), roots)
    features = document.get("features")
    for feature in features if isinstance(features, dict) else ():
        if "docker-in-docker" in feature:
            found.append(Finding("features", "docker-in-docker needs a privileged container", "Use docker on the server itself."))
        elif "docker-outside-of-docker" in feature or "docker-from-docker" in feature:
            found.append(Finding("features", f"{feature} mounts the Docker socket", "Use docker on the server itself."))
    found += _advice(document, {name for name, _ in options})
    return found


def _advice(document: Mapping[str, Any], options: set[str]) -> Iterator[Finding]:
    if "dockerComposeFile" in document:
        yield Finding(
            "dockerComposeFile", "what stands in the compose file is not looked at", "docs/user.md says how compose asks for a GPU.", False
        )
    elif not any(key in document for key in ("image", "build", "dockerFile")):
        yield Finding("image", "the file names no image", 'Write "image": "NAME:TAG".')
    elif "--gpus" not in options:
        yield Finding("runArgs", "the container gets no GPU", 'For one write "runArgs": ["--gpus", "all"].', False)
    if document.get("shutdownAction") == "none":
        yield Finding(
            "shutdownAction",
            "the container and its GPU outlive VS Code",
            'Write "stopContainer".',
            False,
        )


def _options(arguments: Any) -> Iterator[tuple[str, str]]:
    """(long option, value) of every element of runArgs that is one; the value may stand in the next element."""
    words = [word for word in arguments if isinstance(word, str)] if isinstance(arguments, list) else []
    for position, word in enumerate(words):
        if not word.startswith("-"):
            continue
        name, separator, value = word.partition("=")
        name = _SHORT.get(name[:2], name) if not name.startswith("--") else name
        if not word.startswith("--") and not separator and len(word) > 2:
            value, separator = word[2:], "="
        following = words[position + 1] if position + 1 < len(words) else ""
        yield name, value if separator or name in _FLAGS else following


def _option(name: str, value: str, roots: Sequence[str]) -> Iterator[Finding]:
    if name in _REFUSED and not (name in _FLAGS and value.lower() == "false"):
        yield Finding(f"runArgs {name}", *_REFUSED[name])
    elif name in _NAMESPACES and value == "host":
        yield Finding(f"runArgs {name}", f"the server's own {_NAMESPACES[name]} namespace is refused", _LEAVE_OUT)
    elif name == "--cap-add":
        yield from _capabilities("runArgs --cap-add", [value])
    elif name == "--security-opt":
        yield from _security("runArgs --security-opt", [value])
    elif name == "--volume":
        yield from _mount("runArgs --volume", value.partition(":")[0], roots)
    elif name == "--mount":
        yield from _mount("runArgs --mount", _mount_source(value), roots)


def _capabilities(where: str, names: Any) -> Iterator[Finding]:
    for name in names if isinstance(names, list) else []:
        if str(name).upper().removeprefix("CAP_") not in DEFAULT_CAPABILITIES:
            why = f"{name}: more capabilities than Docker's default reach the server"
            yield Finding(where, why, "Leave it out; debuggers attach to their own children without SYS_PTRACE.")


def _security(where: str, options: Any) -> Iterator[Finding]:
    for option in options if isinstance(options, list) else []:
        if option not in _NO_PRIVILEGES:
            yield Finding(where, f"{option}: seccomp and AppArmor profiles are the server's", _LEAVE_OUT)


def _mount_source(mount: Any) -> str:
    """The host's directory in a mount, as a text (``source=…,target=…``) or an object; empty for a named volume."""
    if isinstance(mount, str):
        fields = dict(part.partition("=")[::2] for part in mount.split(","))
        mount = {"type": fields.get("type", "volume"), "source": fields.get("source", fields.get("src", ""))}
    if not isinstance(mount, Mapping) or mount.get("type") != "bind":
        return ""
    return str(mount.get("source", ""))


def _mount(where: str, source: str, roots: Sequence[str]) -> Iterator[Finding]:
    if source.startswith("${") or not source.startswith("/"):
        return
    plain = posixpath.normpath(source)
    if plain in ("/run/docker.sock", "/var/run/docker.sock"):
        yield Finding(where, "the Docker socket in a container is refused", "Use docker on the server itself.")
    elif not any(plain == root or plain.startswith(f"{root.rstrip('/')}/") for root in roots):
        yield Finding(
            where, f"{plain} is not below a directory that you may mount", f"You may mount what is below {', '.join(roots) or 'nothing'}."
        )
