# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""ds01-splice: keeps hijacked and endless streams alive while the gate is restarted or killed."""
