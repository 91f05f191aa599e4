# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Stops and removes containers through dockerd. Nothing here signals a process or touches a GPU: dockerd ends a container as its image
says, and what it held is given back by who gave it.

Several at once, each in a thread, with a wait that ends: dockerd goes on with a stop that nobody waits for any more, and the next sweep
sees whether it came about.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping
from enum import Enum

from ds01.docker_upstream import DaemonRefused, DaemonUnavailable, DockerClient, segment

WAIT_S = 20.0


class Outcome(str, Enum):
    """``PENDING``: dockerd has been asked and has not answered in time. ``GONE``: there is no such container any more."""

    DONE = "done"
    GONE = "gone"
    PENDING = "pending"


Result = Outcome | str
"""An outcome, or in words why it failed."""


def stop(docker: DockerClient, container_id: str, grace: int) -> Result:
    """Ask dockerd to stop a container and to kill it after ``grace`` seconds."""
    return _ask(lambda: docker.call("POST", f"/containers/{segment(container_id)}/stop?t={int(grace)}"))


def remove(docker: DockerClient, container_id: str) -> Result:
    """Ask dockerd to remove a container that does not run; one that was started in between stays, and that is a failure in words."""
    return _ask(lambda: docker.call("DELETE", f"/containers/{segment(container_id)}"))


def _ask(call: Callable[[], object]) -> Result:
    try:
        call()
        return Outcome.DONE
    except DaemonRefused as error:
        return Outcome.GONE if error.status == 404 else str(error)
    except DaemonUnavailable as error:
        return Outcome.PENDING if isinstance(error.__cause__, TimeoutError) else str(error)


def all_at_once(tasks: Mapping[str, Callable[[], Result]], wait: float = WAIT_S) -> dict[str, Result]:
    """Run the tasks beside each other; what is not done after ``wait`` seconds is pending. An error is its task's alone."""
    done: queue.SimpleQueue[tuple[str, Result]] = queue.SimpleQueue()
    for key, task in tasks.items():
        threading.Thread(target=_work, args=(key, task, done), name="docker", daemon=True).start()
    results: dict[str, Result] = {}
    end = time.monotonic() + wait
    while len(results) < len(tasks):
        try:
            key, result = done.get(timeout=max(0.0, end - time.monotonic()))
        except queue.Empty:
            break
        results[key] = result
    return {key: results.get(key, Outcome.PENDING) for key in tasks}


def _work(key: str, task: Callable[[], Result], done: queue.SimpleQueue[tuple[str, Result]]) -> None:
    try:
        done.put((key, task()))
    except Exception as error:  # one bad container must not take the others down
        done.put((key, f"{type(error).__name__}: {error}"))
