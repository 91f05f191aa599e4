# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""POST /containers/create: the body is built here, from the fields that ``create_fields`` lets through and the rules beside it."""

from __future__ import annotations

from typing import Any

from .. import slice_names
from ..claim import cdi_name
from ..refusal import Refusal
from . import container_network, default_network, gpu_rules, label_rules, mount_rules, mount_wishes, namespace_rules, resource_rules
from .body_fields import check_count, read
from .case import Case
from .create_fields import CREATE
from .facts import ContainerFact, Image, ImageFact
from .image_names import canonical
from .image_platform import check_use
from .ownership import owns_container, usable_image
from .path import is_image_name, is_name, looks_like_id
from .rebuild import forward
from .storage_rules import check_volumes
from .verdict import Effect, Forward, Stop

_COPIED = [
    "Hostname",
    "Domainname",
    "User",
    "AttachStdin",
    "AttachStdout",
    "AttachStderr",
    "Tty",
    "OpenStdin",
    "StdinOnce",
    "Cmd",
    "ArgsEscaped",
    "Healthcheck",
    "WorkingDir",
    "Entrypoint",
    "NetworkDisabled",
    "StopSignal",
    "Shell",
]
_COPIED_HOST = ["Dns", "DnsOptions", "DnsSearch", "ExtraHosts", "AutoRemove", "ReadonlyRootfs", "Init", "ConsoleSize"]
_LONGEST_STOP = 3600


def create_container(case: Case) -> Forward:
    """The create request with everything the gate sets: labels, slice, GPU, limits, mounts, log, network."""
    asked = read(case.body, CREATE)
    host: dict[str, Any] = asked.pop("HostConfig", {})
    nets = default_network.endpoints_of(case, asked.get("NetworkingConfig", {}).get("EndpointsConfig", {}))
    mode = default_network.mode_of(case, host.get("NetworkMode", ""))
    bridge = default_network.needed(case, mode)
    wishes = mount_wishes.read_wishes(host)
    ref = asked.get("Image", "")
    name = case.request.query.get("name") or ""
    _check_names(ref, name)
    case.facts.require(
        ImageFact(canonical(ref)),
        *([ContainerFact(name)] if name else []),
        *namespace_rules.container_refs(host),
        *container_network.questions("" if mode.startswith("container:") else mode, nets),
        *mount_rules.questions(case, wishes),
    )
    if name:
        refuse_foreign_name(case, name)
    labels = asked.get("Labels", {})
    gpu = gpu_rules.asked(host.get("DeviceRequests", []), asked.get("Env", []), labels.get(gpu_rules.ASK_LABEL))
    if gpu is not None:
        gpu_rules.refuse_impossible(gpu, case.limits.gpu)
    claim = case.context.new_claim_id if gpu is not None else None
    built_host = _host_config(case, host, claim, mode)
    image = usable_image(case, ref)
    check_use(case, ref, image, case.request.query.get("platform") or "")
    body: dict[str, Any] = {key: asked[key] for key in _COPIED if key in asked}
    body["Image"] = ref
    body["Env"] = gpu_rules.clean_environment(asked.get("Env", []))
    body["Labels"] = label_rules.container_labels(case, labels, image.labels, claim, gpu)
    if "StopTimeout" in asked:
        body["StopTimeout"] = min(max(asked["StopTimeout"], 0), _LONGEST_STOP)
    if "ExposedPorts" in asked:
        body["ExposedPorts"] = container_network.exposed_ports(asked["ExposedPorts"])
    if host.get("PublishAllPorts"):
        exposed = [*body.get("ExposedPorts", ()), *image.ports]
        built_host["PortBindings"] = container_network.publish_all(exposed, built_host.get("PortBindings", {}))
    effects = _mounts(case, asked, host, wishes, image, body, built_host)
    body["HostConfig"] = built_host
    if nets:
        body["NetworkingConfig"] = {"EndpointsConfig": container_network.endpoints(case, nets)}
    params = {"name": name or None, "platform": case.request.query.get("platform") or None}
    return forward(case, params=params, body=body, newest=True, before=(*bridge, *effects))


