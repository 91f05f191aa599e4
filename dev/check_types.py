# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Checks the types of everything beside the library: the programs of files/, each a package of its own, and the Ansible plugins."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    """mypy's exit status; nothing to check is an error."""
    packages = sorted(entry.parent.name for entry in (ROOT / "files").glob("ds01_*/__init__.py"))
    if not packages:
        sys.stderr.write("files/: no program package ds01_*/__init__.py\n")
        return 1
    packages += [f"ansible_collections.ds01.infra.plugins.{kind}" for kind in ("modules", "action", "filter")]
    command = [sys.executable, "-m", "mypy", *[word for package in packages for word in ("-p", package)]]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
