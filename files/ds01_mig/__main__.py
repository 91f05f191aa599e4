# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The command ``ds01-mig``: the MIG layout of this host for its administrator and for the boot.

Exit codes: 0 done, or nothing to do; 1 the driver refused something, or the snapshot could not be published; 2 the command line is
wrong; 3 the desired layout is malformed or can't be had, and nothing was changed where it can't.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from ds01.core.mig_dynamic import NoRoom, Wish
from ds01.core.mig_layout import HostLayout, LayoutError, parse_gpus
from ds01.core.mig_report import predicted, present
from ds01.devices_snapshot import PublishError
from ds01.mig_apply import ApplyFailed, ImpossibleLayout, MigHost, Survey
from ds01.mig_layout_file import read_layout
from ds01.nvml_binding import NvmlError
from ds01.own_scope import leave_session
from ds01.paused_units import PauseError
from ds01.reservation_file import ReservationFileError
from ds01.reservation_file import load as load_reservations

from .screen import shown

LAYOUT = Path("/etc/ds01/mig.json")
RESERVATIONS = Path("/etc/ds01/reservations.json")
FAILED, IMPOSSIBLE = 1, 3


def parser() -> argparse.ArgumentParser:
    """The command line of ds01-mig."""
    top = argparse.ArgumentParser(prog="ds01-mig", description="Show and change how this host's GPUs are partitioned.")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    show = commands.add_parser("show", help="what stands on the GPUs, and who uses it")
    check = commands.add_parser("check", help="whether a layout file is well-formed; asks no GPU")
    plan = commands.add_parser("plan", help="what apply would do; changes nothing")
    apply = commands.add_parser("apply", help="make the desired layout stand, with the least change")
    publish = commands.add_parser("publish", help="publish the snapshot of all devices as they are now")
    make = commands.add_parser("make", help="make room for one instance on a GPU that may change on demand; what the gate does")
    make.add_argument("wishes", nargs="+", metavar="GPU/PROFILE", help="such as 2/2g.10gb; the first that can be had is made")
    make.add_argument("--keep", action="append", default=[], metavar="DEVICE", help="key of an idle instance that stays; again for more")
    again = commands.add_parser("repartition", help="give one GPU another layout until the next converge or boot")
    again.add_argument("gpu", metavar="GPU", help="index or UUID")
    again.add_argument("profiles", metavar="LAYOUT", help="all-1g, all-balanced …, or instances with commas: 3g.20gb,2g,2g")
    for command in (show, plan, apply, publish, make, again):
        command.add_argument("--json", action="store_true", help="for programs")
    for command in (plan, apply, check):
        command.add_argument("--layout", type=Path, default=LAYOUT, metavar="FILE", help=f"the desired layout (default: {LAYOUT})")
    for command in (plan, apply):
        command.add_argument("--force", action="store_true", help="destroy instances in spite of claims on them")
        command.add_argument("--starting", action="store_true", help="put GPUs that changed on demand back to what they start with")
    apply.add_argument("--partial", action="store_true", help="a GPU with a problem doesn't hold up the others (for the boot)")
    return top


def main(arguments: list[str] | None = None, host: MigHost | None = None) -> int:
    """Run one command; returns the exit code."""
    parsed = parser().parse_args(arguments)
    as_json = bool(getattr(parsed, "json", False))
    try:
        if parsed.command == "check":
            read_layout(parsed.layout)
            return 0
        stayed = leave_session("ds01-mig")
        if stayed is not None:
            print(f"ds01-mig: {stayed}", file=sys.stderr)
        _say(_run(parsed, host or MigHost()), as_json)
    except (LayoutError, ImpossibleLayout, NoRoom, ReservationFileError) as error:
        return _fail(error, as_json, IMPOSSIBLE)
    except (ApplyFailed, NvmlError, PublishError, PauseError) as error:
        return _fail(error, as_json, FAILED)
    return 0


def _run(parsed: argparse.Namespace, host: MigHost) -> dict[str, Any]:
    if parsed.command == "publish":
        return {"actions": ["publish the device snapshot"], "was_out_of_date": host.publish()}
    if parsed.command == "show":
        survey = host.survey(HostLayout())
        return {**_facts(survey), "gpus": present(survey.gpus), "published": survey.published}
    if parsed.command == "repartition":
        return _repartition(parsed.gpu, parsed.profiles, host)
    if parsed.command == "make":
        return {"actions": host.make([_wish(text) for text in parsed.wishes], [*parsed.keep, *_reserved()])}
    layout = read_layout(parsed.layout)
    if parsed.starting:
        layout = replace(layout, gpus=tuple(replace(entry, dynamic=None) for entry in layout.gpus))
    if parsed.command == "plan":
        survey = host.survey(layout, parsed.force)
        if survey.plan.problems:
            raise ImpossibleLayout(survey.plan.problems)
        gpus = predicted(survey.gpus, survey.plan)
        return {**_facts(survey), "gpus": gpus, "actions": survey.actions, "displaced": survey.plan.displaced}
    displaced = host.survey(layout, parsed.force).plan.displaced
    actions = host.apply(layout, parsed.force, parsed.partial)
    if parsed.starting:
        host.publish()
    survey = host.survey(layout, parsed.force)
    return {**_facts(survey), "gpus": present(survey.gpus), "actions": actions, "displaced": displaced}


def _repartition(gpu: str, profiles: str, host: MigHost) -> dict[str, Any]:
    """One GPU by hand. Other GPUs are left alone, and what this one may become on demand stays published."""
    named = profiles.startswith("all-")
    wanted: dict[str, Any] = {"layout": profiles} if named else {"instances": [{"profile": p.strip()} for p in profiles.split(",")]}
    try:
        pause = read_layout(LAYOUT).pause_units
    except LayoutError:
        pause = ()
    layout = parse_gpus([{"gpu": gpu, **wanted}], False, pause)
    actions = host.apply(layout)
    if actions:
        host.publish()
    survey = host.survey(layout)
    return {**_facts(survey), "gpus": present(survey.gpus), "actions": actions}


def _wish(text: str) -> Wish:
    gpu, slash, profile = text.rpartition("/")
    if not slash or not gpu or not profile:
        raise LayoutError(f"{text}: expected GPU/PROFILE, such as 2/2g.10gb")
    return Wish(gpu, profile)


def _reserved() -> list[str]:
    """What is reserved now or later stays as it is, so that it can be had then."""
    now = time.time()
    return [device for one in load_reservations(RESERVATIONS) if one.end > now for device in one.devices]


def _facts(survey: Survey) -> dict[str, Any]:
    return {"driver": survey.inventory.driver, "simulated": survey.inventory.simulated}


def _say(answer: dict[str, Any], as_json: bool) -> None:
    print(json.dumps(answer, indent=1) if as_json else shown(answer))


def _fail(error: Exception, as_json: bool, code: int) -> int:
    """Say what is wrong: on standard error, and with ``--json`` as data on standard output too."""
    if as_json:
        problems = error.problems if isinstance(error, ImpossibleLayout) else ()
        listed = [{"reason": p.reason.value, "gpu": p.gpu, "message": p.message} for p in problems]
        done = list(error.done) if isinstance(error, ApplyFailed) else []
        print(json.dumps({"error": str(error), "problems": listed, "actions": done}, indent=1))
    elif isinstance(error, ApplyFailed):
        for action in error.done:
            print(action)
    print(f"ds01-mig: {error}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
