# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Sweeps one after the other, each with a new memory as if by a program of its own, and beside them a watcher that sees no GPU in use.

``python -m tests.integration.lifecycle.sweep_loop PLACES.json SECONDS``
"""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
from dataclasses import fields
from pathlib import Path

import tests.conftest  # noqa: F401

from ds01_lifecycle.settings import Places  # isort: skip
from ds01_lifecycle.sweep import Sweep  # isort: skip

from ds01 import json_state
from ds01.exemption_file import PolicyWithExemptions
from ds01.policy_file import Resolver


def places_of(path: str) -> Places:
    """The places that the tests wrote down."""
    given = json.loads(Path(path).read_text())
    kinds = {field.name: field.type for field in fields(Places)}
    return Places(**{name: Path(value) if kinds[name] == "Path" else value for name, value in given.items()})


def main() -> None:
    """For ever."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    places, pause = places_of(sys.argv[1]), float(sys.argv[2])
    while True:
        uptime = time.clock_gettime(time.CLOCK_BOOTTIME)
        sources = {"gpu": {"ok": True, "age_s": 0.0}, "docker": {"ok": True}}
        json_state.write(places.inventory, {"uptime": uptime, "sources": sources, "gpus": [], "workloads": []})
        resolver = Resolver(PolicyWithExemptions(places.policy, places.exemptions))
        try:
            Sweep(places, resolver, None).run()
        except Exception as error:  # a daemon that is away is part of the tests
            logging.error("no sweep: %s", error)
        threading.Event().wait(pause)


if __name__ == "__main__":
    main()
