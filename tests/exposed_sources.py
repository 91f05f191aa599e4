# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Makes the source tree importable the way the two runtimes see it.

On a server the code is the package ``ds01`` (a copy of ``plugins/module_utils``) beside the programs of ``files/``;
in Ansible it is ``ansible_collections.ds01.infra.plugins``. Both names point at one source here.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def _link(link: Path, target: Path) -> None:
    """Make ``link`` point at ``target``; safe when several test workers do it at once."""
    link.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.symlink(target, link)
    except FileExistsError:
        if os.path.realpath(link) != os.path.realpath(target):
            link.unlink()
            os.symlink(target, link)


def expose_sources() -> None:
    """Make both links below .cache and put them and the programs on the path."""
    cache = ROOT / ".cache"
    _link(cache / "lib" / "ds01", ROOT / "plugins" / "module_utils")
    _link(cache / "collections" / "ansible_collections" / "ds01" / "infra", ROOT)
    for entry in (cache / "lib", cache / "collections", ROOT / "files"):
        if str(entry) not in sys.path:
            sys.path.insert(0, str(entry))
