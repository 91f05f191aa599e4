# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Reads a policy as an admin keeps it: YAML or JSON, by itself or as ``ds01_policy`` among other variables of an inventory."""

from __future__ import annotations

from typing import Any

from ds01.core.policy_problems import PolicyError, Problem
from ds01.policy_file import parse_json

VARIABLE = "ds01_policy"


def read_document(path: str) -> object:
    """The policy in the file, not yet checked; raises PolicyError for what can't be read or parsed, or for a key that stands twice."""
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError as error:
        raise _unreadable(path, f"can't be read: {error.strerror}") from error
    document = parse_json(content, path) if path.endswith(".json") else _parse_yaml(content, path)
    if isinstance(document, dict) and VARIABLE in document:
        return document[VARIABLE]
    return document


def _unreadable(path: str, message: str) -> PolicyError:
    return PolicyError(path, [Problem("", "", message)])


def _parse_yaml(content: bytes, path: str) -> object:
    try:
        import yaml
    except ImportError as error:
        raise _unreadable(path, "is YAML, and this Python has no PyYAML; expected JSON, or ds01 run with its own environment") from error

    class Loader(yaml.SafeLoader):
        """YAML without code, in which a key may stand only once in a mapping."""

    def mapping(loader: Any, node: Any) -> dict[Any, Any]:
        written = [loader.construct_object(key, deep=True) for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        for position, key in enumerate(written):
            if key in written[:position]:
                where = f"line {node.start_mark.line + 1}: in the mapping that begins here"
                raise yaml.constructor.ConstructorError(None, None, f"{where}, the key {key!r} stands twice; expected it once")
        loader.flatten_mapping(node)
        return {loader.construct_object(key, deep=True): loader.construct_object(value, deep=True) for key, value in node.value}

    Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, mapping)
    try:
        return yaml.load(content, Loader)
    except (yaml.YAMLError, UnicodeDecodeError, TypeError) as error:
        raise _unreadable(path, f"is not YAML: {' '.join(str(error).split())}") from error
