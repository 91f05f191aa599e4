# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Filters of ``ds01 container list`` and ``stats``."""

from __future__ import annotations

import pytest

from ds01.core.container_filter import BadFilter, Subject, parse_filters

SLICE = Subject("train-1", "running", "alice/work:latest", (("GPU-abc", "1g.10gb"),), "shop")
WHOLE = Subject("big", "paused", "pytorch/pytorch:2.5", (("GPU-def", None),))
PLAIN = Subject("web", "exited", "nginx")
ALL = {"train-1": SLICE, "big": WHOLE, "web": PLAIN}


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ([], {"train-1", "big", "web"}),
        (["name=train"], {"train-1"}),
        (["name=TRAIN*"], {"train-1"}),
        (["name=t*", "name=w*"], {"train-1", "web"}),
        (["name=t*", "state=exited"], set()),
        (["state=running"], {"train-1"}),
        (["status=paused"], {"big"}),
        (["state=stopped"], {"web"}),
        (["image=work"], {"train-1"}),
        (["image=pytorch/*"], {"big"}),
        (["gpu=yes"], {"train-1", "big"}),
        (["gpu=no"], {"web"}),
        (["gpu=1g.10gb"], {"train-1"}),
        (["gpu=full"], {"big"}),
        (["gpu=gpu-d"], {"big"}),
        (["gpu=1g"], set()),
        (["project=shop"], {"train-1"}),
        (["project=*"], {"train-1"}),
    ],
)
def test_filters(texts: list[str], expected: set[str]) -> None:
    filters = parse_filters(texts)
    assert {name for name, subject in ALL.items() if filters.match(subject)} == expected


@pytest.mark.parametrize("text", ["", "name", "name=", "=x", "color=red", "state=asleep", "name = "])
def test_what_is_no_filter_is_refused_with_what_would_be_right(text: str) -> None:
    with pytest.raises(BadFilter) as caught:
        parse_filters([text])
    assert "name, state, image, gpu, project" in caught.value.instead or "running" in caught.value.instead
