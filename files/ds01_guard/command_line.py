# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""What the guard needs to read from runc's command line: sub-command, bundle, container id, log file."""

from __future__ import annotations

_GLOBAL_WITH_VALUE = ("--root", "--log", "--log-format", "--criu", "--rootless")
_COMMAND_WITH_VALUE = (
    "--bundle", "-b", "--console-socket", "--pid-file", "--preserve-fds", "--image-path", "--work-path", "--process", "-p",
    "--cwd", "--env", "-e", "--user", "-u", "--additional-gids", "-g", "--apparmor", "--cap", "-c", "--cgroup", "--pidfd-socket",
    "--manage-cgroups-mode", "--lsm-profile", "--lsm-mount-context", "--parent-path", "--status-fd",
)  # fmt: skip


class CommandLine:
    """``bundle`` is the directory with config.json (runc's default: the working directory)."""

    __slots__ = ("bundle", "command", "container_id", "log", "systemd_cgroup")

    def __init__(self, command: str, container_id: str, bundle: str, log: str | None, systemd_cgroup: bool) -> None:
        self.command = command
        self.container_id = container_id
        self.bundle = bundle
        self.log = log
        self.systemd_cgroup = systemd_cgroup


def parse(arguments: list[str]) -> CommandLine:
    """Read ``runc [global options] COMMAND [options] ID``; unknown options without ``=`` are taken as flags."""
    options: dict[str, str] = {}
    flags: set[str] = set()
    words: list[str] = []
    rest = iter(arguments)
    for word in rest:
        with_value = _COMMAND_WITH_VALUE if words else _GLOBAL_WITH_VALUE
        if word in with_value:
            options[word] = next(rest, "")
        elif word.startswith("-"):
            name, _, value = word.partition("=")
            options[name] = value
            flags.add(name)
        else:
            words.append(word)
    words += [""] * (2 - len(words))
    bundle = options.get("--bundle") or options.get("-b") or "."
    return CommandLine(words[0], words[1], bundle, options.get("--log"), "--systemd-cgroup" in flags)
