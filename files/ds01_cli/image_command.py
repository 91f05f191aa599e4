# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""``ds01 image``: images of your own: build them from a list of packages, change the list, build again."""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Any

from ds01.core.dockerfile import dockerfile
from ds01.core.image_catalogue import DEFAULT_FRAMEWORK, FRAMEWORKS, PRESETS
from ds01.core.image_definition import BadDefinition, ImageDefinition, define

from . import image_store
from .docker_calls import Refused, call
from .failure import Failure
from .image_build import build_image, users_of_older
from .image_changes import changed, edited, requirements_of
from .own_images import OwnImage, own_images, reference_of, shared_images, slug_of
from .questions import confirmed, interactive
from .screen import columns, duration, paint, size, table

_COLOURS = {"changed": "yellow", "not built": "yellow", "unreadable": "red"}


def register(subparsers: Any) -> None:
    """Add the command and its actions."""
    parser = subparsers.add_parser("image", help="images of your own", description=__doc__.split("\n")[0])
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    building = actions.add_parser("build", help="make an image", description="make an image of your own, and keep its definition")
    building.add_argument("name", metavar="NAME", help="what you call it, in your own words; quote it if it has blanks")
    _what(building)
    building.add_argument("--packages", nargs="+", action="extend", default=[], metavar="PACKAGE", help="Python packages, as for pip")
    building.add_argument("--system", nargs="+", action="extend", default=[], metavar="PACKAGE", help="system packages, as for apt")
    building.add_argument("--yes", action="store_true", help="accepted, as by the other commands; building asks nothing")
    building.add_argument("--no-build", action="store_true", help="keep the definition and build later")
    _how(building)
    building.set_defaults(run=_build)
    updating = actions.add_parser(
        "update", help="change an image and build it again", description="change an image's definition and build it again"
    )
    updating.add_argument("name", metavar="IMAGE", help="as `ds01 image list` shows it")
    _what(updating)
    updating.add_argument("--add", nargs="+", action="extend", default=[], metavar="PACKAGE", help="add Python packages")
    updating.add_argument("--remove", nargs="+", action="extend", default=[], metavar="PACKAGE", help="remove Python packages")
    updating.add_argument("--add-system", nargs="+", action="extend", default=[], metavar="PACKAGE", help="add system packages")
    updating.add_argument("--remove-system", nargs="+", action="extend", default=[], metavar="PACKAGE", help="remove system packages")
    updating.add_argument("--edit", action="store_true", help="open the definition in $EDITOR")
    which = updating.add_mutually_exclusive_group()
    which.add_argument("--rebuild", "--yes", action="store_true", help="build without asking")
    which.add_argument("--no-rebuild", action="store_true", help="do not build now, and don't ask")
    _how(updating)
    updating.set_defaults(run=_update)
    listing = actions.add_parser("list", help="your images", description="your images, and whether they are as their definition says")
    listing.add_argument("--shared", action="store_true", help="also those that everybody may run")
    listing.add_argument("--json", action="store_true", help="print JSON")
    listing.set_defaults(run=_list)
    showing = actions.add_parser("show", help="an image's definition", description="an image's definition, and the Dockerfile made of it")
    showing.add_argument("name", metavar="IMAGE", help="as `ds01 image list` shows it")
    form = showing.add_mutually_exclusive_group()
    form.add_argument("--dockerfile", action="store_true", help="print only the Dockerfile")
    form.add_argument("--json", action="store_true", help="print the definition as JSON")
    showing.set_defaults(run=_show)
    removing = actions.add_parser("remove", help="remove an image and its definition", description="remove an image and its definition")
    removing.add_argument("name", metavar="IMAGE", help="as `ds01 image list` shows it")
    removing.add_argument("--keep-definition", action="store_true", help="so that it can be built again")
    removing.add_argument("--yes", action="store_true", help="don't ask")
    removing.add_argument("--json", action="store_true", help="print what was done as JSON")
    removing.set_defaults(run=_remove)


def _what(parser: argparse.ArgumentParser) -> None:
    begin = parser.add_mutually_exclusive_group()
    begin.add_argument("--base", metavar="REFERENCE", help="any image to begin with, such as python:3.12-slim")
    frameworks = ", ".join(FRAMEWORKS)
    begin.add_argument("--framework", metavar="NAME[:TAG]", help=f"begin with {frameworks} (default: {DEFAULT_FRAMEWORK})")
    presets = "; ".join(f"{name}: {preset.meaning}" for name, preset in PRESETS.items())
    parser.add_argument("--preset", choices=tuple(PRESETS), help=f"the usual packages of a field ({presets})")
    parser.add_argument("--requirements", metavar="FILE", help="a requirements.txt; its lines are kept in the definition")
    parser.add_argument("--description", metavar="TEXT", help="a line that tells what it is for")


