# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The program ``ds01-gate``."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path

from ds01.core.policy_problems import PolicyError
from ds01.policy_file import PolicyFile
from ds01.service_manager import passed_sockets
from ds01_gate import explain_command
from ds01_gate.audit import Audit
from ds01_gate.gate import Gate
from ds01_gate.listener import listen_at
from ds01_gate.settings import SETTINGS_PATH, Settings, SettingsError, load, parse

EXIT_USAGE = 2


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="ds01-gate", description="Everybody's door to Docker: identifies, judges, forwards.")
    parser.add_argument(
        "--config", type=Path, default=SETTINGS_PATH, help="settings (JSON); an absent file means the defaults (%(default)s)"
    )
    parser.add_argument("--check", action="store_true", help="say whether settings and policy are valid, and end: 0 valid, 2 not")
    for field in dataclasses.fields(Settings):
        flag = "--" + field.name.replace("_", "-")
        if isinstance(field.default, bool):
            parser.add_argument(flag, action=argparse.BooleanOptionalAction, default=None)
        else:
            parser.add_argument(flag, type=type(field.default), default=None, metavar="VALUE")
    return parser.parse_args(arguments)


def _settings(options: argparse.Namespace) -> Settings:
    """The file's settings with those of the command line over them; raises SettingsError."""
    given = {field.name: getattr(options, field.name) for field in dataclasses.fields(Settings)}
    merged = {**dataclasses.asdict(load(options.config)), **{name: value for name, value in given.items() if value is not None}}
    return parse(merged, "command line")


def main(arguments: list[str] | None = None) -> int:
    """Run, check, or explain a request, as the command line says; the exit status."""
    given = sys.argv[1:] if arguments is None else arguments
    if given[:1] == ["explain"]:
        return explain_command.main(given[1:])
    options = _options(arguments)
    audit = Audit()
    try:
        settings = _settings(options)
        PolicyFile(settings.policy).current()
        if options.check:
            return 0
        gate = Gate(settings, passed_sockets() or [listen_at(settings.listen)], audit)
    except (SettingsError, PolicyError, OSError, ValueError) as error:
        audit.note("cannot_start", why=str(error))
        return EXIT_USAGE
    gate.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
