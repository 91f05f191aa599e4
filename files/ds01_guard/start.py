# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Entry of the runtime guard. Run with -I -S: nothing outside the release and the standard library is imported."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.realpath(__file__))))

from ds01_guard.main import refused

if refused(sys.argv[1:]):
    sys.exit(1)
os.execv(sys.argv[1], sys.argv[1:])
