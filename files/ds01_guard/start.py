# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Entry of the runtime guard. Run with -I -S: nothing outside the release and the standard library is imported."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.realpath(__file__))))

from ds01_guard.main import exec_refused, refused

arguments = sys.argv[1:]
if arguments[0] == "--exec":
    process_file, *arguments = arguments[1:]
    stop = exec_refused(process_file, arguments)
else:
    stop = refused(arguments)
if stop:
    sys.exit(1)
os.execv(arguments[0], arguments)
