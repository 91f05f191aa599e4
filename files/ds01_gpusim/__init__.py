# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Drives simulated GPUs: the state file that the simulated libnvidia-ml.so.1 reads, device nodes, and what else a driver would publish.

Standard library only, and independent of the rest of the collection: it is installed beside the library, not with the programs.
"""
