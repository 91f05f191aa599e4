# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""``ds01-gpusim``: drive simulated GPUs."""

from __future__ import annotations

import json
import sys

from .command_line import parser
from .state_text import StateError


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    args = parser().parse_args(arguments)
    try:
        answer = args.run(args)
    except (StateError, OSError) as error:
        sys.stderr.write(f"ds01-gpusim: {error}\n")
        return 1
    text = answer.text if answer.text is not None and not args.json else json.dumps(answer.values, indent=2)
    sys.stdout.write(text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
