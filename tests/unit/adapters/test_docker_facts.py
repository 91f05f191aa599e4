# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""What the gate's look-ups make of dockerd's answers."""

from __future__ import annotations

from typing import Any, cast

import pytest

from ds01.caller_paths import CallerPaths, Rights
from ds01.core.gate.facts import ContainerFact, NetworkFact
from ds01.docker_facts import DockerFacts
from ds01.docker_upstream import DaemonRefused, DockerClient
from ds01.image_tags import ImageTags

NOBODY = Rights(5001, 5001, ())


class Refusing:
    """A daemon that refuses every look with one status."""

    def __init__(self, status: int) -> None:
        self.status = status

    def find(self, target: str) -> Any:
        if self.status == 404:
            return None
        raise DaemonRefused(self.status, f"{target}: multiple IDs found with provided prefix")


def facts(status: int) -> DockerFacts:
    return DockerFacts(cast("DockerClient", Refusing(status)), cast("CallerPaths", None), cast("ImageTags", None))


@pytest.mark.parametrize("question", [ContainerFact("ab"), NetworkFact("ab")])
def test_the_beginning_of_several_ids_means_nothing(question: ContainerFact | NetworkFact) -> None:
    assert facts(400).answer(question, NOBODY) is None
    assert facts(404).answer(question, NOBODY) is None
    with pytest.raises(DaemonRefused):
        facts(500).answer(question, NOBODY)
