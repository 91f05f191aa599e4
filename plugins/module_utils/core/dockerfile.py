# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The Dockerfile of an image definition.

Commands stand in exec form (a JSON array), which no shell reads and in which the builder expands nothing; where a shell is needed its
text is constant and the packages are its arguments. The only free text, name and description, stands in labels in double quotes.
Rules: https://docs.docker.com/reference/dockerfile/ (shell and exec form; LABEL; environment replacement, which LABEL takes part in).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from .image_definition import ImageDefinition

TITLE_LABEL = "org.opencontainers.image.title"
DESCRIPTION_LABEL = "org.opencontainers.image.description"
# The OCI's key for the revision of what an image is made from: here the definition's fingerprint.
REVISION_LABEL = "org.opencontainers.image.revision"
REQUIREMENTS_FILE = "requirements.txt"
_REQUIREMENTS_PATH = f"/usr/local/share/ds01/{REQUIREMENTS_FILE}"
_APT = 'apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends -- "$@" && rm -rf /var/lib/apt/lists/*'
_PIP = ("python3", "-m", "pip", "install")
# PEP 668: the image is the environment, so that a base which marks its Python as the distribution's own is not left out.
_PIP_SETTINGS = "PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_BREAK_SYSTEM_PACKAGES=1 PIP_ROOT_USER_ACTION=ignore"


def quoted(text: str) -> str:
    """``text``, which has no line break, as one word of LABEL or ENV that the builder reads back as it is."""
    if "\n" in text or "\r" in text:
        raise ValueError(f"{text!r} has a line break, which no word of a Dockerfile can hold")
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$") + '"'


def _run(words: Sequence[str]) -> str:
    return "RUN " + json.dumps(list(words))


def _label(labels: Mapping[str, str]) -> str:
    return "LABEL " + " ".join(f"{key}={quoted(value)}" for key, value in labels.items() if value)


def labels(definition: ImageDefinition) -> dict[str, str]:
    """What the image says about itself."""
    return {
        TITLE_LABEL: definition.name,
        DESCRIPTION_LABEL: definition.description,
        REVISION_LABEL: definition.fingerprint(),
    }


def dockerfile(definition: ImageDefinition) -> str:
    """The text. What changes seldom stands first, so that a rebuild takes the layers before it from the cache."""
    lines = [f"# Made by: ds01 image build. Change it with: ds01 image update {definition.slug}", f"FROM {definition.base}"]
    packages = definition.all_packages()
    if definition.system:
        lines.append(_run(["/bin/sh", "-c", _APT, "apt", *definition.system]))
    if packages or definition.requirements:
        lines.append(f"ENV {_PIP_SETTINGS}")
    if packages:
        lines.append(_run([*_PIP, *packages]))
    if definition.requirements:
        lines.append(f"COPY {REQUIREMENTS_FILE} {_REQUIREMENTS_PATH}")
        lines.append(_run([*_PIP, "-r", _REQUIREMENTS_PATH]))
    lines.append(_label(labels(definition)))
    return "\n".join(lines) + "\n"


def context_files(definition: ImageDefinition) -> dict[str, bytes]:
    """The files that the builder gets, by name."""
    files = {"Dockerfile": dockerfile(definition).encode()}
    if definition.requirements:
        files[REQUIREMENTS_FILE] = ("\n".join(definition.requirements) + "\n").encode()
    return files
