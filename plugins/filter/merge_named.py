# Copyright (c) ds01.infra contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Site data as lists of named dicts, laid over one another; nobody copies a default list to add a line to it."""

from __future__ import annotations

DOCUMENTATION = r"""
name: merge_named
short_description: Lay lists of named dicts over one another
version_added: 0.1.0
author:
  - ds01.infra contributors (@ds01)
description:
  - Elements with the same C(name) become one. Keys of a later list win, dicts below them are merged the same way, lists are replaced.
  - An element keeps the place of its first appearance.
  - An element with C(state=ignore) in a later list is taken out, as if nobody had named it.
  - Other states are left to whoever reads the list.
positional: _input, lists
options:
  _input:
    description: The first list.
    type: list
    elements: dict
    required: true
  lists:
    description: Lists to lay over it, in this order.
    type: list
    elements: list
    required: false
"""

EXAMPLES = r"""
- name: Add an account of this host to those of the site
  ansible.builtin.debug:
    msg: "{{ site_users | ds01.infra.merge_named(host_users) }}"
"""

RETURN = r"""
_value:
  description: One list with every name once.
  type: list
  elements: dict
"""

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        held = merged.get(key)
        merged[key] = _merge(held, value) if isinstance(held, Mapping) and isinstance(value, Mapping) else value
    return merged


def merge_named(first: list[dict[str, Any]], *lists: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One list with every name once; raises AnsibleFilterError naming the element that has no name or has it twice in one list."""
    merged: dict[str, dict[str, Any]] = {}
    for position, elements in enumerate((first, *lists), start=1):
        if not isinstance(elements, list):
            raise AnsibleFilterError(f"merge_named: list {position} is {elements!r}; it must be a list of dicts with 'name'")
        seen: set[str] = set()
        for element in elements:
            name = element.get("name") if isinstance(element, Mapping) else None
            if not isinstance(name, str) or not name:
                raise AnsibleFilterError(f"merge_named: list {position} has an element without a 'name': {element!r}")
            if name in seen:
                raise AnsibleFilterError(f"merge_named: list {position} has the name {name!r} twice")
            seen.add(name)
            merged[name] = _merge(merged.get(name, {}), element)
            if element.get("state") == "ignore":
                del merged[name]
    return list(merged.values())


class FilterModule:
    """The filter under its name."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name and function."""
        return {"merge_named": merge_named}
