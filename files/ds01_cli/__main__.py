# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The command ``ds01``: what people ask the platform. It has no privileges; the gate answers by who is asking.

Exit codes: 0 done, 1 could not be done (the message says why), 2 the command line is wrong, 130 ended by Ctrl-C.
"""

from __future__ import annotations

import argparse
import importlib
import os
import re
import sys
import textwrap

from .command_tree import tree
from .examples import add_examples
from .failure import Failure
from .screen import paint, wrapped

# Command (and its other names) → module: only what was asked for is loaded, because a login runs one of them.
_MODULES = {
    "status": "status_command",
    "usage": "usage_command",
    "quota": "usage_command",
    "limits": "limits_command",
    "claims": "claims_command",
    "queue": "queue_command",
    "lifecycle": "lifecycle_command",
    "inbox": "inbox_command",
    "greeting": "greeting_command",
    "container": "container_command",
    "image": "image_command",
    "setup": "setup_command",
    "devcontainer": "devcontainer_command",
    "completion": "completion_command",
    "policy": "policy_command",
    "gate": "gate_command",
    "workloads": "workloads_command",
    "top": "top_command",
    "events": "events_command",
    "health": "health_command",
    "exempt": "exempt_command",
    "reserve": "reserve_command",
    "logins": "logins_command",
    "maintenance": "maintenance_command",
    "broadcast": "broadcast_command",
    "admin": "admin_command",
}

_EPILOG = """examples:
  ds01 setup                   step by step to a running container
  ds01 status                  which GPUs are free
  ds01 usage                   what you use, against your limits
  ds01 container stats         what your containers use
  ds01 image build NAME        an image of your own
  ds01 COMMAND --help          more about one of them, with examples

exit codes: 0 done, 1 could not be done (the message says why), 2 the command
line is wrong, 130 ended by Ctrl-C. exec and logs give those of docker.
"""


def parser(command: str | None = None) -> argparse.ArgumentParser:
    """The command line of ds01; with a ``command`` only that one of it."""
    top = argparse.ArgumentParser(
        prog="ds01",
        description="Your GPUs, containers and limits on this server.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    subparsers = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    wanted = [_MODULES[command]] if command in _MODULES else dict.fromkeys(_MODULES.values())
    for name in wanted:
        importlib.import_module(f".{name}", __package__).register(subparsers)
    for node in tree(top):
        # The modules' own first lines, which begin with the command; filled here, because a raw formatter does not.
        about = re.sub(r"^``ds01[^`]*``: ", "", node.parser.description or "").replace("``", "")
        node.parser.description = textwrap.fill(about[:1].upper() + about[1:], 79)
    add_examples(top)
    return top


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    parsed = parser(given[0] if given else None).parse_args(given)
    try:
        code: int = parsed.run(parsed)
        sys.stdout.flush()
        return code
    except Failure as failure:
        hint = f"\n{failure.next_step}" if failure.next_step else ""
        text = wrapped(f"ds01: {failure.why}", sys.stderr).removeprefix("ds01:")
        print(f"{paint('ds01:', 'red')}{text}{hint}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
