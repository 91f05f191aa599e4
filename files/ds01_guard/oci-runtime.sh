#!/bin/sh
# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
# The default OCI runtime. create and run are checked by the guard; exec is looked through for the name of the capability that a
# privileged exec would bring, and checked where it stands or the file cannot be read; everything else goes to runc untouched and unslowed.
# The words before the sub-command are runc's global options.
runtime=/usr/bin/runc
[ -x "$runtime" ] || runtime=/usr/sbin/runc
value_follows=
command=
process=
for word in "$@"; do
    if [ "$value_follows" = process ]; then process=$word; break; fi
    if [ -n "$value_follows" ]; then value_follows=; continue; fi
    case $command:$word in
        :--root|:--log|:--log-format|:--criu|:--rootless) value_follows=option ;;
        :-*) ;;
        :create|:run|:restore) exec /usr/bin/python3 -I -S "${0%/*}/start.py" "$runtime" "$@" ;;
        :exec) command='exec' ;;
        :*) break ;;
        exec:--process|exec:-p) value_follows=process ;;
        exec:--process=*) process=${word#--process=}; break ;;
    esac
done
if [ -n "$process" ]; then
    grep -qs '"CAP_SYS_ADMIN"' "$process"
    [ $? -eq 1 ] || exec /usr/bin/python3 -I -S "${0%/*}/start.py" --exec "$process" "$runtime" "$@"
fi
exec "$runtime" "$@"
