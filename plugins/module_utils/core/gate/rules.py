# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The rule functions by the names that the table of routes uses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from . import build_rules, container_rules, create_rules, daemon_rules, exec_rules, image_rules, list_rules, network_rules, volume_rules
from .case import Case
from .verdict import Verdict

Rule = Callable[[Case], Verdict]

RULES: Mapping[str, Rule] = MappingProxyType(
    {
        rule.__name__: rule
        for rule in (
            daemon_rules.plain,
            daemon_rules.unversioned,
            daemon_rules.registry_login,
            daemon_rules.no_plugins,
            daemon_rules.no_swarm,
            daemon_rules.denied,
            list_rules.events,
            list_rules.list_containers,
            list_rules.prune_containers,
            list_rules.list_images,
            list_rules.prune_images,
            list_rules.prune_builds,
            list_rules.list_networks,
            list_rules.prune_networks,
            list_rules.list_volumes,
            list_rules.prune_volumes,
            create_rules.create_container,
            container_rules.container,
            container_rules.start_container,
            container_rules.remove_container,
            container_rules.rename_container,
            container_rules.update_container,
            exec_rules.create_exec,
            exec_rules.start_exec,
            exec_rules.exec_instance,
            image_rules.image,
            image_rules.pull_or_import,
            image_rules.load_images,
            image_rules.tag_image,
            image_rules.commit,
            image_rules.remove_image,
            image_rules.push_image,
            image_rules.save_image,
            image_rules.save_images,
            build_rules.build,
            build_rules.cancel_build,
            build_rules.buildkit,
            network_rules.create_network,
            network_rules.inspect_network,
            network_rules.remove_network,
            network_rules.connect_network,
            network_rules.disconnect_network,
            volume_rules.create_volume,
            volume_rules.volume,
        )
    }
)
