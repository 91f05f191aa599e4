# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Makes and starts a container for a day's work; when it can't be started, it is not left behind."""

from __future__ import annotations

import os
import pwd
from typing import Any

from ds01.core.gate.create_rules import check_new_name
from ds01.core.gate.verdict import Stop
from ds01.core.launch_request import Launch, container_body
from ds01.core.user_names import container_prefix

from .docker_calls import PATIENT_S, Refused, call, container_target, query
from .failure import Failure


class NameTaken(Refused):
    """Another container has that name."""


def usual_name() -> str:
    """A container name that nobody else's can be: ``alice.work``."""
    return f"{container_prefix(user_name(), os.getuid())}work"


def checked_name(name: str) -> str:
    """The name, if a container may be called so; raises Failure."""
    try:
        check_new_name(name)
    except Stop as error:
        raise Failure(str(error), "letters, digits, '_', '.' and '-', such as " + usual_name()) from None
    return name


def user_name() -> str:
    """The caller's name; raises Failure."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        raise Failure(f"the user database knows no uid {os.getuid()}", "tell an administrator") from None


def launch(name: str, image: str, workspace: str, gpu: str | None, wait: str | None = None) -> dict[str, Any]:
    """Create and start it; its name and id. Raises Refused in the gate's words, with nothing left behind."""
    wanted = Launch(image, user_name(), os.getuid(), os.getgid(), workspace, gpu, wait)
    try:
        made = call("POST", f"/containers/create?{query(name=name)}", container_body(wanted))
    except Refused as refused:
        if refused.status == 404:
            raise Refused(
                404, f"there is no image {image} on this server. Yours: ds01 image list --shared; fetch one: docker pull {image}"
            ) from None
        if refused.status == 409:
            why = refused.why if "another user" in refused.why else f"you have a container {name} already."
            raise NameTaken(409, f"{why} Choose another name, or go on with yours: ds01 container start {name}") from None
        raise
    try:
        call("POST", container_target(made["Id"], "start"), seconds=PATIENT_S)
    except BaseException:
        call("DELETE", container_target(made["Id"], force=True))
        raise
    return {"container": name, "id": made["Id"], "image": image, "workspace": workspace, "gpu": gpu}