def _how(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--no-cache", action="store_true", help="build every step anew, with the newest packages")
    parser.add_argument("--json", action="store_true", help="print the result as JSON; what the build says goes to standard error")


def _existing(name: str) -> ImageDefinition:
    slug = slug_of(name)
    found = image_store.read(slug)
    if found is None:
        raise Failure(f"there is no definition of an image {slug}", "ds01 image list; make one: ds01 image build NAME")
    return found


def _build(arguments: argparse.Namespace) -> int:
    slug = slug_of(arguments.name)
    there = image_store.read(slug)
    framework = arguments.framework if arguments.framework or arguments.base else DEFAULT_FRAMEWORK
    try:
        definition = define(
            arguments.name,
            base=arguments.base,
            framework=framework,
            preset=arguments.preset,
            packages=arguments.packages,
            system=arguments.system,
            requirements=requirements_of(arguments.requirements),
            description=arguments.description or "",
        )
    except BadDefinition as error:
        raise Failure(error.why, error.instead) from None
    if there is not None and there != definition:
        called = slug if there.name == slug else f"{slug} ({there.name})"
        raise Failure(
            f"you have an image {called} already, and it is defined otherwise",
            f"change it: ds01 image update {slug}; or choose another name",
        )
    image_store.write(definition)
    if arguments.no_build:
        return _tell(arguments, definition, "", f"Kept. Build it with: ds01 image update {slug} --rebuild")
    return _built(arguments, definition)


def _update(arguments: argparse.Namespace) -> int:
    before = _existing(arguments.name)
    after = edited(before) if arguments.edit else before
    after = changed(after, arguments)
    if after != before:
        image_store.write(after)
    state = next((one.state for one in own_images() if one.ref == reference_of(after.slug)), "not built")
    stale = state != "built" or arguments.no_cache
    said = "The definition is changed." if after != before else "The definition is as it was."
    if not arguments.json:
        print(said)
    if arguments.rebuild:
        return _built(arguments, after)
    later = f"Build it: ds01 image update {after.slug} --rebuild"
    if not stale:
        return _tell(arguments, after, "", f"The image is built from it already. With newer packages: {later[10:]} --no-cache")
    question = f"The image {after.slug} is {_in_words(state)}. Build it now?"
    asking = not arguments.no_rebuild and not arguments.json and interactive()
    if asking and confirmed(question, yes=False, default=True):
        return _built(arguments, after)
    return _tell(arguments, after, "", f"The image {after.slug} is {_in_words(state)}. {later}")


def _in_words(state: str) -> str:
    return {"changed": "older than its definition", "not built": "not built yet"}.get(state, "built")


def _tell(arguments: argparse.Namespace, definition: ImageDefinition, identity: str, text: str) -> int:
    ref = reference_of(definition.slug)
    if arguments.json:
        print(json.dumps({"image": ref, "built": bool(identity), "id": identity or None, "definition": definition.document()}, indent=2))
    else:
        print(text)
    return 0


def _built(arguments: argparse.Namespace, definition: ImageDefinition) -> int:
    ref = reference_of(definition.slug)
    if not arguments.json:
        print(paint(f"Building {ref} from {definition.base} ...", "bold"), flush=True)
    begun = time.monotonic()
    identity = build_image(definition, cache=not arguments.no_cache, log=sys.stderr if arguments.json else sys.stdout)
    text = [paint(f"Built {ref} in {duration(time.monotonic() - begun)}.", "green")]
    older = users_of_older(definition, identity)
    if older:
        text.append(f"Containers made before keep the older image: {', '.join(older)}. Remove them and start new ones to use this one.")
    text.append(f"Use it: docker run --rm -it --gpus all {ref.removesuffix(':latest')}")
    return _tell(arguments, definition, identity, "\n".join(text))


def render(images: list[OwnImage], now: float, width: int | None = None) -> str:
    """The table that a person sees."""
    rows = [
        [
            one.ref.removesuffix(":latest"),
            one.state,
            "" if one.size is None else size(one.size),
            "" if one.created is None else duration(max(0.0, now - one.created)),
            one.description or (one.name if one.name != one.ref else ""),
        ]
        for one in images
    ]
    colours = [_COLOURS.get(one.state) for one in images]
    return table(("IMAGE", "STATE", "SIZE", "AGE", "DESCRIPTION"), rows, colours, width, ("DESCRIPTION",))


def _list(arguments: argparse.Namespace) -> int:
    found = own_images() + (shared_images() if arguments.shared else [])
    if arguments.json:
        print(json.dumps([one.document() for one in found], indent=2))
        return 0
    if not found:
        print("You have no images. Make one: ds01 image build NAME --preset ml")
        return 0
    print(render(found, time.time(), columns()))
    if any(one.state in ("changed", "not built") for one in found):
        print("\nBuild what is not as its definition says: ds01 image update IMAGE --rebuild")
    return 0


def _show(arguments: argparse.Namespace) -> int:
    definition = _existing(arguments.name)
    if arguments.json:
        print(json.dumps(definition.document(), indent=2))
        return 0
    text = dockerfile(definition)
    if not arguments.dockerfile:
        print(f"{definition.name}: {definition.description}" if definition.description else definition.name)
        print(f"{reference_of(definition.slug)}, defined in {image_store.path_of(definition.slug)}\n")
    print(text, end="")
    return 0


def _remove(arguments: argparse.Namespace) -> int:
    slug = slug_of(arguments.name)
    ref = reference_of(slug)
    what = "the image" if arguments.keep_definition else "the image and its definition"
    if not confirmed(f"Remove {what} {slug}?", yes=arguments.yes):
        print("Nothing is removed.")
        return 1
    image = definition = False
    try:
        call("DELETE", f"/images/{ref}")
        image = True
    except Refused as refused:
        if refused.status == 409:
            raise Failure(
                f"{slug} is in use: {refused.why}", "remove its containers first: ds01 container list --filter image=" + slug
            ) from None
        if refused.status != 404:
            raise
    if not arguments.keep_definition:
        definition = image_store.remove(slug)
    if not image and not definition:
        raise Failure(f"there is no image {slug} of yours", "ds01 image list")
    if arguments.json:
        print(json.dumps({"image": ref, "removed": image, "definition_removed": definition}, indent=2))
    else:
        print(f"removed {slug}" + (" (it had not been built)" if not image else ""))
    return 0
