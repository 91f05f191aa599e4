# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""What people write to ask for GPUs."""

from __future__ import annotations

import pytest

from ds01.core.gpu_request import GpuRequest
from ds01.core.request_text import parse_request_text


@pytest.mark.parametrize(
    ("text", "request_"),
    [
        ("all", GpuRequest(everything=True)),
        ("ALL", GpuRequest(everything=True)),
        ("2", GpuRequest(2)),
        ("count=2", GpuRequest(2)),
        ("full", GpuRequest(full=True)),
        ("2, full", GpuRequest(2, full=True)),
        ("2g.10gb", GpuRequest(profile="2g.10gb")),
        ("2G.10GB", GpuRequest(profile="2g.10gb")),
        ("profile=1g.5gb+me", GpuRequest(profile="1g.5gb+me")),
        ("1g", GpuRequest(profile="1g")),
        ("2x1g.5gb", GpuRequest(2, "1g.5gb")),
        ("2 x 1g", GpuRequest(2, "1g")),
        ("2 × full", GpuRequest(2, full=True)),
        ("memory=20GiB", GpuRequest(memory_mib=20480)),
        ("memory=20G", GpuRequest(memory_mib=20480)),
        ("memory=1B", GpuRequest(memory_mib=1)),
        ("count=2,memory=5GiB", GpuRequest(2, memory_mib=5120)),
        ("uuid=GPU-1,uuid=MIG-2", GpuRequest(2, uuids=("GPU-1", "MIG-2"))),
    ],
)
def test_understood(text, request_):
    parsed = parse_request_text(text)
    assert (parsed == request_ and GpuRequest.parse(parsed.text()) == parsed) or parsed.uuids


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "'' is not understood"),
        ("three", "three"),
        ("0", "1 to 64"),
        ("65", "1 to 64"),
        ("٣", "not understood"),
        ("-1", "-1"),
        ("1,2", "count is given twice"),
        ("1g,2g", "profile is given twice"),
        ("all,2", "all stands alone"),
        ("full,1g", "full is a whole GPU"),
        ("memory=20", "unit"),
        ("memory=20GB", "memory='20GB'"),
        ("memory=0G", "more than nothing"),
        ("uuid=a b", "uuid=a b"),
        ("2,uuid=GPU-1", "2 devices asked for, 1 named"),
        ("profile=", "profile="),
        ("1g.5gb;rm", "1g.5gb;rm"),
    ],
)
def test_not_understood(text, says):
    with pytest.raises(ValueError, match="GPU request") as caught:
        parse_request_text(text)
    assert says in str(caught.value)
