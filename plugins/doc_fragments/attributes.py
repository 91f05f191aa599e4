# Copyright (c) ds01.infra contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the documentation of every module says about check mode, diff mode and idempotence."""

from __future__ import annotations


class ModuleDocFragment:
    """Fragments C(ds01.infra.attributes) and C(ds01.infra.attributes.facts)."""

    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in check mode and return what would be changed, predicted, under the same keys.
    support: full
  diff_mode:
    description: Returns details on what has changed, or would be changed, in diff mode.
    support: full
  idempotent:
    description: When run again with the same options and nothing else changed, reports no change.
    support: full
  platform:
    description: The systems that it runs on.
    platforms: linux
    support: full
"""

    INFO = r"""
options: {}
attributes:
  check_mode:
    description: Can run in check mode; reads only, so that it does the same.
    support: full
  diff_mode:
    description: Returns details on what has changed in diff mode.
    support: N/A
    details: Changes nothing.
  idempotent:
    description: When run again with the same options and nothing else changed, reports no change.
    support: full
  platform:
    description: The systems that it runs on.
    platforms: linux
    support: full
"""
