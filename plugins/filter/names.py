# Copyright (c) ds01.infra contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter over people's names."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.ds01.infra.plugins.module_utils.core import user_names


def safe_name(user: Any, uid: Any) -> str:
    """The one name made from a person's name and uid for images, containers, hosts, networks and directories."""
    if not isinstance(user, str) or isinstance(uid, bool) or not isinstance(uid, int):
        raise AnsibleFilterError(
            f"safe_name: {user!r}, {uid!r}: expected a user name and a uid, as in: 'h.baker' | ds01.infra.safe_name(20002)"
        )
    try:
        return user_names.safe_name(str(user), int(uid))
    except ValueError as error:
        raise AnsibleFilterError(f"safe_name: {error}") from error


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Any]:
        """Name → function."""
        return {"safe_name": safe_name}
