# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
# Completion for ds01. The script is made by the release in force, so that it knows the commands of that one.
# shellcheck shell=bash
# shellcheck source=/dev/null
[ -x /usr/local/bin/ds01 ] && source <(/usr/local/bin/ds01 completion bash)
