# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Holds people to the disk space that the policy gives them, on every filesystem that can count it."""
