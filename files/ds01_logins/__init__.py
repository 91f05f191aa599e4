# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The day's logins and started programs, kept as a file a day and mailed to the administrators."""
