# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The docker CLI at a real terminal through the gate: its size, Ctrl-C, the keys that detach, and coming back."""

from __future__ import annotations

import pytest

from tests.integration.daemons import wait_until
from tests.integration.gate.people import Desk
from tests.integration.gate.terminal import Size, Terminal


def _shell_sees(terminal: Terminal, size: Size) -> None:
    """The shell at the terminal finds it to have this size, soon: the CLI tells by a request of its own."""
    rows, columns = size
    terminal.type(f'until [ "$(stty size)" = "{rows} {columns}" ]; do sleep 0.05; done; echo "size $((1 * {rows})) by $((1 * {columns}))"')
    terminal.expect(f"size {rows} by {columns}\n", seconds=20)


def _ctrl_c_ends_only_the_program(terminal: Terminal) -> None:
    """Ctrl-C ends what runs in the foreground inside; the shell goes on and knows how it ended."""
    # A shell of its own says so: by then it has the foreground. The terminal's shell would say it a moment before.
    terminal.type("sh -c 'echo begins $((2 * 21)); sleep 600'")
    terminal.expect("begins 42\n")
    terminal.control("c")
    terminal.type("echo ended with $?")
    terminal.expect("ended with 130\n", seconds=20)


def _detach(terminal: Terminal) -> None:
    """The keys that leave. The CLI says so at ``attach`` and ``exec`` and calls it a failure, at ``run`` it says nothing."""
    terminal.control("p")
    terminal.control("q")
    if terminal.end() != 0:
        assert "read escape sequence" in terminal.said


@pytest.mark.both
def test_run_at_a_terminal_detach_and_attach_again(alice: Desk) -> None:
    with alice.terminal("run", "-it", "--name", "desk", "busybox", "sh", size=(33, 101)) as terminal:
        terminal.expect("# ")
        _shell_sees(terminal, (33, 101))
        terminal.resize((44, 120))
        _shell_sees(terminal, (44, 120))
        _ctrl_c_ends_only_the_program(terminal)
        terminal.type("word=kept; echo noted $((1 + 1))")
        terminal.expect("noted 2\n")  # the CLI drops what it reads together with the keys
        _detach(terminal)
    assert alice.must("inspect", "-f", "{{.State.Status}}", "desk") == "running"
    with alice.terminal("attach", "desk", size=(20, 70)) as terminal:
        _shell_sees(terminal, (20, 70))
        terminal.type("echo $word and back")
        terminal.expect("kept and back\n")
        _detach(terminal)
    assert alice.must("inspect", "-f", "{{.State.Status}}", "desk") == "running"
    with alice.terminal("attach", "desk") as terminal:
        _ctrl_c_ends_only_the_program(terminal)
        terminal.type("exit 7")
        assert terminal.end() == 7
    assert alice.must("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "desk") == "exited 7"


@pytest.mark.both
def test_exec_at_a_terminal(alice: Desk, bob: Desk) -> None:
    alice.must("run", "-d", "--name", "box", "busybox", "sleep", "600")
    with alice.terminal("exec", "-it", "box", "sh", size=(33, 101)) as terminal:
        terminal.expect("# ")
        _shell_sees(terminal, (33, 101))
        terminal.resize((44, 120))
        _shell_sees(terminal, (44, 120))
        _ctrl_c_ends_only_the_program(terminal)
        terminal.type("exit 5")
        assert terminal.end() == 5
    with alice.terminal("exec", "-it", "box", "sh") as terminal:
        terminal.expect("# ")
        terminal.type("echo waiting $((1 + 1)); while [ ! -e /go ]; do sleep 0.05; done; touch /went-on")
        terminal.expect("waiting 2\n")
        _detach(terminal)
    alice.must("exec", "box", "touch", "/go")
    wait_until(lambda: alice.docker("exec", "box", "test", "-e", "/went-on").returncode == 0, 10, "the shell to go on without a terminal")
    with bob.terminal("exec", "-it", "box", "sh") as terminal:
        terminal.expect("No such container")
        assert terminal.end() == 1


def test_ctrl_c_at_logs_and_at_run_reaches_what_it_should(alice: Desk) -> None:
    """At ``logs -f`` it ends the CLI alone; at ``run`` it reaches the program inside, whose answer is the CLI's."""
    alice.must("run", "-d", "--name", "talker", "busybox", "sh", "-c", "echo said; exec sleep 600")
    with alice.terminal("logs", "-f", "talker") as terminal:
        terminal.expect("said\n")
        terminal.control("c")
        assert terminal.end() in (0, 130)
    assert alice.must("inspect", "-f", "{{.State.Status}}", "talker") == "running"
    script = "trap 'echo caught; exit 9' INT; echo ready; while :; do sleep 0.1; done"
    with alice.terminal("run", "-it", "--rm", "--name", "trapper", "busybox", "sh", "-c", script) as terminal:
        terminal.expect("ready\n")
        terminal.control("c")
        terminal.expect("caught\n")
        assert terminal.end() == 9
