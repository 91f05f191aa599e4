# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""``ds01 policy``: check a policy before it is rolled out, and explain what it says about one person.

Exit codes: 0 the policy is good, 1 it has a mistake (each is printed) or can't be read.
"""

from __future__ import annotations

import argparse
import json
import sys
from datetime import datetime, timezone
from typing import Any

from ds01.core.policy_check import check, load
from ds01.core.policy_explain import Row, is_particular, rows
from ds01.core.policy_problems import PolicyError
from ds01.core.policy_reference import json_schema_text, reference_markdown
from ds01.core.policy_resolve import resolve
from ds01.core.policy_schema import KINDS
from ds01.core.user_names import safe_name
from ds01.policy_file import POLICY_PATH, UserFacts, facts_by_name

from .failure import Failure
from .policy_document import read_document
from .screen import paint, table

_EXAMPLES = """examples:
  ds01 policy check group_vars/all/policy.yml      every mistake, with its key and what is allowed
  ds01 policy explain alice                        what holds for alice, and which rule set it
  ds01 policy explain alice --kind devcontainer    the same for her dev containers
"""


def register(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "policy",
        help="check the policy, or explain what it says about a person",
        description="Check the policy, or explain what it says about a person.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)

    checking = actions.add_parser("check", help="print every mistake of a policy")
    checking.add_argument("file", metavar="FILE", help="YAML or JSON: a policy, or an inventory file with the key ds01_policy")
    checking.add_argument("--json", action="store_true", help="print the mistakes as JSON")
    checking.set_defaults(run=run, policy_action=_check)

    explaining = actions.add_parser("explain", help="print what holds for a person, and which rule set it")
    explaining.add_argument("user", metavar="USER", help="the name as `id -un` prints it")
    explaining.add_argument("--file", default=POLICY_PATH, help="the policy (default: %(default)s)")
    explaining.add_argument("--kind", choices=KINDS, help="for containers of this kind")
    explaining.add_argument(
        "--linux-group", action="append", default=[], metavar="GROUP", help="a Linux group to count the person to, besides those known here"
    )
    explaining.add_argument("--json", action="store_true", help="print JSON")
    explaining.set_defaults(run=run, policy_action=_explain)

    schema = actions.add_parser("schema", help="print the policy's shape as JSON Schema")
    schema.add_argument("--markdown", action="store_true", help="print the reference of the documentation instead")
    schema.set_defaults(run=run, policy_action=_schema)


def run(arguments: argparse.Namespace) -> int:
    """Run the action that was asked for."""
    code: int = arguments.policy_action(arguments)
    return code


def _check(arguments: argparse.Namespace) -> int:
    try:
        checked = check(read_document(arguments.file), now=datetime.now(timezone.utc))
    except PolicyError as error:
        raise Failure(str(error), "") from error
    if arguments.json:
        problems = [{"key": p.key, "value": p.value, "message": p.message, "warning": p.warning} for p in checked.problems]
        print(json.dumps({"file": arguments.file, "good": checked.policy is not None, "problems": problems}, indent=2, ensure_ascii=False))
        return 0 if checked.policy is not None else 1
    for problem in checked.problems:
        print(paint(problem.text(arguments.file), "yellow" if problem.warning else "red"))
    if checked.policy is None:
        count = sum(not problem.warning for problem in checked.problems)
        print(f"{arguments.file}: {count} mistake{'s' if count != 1 else ''}")
        return 1
    print(f"{arguments.file}: good; {len(checked.policy.groups)} groups, {len(checked.policy.users)} single users")
    return 0


def _facts(name: str) -> UserFacts | None:
    try:
        return facts_by_name(name)
    except LookupError:
        return None


def _explain(arguments: argparse.Namespace) -> int:
    try:
        policy = load(read_document(arguments.file), arguments.file)
    except PolicyError as error:
        raise Failure(str(error), f"ds01 policy check {arguments.file}") from error
    facts = _facts(arguments.user)
    if facts is None:
        told = "is not known on this machine, so home directory and Linux groups are left out"
        print(paint(f"{arguments.user} {told}", "yellow"), file=sys.stderr)
    limits = resolve(
        policy,
        arguments.user,
        now=datetime.now(timezone.utc),
        uid=facts.uid if facts else None,
        home=facts.home if facts else None,
        linux_groups=(*(facts.linux_groups if facts else ()), *arguments.linux_group),
        kind=arguments.kind,
    )
    found = rows(limits)
    name = safe_name(arguments.user, facts.uid) if facts else None
    if arguments.json:
        print(json.dumps(_document(arguments, facts, name, found), indent=2, ensure_ascii=False))
        return 0
    known_as = f"uid {facts.uid}, named {name} in images and containers" if facts else "unknown here"
    print(f"{arguments.user} ({known_as})" + (f", containers of kind {arguments.kind}" if arguments.kind else "") + "\n")
    colours = ["green" if is_particular(row) else None for row in found]
    print(table(("SETTING", "VALUE", "SET BY"), [(row.key, row.value, row.set_by) for row in found], colours))
    return 0


def _document(arguments: argparse.Namespace, facts: UserFacts | None, name: str | None, found: tuple[Row, ...]) -> dict[str, Any]:
    return {
        "user": arguments.user,
        "uid": facts.uid if facts else None,
        "safe_name": name,
        "kind": arguments.kind,
        "settings": [{"key": row.key, "value": row.raw, "text": row.value, "set_by": row.set_by} for row in found],
    }


def _schema(arguments: argparse.Namespace) -> int:
    print(reference_markdown() if arguments.markdown else json_schema_text(), end="")
    return 0
