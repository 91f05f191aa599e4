# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The gate with slices that are files, for hosts without systemd: what a killed gate leaves open can be seen then.

python gate_with_slices.py DIRECTORY [the gate's own arguments]
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

import ds01_gate.gate as gate_program
from ds01_gate.__main__ import main

from tests.slices_on_disk import SlicesOnDisk

if __name__ == "__main__":
    slices = SlicesOnDisk(Path(sys.argv.pop(1)))
    gate_program._slices = lambda settings, cgroups: slices
    sys.exit(main())
