# SPDX-License-Identifier: MIT
"""A virtual lab server: Debian 13 with systemd, Docker and real users, in QEMU on this machine."""
