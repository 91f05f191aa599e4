# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Runs on the server: starts a workload and says how long it took to be in the inventory.

python3 seconds_until_listed.py COMMAND NAME      (NAME is a container's, or the pid of a process; prints JSON)
"""

import json
import subprocess
import sys
import time

INVENTORY = "/run/ds01/inventory.json"
LIMIT_S = 90.0


def listed(name: str) -> dict[str, object] | None:
    """The workload with that name or process, as the inventory stands."""
    with open(INVENTORY, encoding="utf-8") as stream:
        workloads = json.load(stream)["workloads"]
    for workload in workloads:
        if workload["name"] == name or workload["container_id"] == name or any(str(p["pid"]) == name for p in workload["processes"]):
            return dict(workload)
    return None


def main(command: str, name: str) -> None:
    """Time counts from the end of the command: by then the workload runs. Seen before that is seen after 0 s."""
    subprocess.run(command, shell=True, check=True, stdout=subprocess.DEVNULL)  # noqa: S602
    begin = time.monotonic()
    while True:
        found = listed(name)
        seconds = time.monotonic() - begin
        if found is not None:
            print(json.dumps({"seconds": seconds, "workload": found}))
            return
        if seconds > LIMIT_S:
            sys.exit(f"{name} is not in the inventory after {LIMIT_S:.0f} s")
        time.sleep(0.05)


if __name__ == "__main__":
    main(*sys.argv[1:])
