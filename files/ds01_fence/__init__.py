# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Keeps GPUs to containers, but for those who may use them outside, for as long as they may."""
