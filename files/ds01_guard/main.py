# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The runtime guard: judges the final OCI spec of a container before it becomes runc.

Settings come from /etc/ds01/guard.json (root's): ``mode`` enforce or observe, ``data_root`` and ``exec_root`` of dockerd,
``cdi_dir``. Without the file the defaults below hold. Anything that goes wrong refuses the start.
"""

from __future__ import annotations

import os

from ds01.core.oci_json import read_json
from ds01.core.oci_rules import violations

from .build_cgroup import build_cgroup, write_spec
from .command_line import CommandLine, parse
from .gathering import facts_for

SETTINGS = "/etc/ds01/guard.json"
_DEFAULTS = {"mode": "enforce", "data_root": "/var/lib/docker", "exec_root": "/var/run/docker", "cdi_dir": "/run/cdi"}
_NEXT = "Nothing here was made by ds01; an administrator finds the details with: journalctl -t ds01-guard"


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
    """What is wrong with the container that is about to start, one line each. A build step is moved to the build slice first."""
    with open(os.path.join(line.bundle, "config.json"), encoding="utf-8") as stream:
        spec = read_json(stream.read())
    facts = facts_for(line.container_id, spec, settings)
    if facts.build:
        spec.setdefault("linux", {})["cgroupsPath"] = build_cgroup(line.container_id, line.systemd_cgroup)
        spec.pop("annotations", None)
        write_spec(line.bundle, spec)
    return [violation.text() for violation in violations(spec, facts)]


def refused(arguments: list[str]) -> bool:
    """Judge ``[RUNTIME, *runc's arguments]``; True when the runtime must not run, and then everybody has been told why."""
    if arguments[0] == "--refuse-exec":
        from .reporting import to_client, to_journal  # here and below: most starts are not refused, and sockets and dates take long

        line = parse(arguments[2:])
        to_journal({"event": "guard.refused", "container": line.container_id, "why": ["privileged exec"]})
        to_client("ds01-guard: exec refused: a privileged exec would leave the container. Use docker exec without --privileged", line.log)
        return True
    line = parse(arguments[1:])
    settings = dict(_DEFAULTS)
    try:
        settings = load_settings(SETTINGS)
        wrong = check(line, settings)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        wrong = [f"the container could not be judged ({type(error).__name__}: {error})"]
    if not wrong:
        return False
    from .reporting import to_client, to_journal

    enforced = settings["mode"] == "enforce"
    to_journal({"event": "guard.refused" if enforced else "guard.would_refuse", "container": line.container_id, "why": wrong})
    if enforced:
        to_client(f"ds01-guard: start refused: {'; '.join(wrong[:5])}. {_NEXT}", line.log)
    return enforced
