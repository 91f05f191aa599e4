# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Asks this host's Prometheus for one moment's values. Only root may: others are refused by the kernel, because it tells of everybody."""

from __future__ import annotations

import http.client
import json
import urllib.parse
import urllib.request

PROMETHEUS = "http://127.0.0.1:9090"
_LIMIT = 16 * 1024 * 1024
_NO_PROXY = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class PrometheusUnavailable(Exception):
    """It does not answer, or not with what was asked for; the message says what came instead."""


def by_label(query: str, label: str, base: str = PROMETHEUS, timeout: float = 20.0) -> dict[str, float]:
    """The values of an instant query by the value of one label; raises PrometheusUnavailable."""
    address = f"{base}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
    try:
        with _NO_PROXY.open(address, timeout=timeout) as answer:
            data = answer.read(_LIMIT + 1)
        if len(data) > _LIMIT:
            raise PrometheusUnavailable(f"{base}: the answer is longer than {_LIMIT} bytes")
        document = json.loads(data)
        if document["status"] != "success":
            raise PrometheusUnavailable(f"{base}: {document['status']}")
        found = {str(one["metric"][label]): float(one["value"][1]) for one in document["data"]["result"] if label in one["metric"]}
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError, IndexError, RecursionError) as error:
        raise PrometheusUnavailable(f"{base}: {error}") from error
    return {name: value for name, value in found.items() if value == value}  # NaN is not equal to itself
