# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The role's templates and rules as a server would have them, for Prometheus and Alertmanager as tests run them."""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jinja2
import yaml

from tests.integration.daemons import REPOSITORY

ROLE = REPOSITORY / "roles" / "monitoring"
CASES = REPOSITORY / "tests" / "monitoring"
SERVER = "gpu1"


def render(template: str, **changes: Any) -> str:
    """A template of the role with its defaults, or other values."""
    defaults = yaml.safe_load((ROLE / "defaults" / "main.yml").read_text())
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True, keep_trailing_newline=True)
    environment.filters["to_json"] = json.dumps
    return environment.from_string((ROLE / "templates" / template).read_text()).render(
        **{**defaults, "monitoring_server_name": SERVER, **changes}
    )


def write_rules(directory: Path, **changes: Any) -> list[Path]:
    """All rule files, as the role writes them."""
    shutil.copytree(ROLE / "files" / "rules", directory)
    for name in ("factors.yml", "rollups.yml"):
        (directory / name).write_text(render(f"{name}.j2", **changes))
    return sorted(directory.glob("*.yml"))


@functools.cache
def alerts() -> dict[str, dict[str, Any]]:
    """Every alert by name."""
    groups = [group for path in (ROLE / "files" / "rules").glob("*.yml") for group in yaml.safe_load(path.read_text())["groups"]]
    return {rule["alert"]: rule for group in groups for rule in group["rules"] if "alert" in rule}


def run(*command: str | Path) -> str:
    """Standard output of a command that must succeed."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
