# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The runtime guard: judges the final OCI spec of a container before it becomes runc.

Settings come from /etc/ds01/guard.json (root's): ``mode`` enforce or observe, ``data_root`` and ``exec_root`` of dockerd,
``cdi_dir``. Without the file the defaults below hold. Anything that goes wrong refuses the start.
"""

from __future__ import annotations

from ds01.core.oci_json import read_json
from ds01.core.oci_rules import exec_violations, violations
from ds01.core.oci_seccomp import keep_projects

from .bundle import build_cgroup, read_spec, write_spec
from .command_line import CommandLine, parse
from .gathering import facts_for

SETTINGS = "/etc/ds01/guard.json"
_DEFAULTS = {"mode": "enforce", "data_root": "/var/lib/docker", "exec_root": "/var/run/docker", "cdi_dir": "/run/cdi"}
_UNREADABLE = (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError)
_NEXT = "Nothing here was made by ds01; an administrator finds the details with: journalctl -t ds01-guard"
_NEXT_EXEC = "A privileged exec would leave the container. Use docker exec without --privileged"


def load_settings(path: str) -> dict[str, str]:
    """The settings, defaults filled in. Raises ValueError for a key or mode that is not known."""
    try:
        with open(path, encoding="utf-8") as stream:
            found = read_json(stream.read())
    except FileNotFoundError:
        return dict(_DEFAULTS)
    unknown = sorted(set(found) - set(_DEFAULTS))
    if unknown or found.get("mode", "enforce") not in ("enforce", "observe"):
        what = ", ".join(unknown) or f"mode: {found['mode']}"
        raise ValueError(f"{path}: {what} is not known; keys: {', '.join(_DEFAULTS)}; modes: enforce, observe")
    return {**_DEFAULTS, **found}


def check(line: CommandLine, settings: dict[str, str]) -> list[str]:
    """What is wrong with the container that is about to start, one line each. Its spec is written again first.

    Every container loses the requests that leave a project quota; a build step is moved to the build slice too.
    """
    spec = read_spec(line.bundle)
    facts = facts_for(line.container_id, spec, settings)
    keep_projects(spec)
    if facts.build:
        spec.setdefault("linux", {})["cgroupsPath"] = build_cgroup(line.container_id, line.systemd_cgroup)
        spec.pop("annotations", None)
    write_spec(line.bundle, spec)
    return [violation.text() for violation in violations(spec, facts)]


def check_exec(process_file: str) -> list[str]:
    """What is wrong with the process that is about to be started in a running container, one line each."""
    with open(process_file, encoding="utf-8") as stream:
        return [violation.text() for violation in exec_violations(read_json(stream.read()))]


def _reported(what: str, wrong: list[str], why_not: str, line: CommandLine, mode: str) -> bool:
    """Tell everybody what is wrong; True when it is also refused."""
    from .reporting import to_client, to_journal  # here: most starts are not refused, and sockets and dates take long

    enforced = mode == "enforce"
    to_journal({"event": "guard.refused" if enforced else "guard.would_refuse", "container": line.container_id, "why": wrong})
    if enforced:
        to_client(f"ds01-guard: {what} refused: {'; '.join(wrong[:5])}. {why_not}", line.log)
    return enforced


def refused(arguments: list[str]) -> bool:
    """Judge ``[RUNTIME, *runc's arguments]``; True when the runtime must not run, and then everybody has been told why."""
    line = parse(arguments[1:])
    mode = "enforce"
    try:
        settings = load_settings(SETTINGS)
        mode = settings["mode"]
        wrong = check(line, settings)
    except _UNREADABLE as error:
        wrong = [f"the container could not be judged ({type(error).__name__}: {error})"]
    return bool(wrong) and _reported("start", wrong, _NEXT, line, mode)


def exec_refused(process_file: str, arguments: list[str]) -> bool:
    """The same for ``runc exec --process PROCESS_FILE``."""
    mode = "enforce"
    try:
        mode = load_settings(SETTINGS)["mode"]
        wrong = check_exec(process_file)
    except _UNREADABLE as error:
        wrong = [f"the process could not be judged ({type(error).__name__}: {error})"]
    return bool(wrong) and _reported("exec", wrong, _NEXT_EXEC, parse(arguments[1:]), mode)
