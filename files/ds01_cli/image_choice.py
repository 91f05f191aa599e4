# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The wizard's question for an image: one of the person's own, one of everybody's, or a new one."""

from __future__ import annotations

import sys
from collections.abc import Callable

from ds01.core.image_catalogue import DEFAULT_FRAMEWORK, FRAMEWORKS, PRESETS
from ds01.core.image_definition import BadDefinition, ImageDefinition, define, slug

from . import image_store
from .failure import Failure
from .image_build import build_image
from .own_images import OwnImage, own_images, reference_of, shared_images
from .questions import asked, chosen, say

_ABOUT = (
    "An image is what a container begins with: a system, Python, and packages. Yours are kept, so that the next container starts at once."
)
_NEW = "make a new one"
_MOST_SHARED = 10


def choose_image(given: str | None, *, yes: bool, step: Callable[[int, str, str], None]) -> str:
    """The image to start with. With ``yes``: the person's newest, else one of everybody's. Raises Failure where there is none."""
    step(3, "An image", _ABOUT)
    if given is not None:
        print(f"You named {given}.")
        return given
    own, shared = own_images(), shared_images()
    built = sorted((one for one in own if one.id), key=lambda one: -(one.created or 0))
    if yes:
        found = (*built, *shared)
        if not found:
            raise Failure(
                "there is no image to start with", "make one: ds01 image build work --preset ml; or name one: ds01 setup --image IMAGE"
            )
        print(f"Taken: {found[0].ref}")
        return found[0].ref
    print(f"You have {len(own)} image{'s' if len(own) > 1 else ''} here." if own else "You have no images yet.")
    while True:
        try:
            return _picked(own, shared[:_MOST_SHARED])
        except Failure as failure:
            say(failure)


def _picked(own: list[OwnImage], shared: list[OwnImage]) -> str:
    options = [(one.ref.removesuffix(":latest"), _about(one)) for one in own]
    options += [(one.ref, one.description or "for everybody") for one in shared]
    options.append((_NEW, "framework and packages of your choice; takes some minutes"))
    position = chosen("Which image", options)
    if position == len(options) - 1:
        return _new()
    picked = (*own, *shared)[position]
    if picked.definition is not None and picked.state in ("not built", "changed"):
        return _built(picked.definition)
    if not picked.id:
        raise Failure(f"{picked.ref} has a definition that can't be read", f"see {image_store.directory()}")
    return picked.ref


def _about(image: OwnImage) -> str:
    state = {
        "changed": "its definition is newer: is built first",
        "not built": "is built first",
        "unreadable": "its definition can't be read",
    }
    words = [image.description or image.name, state.get(image.state, "")]
    return "yours: " + "; ".join(word for word in words if word)


def _new() -> str:
    def check(name: str) -> str:
        try:
            found = slug(name)
        except BadDefinition as error:
            raise Failure(error.why, error.instead) from None
        if image_store.read(found) is not None:
            raise Failure(f"you have an image {found} already", "choose another name")
        return name

    name = asked("What do you call it", "work", check)
    frameworks = [(key, framework.meaning) for key, framework in FRAMEWORKS.items()]
    framework = frameworks[chosen("Begin with", frameworks, list(FRAMEWORKS).index(DEFAULT_FRAMEWORK))][0]
    presets = [*((key, preset.meaning) for key, preset in PRESETS.items()), ("none", "no packages yet")]
    preset = presets[chosen("Packages for", presets)][0]
    definition = define(name, framework=framework, preset=None if preset == "none" else preset)
    image_store.write(definition)
    return _built(definition)


def _built(definition: ImageDefinition) -> str:
    print(f"Building {reference_of(definition.slug)} from {definition.base} ...", flush=True)
    build_image(definition, log=sys.stdout)
    return reference_of(definition.slug)
