# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""ds01-gate: everybody's door to dockerd. It parses, judges, and forwards requests of its own making."""
