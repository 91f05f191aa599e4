# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Entry of the NVML worker, run with -I: finds the release it lies in."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.realpath(__file__))))

from ds01_watch.gpu_worker import work

sys.exit(work(float(sys.argv[1]), *sys.argv[2:3]))
