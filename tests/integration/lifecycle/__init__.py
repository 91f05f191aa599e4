# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