def refuse_foreign_name(case: Case, name: str) -> None:
    """409 when another person's container has that name."""
    there = case.facts.container(name)
    if there is not None and there.name == name and not owns_container(case.identity, there):
        raise Stop(
            409,
            f'Conflict. The container name "/{name}" is already in use by another user of this server. '
            "Choose another name; for compose set COMPOSE_PROJECT_NAME.",
            "foreign-name",
        )


def check_new_name(name: str) -> None:
    """400 for a name that is none, or that could be taken for an id."""
    if not is_name(name) or len(name) < 2:
        raise Stop(400, f"Invalid container name ({ascii(name)[1:-1][:80]}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed", "container-name")
    if looks_like_id(name):
        raise Stop(400, f"container name {name} is refused: it looks like a container id. Choose another name.", "name-like-id")


def _check_names(ref: str, name: str) -> None:
    if not is_image_name(ref):
        raise Stop(400, f"Image is {ascii(ref)[:80]}; expected an image reference.", "image-name")
    if name:
        check_new_name(name)


def _host_config(case: Case, host: dict[str, Any], claim: str | None, mode: str) -> dict[str, Any]:
    """HostConfig but for the mounts."""
    uid = case.identity.uid
    if host.get("VolumeDriver", "local") != "local":
        raise Refusal(
            f"HostConfig.VolumeDriver = {ascii(host['VolumeDriver'])[:60]} is refused",
            "only local volumes exist here",
            "Leave it out.",
            rule="volume-driver",
        )
    built: dict[str, Any] = {key: host[key] for key in _COPIED_HOST if key in host}
    built["CgroupParent"] = slice_names.nogpu_slice(uid) if claim is None else slice_names.claim_slice(uid, claim)
    if claim is not None:
        built["DeviceRequests"] = [{"Driver": "cdi", "DeviceIDs": [cdi_name(claim)]}]
    built.update(resource_rules.container_resources(host, case.limits.container, case.context.host_cpus))
    built.update(resource_rules.layer_size(case.limits.container, case.context.layer_quotas))
    built["LogConfig"] = resource_rules.log_config(host.get("LogConfig", {}))
    built["RestartPolicy"] = resource_rules.restart_policy(host.get("RestartPolicy", {}))
    built.update(namespace_rules.modes(case, host))
    built.update(namespace_rules.capabilities(host))
    built.update(namespace_rules.security_options(host))
    built.update(namespace_rules.groups(case, host))
    built["NetworkMode"] = container_network.network_mode(case, mode)
    if "PortBindings" in host:
        built["PortBindings"] = container_network.port_bindings(host["PortBindings"])
    if "Links" in host:
        built["Links"] = namespace_rules.links(case, host["Links"], "HostConfig.Links")
    if "VolumesFrom" in host:
        built["VolumesFrom"] = namespace_rules.volumes_from(case, host)
    if "Tmpfs" in host:
        built["Tmpfs"] = mount_wishes.check_tmpfs(host["Tmpfs"])
    return built


def _mounts(
    case: Case,
    asked: dict[str, Any],
    host: dict[str, Any],
    wishes: list[mount_wishes.Wish],
    image: Image,
    body: dict[str, Any],
    built_host: dict[str, Any],
) -> list[Effect]:
    """Sets Mounts. The effects they need."""
    mounts, effects = mount_rules.place(case, wishes)
    volumes = asked.get("Volumes", {})
    check_count(volumes, mount_wishes.MOST_MOUNTS, "Volumes")
    # An own mount would hide one that is taken over from another container.
    others = [case.facts.container(item.partition(":")[0]) for item in host.get("VolumesFrom", ())]
    over = [str(mount.get("Destination", "")) for other in others if other is not None for mount in other.mounts]
    taken = [*(wish.target for wish in wishes), *built_host.get("Tmpfs", ()), *over]
    mounts += mount_rules.anonymous(case, volumes, image, taken)
    check_volumes(case, mount_rules.new_volumes(mounts, effects))
    if mounts:
        built_host["Mounts"] = mounts
    return effects
