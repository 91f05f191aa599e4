# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""The metrics' server under clients of the kind that a shared host has: other people's, slow ones, many, greedy ones."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from multiprocessing.connection import Connection

import pytest
from ds01_watch.metrics_server import MOST_CONNECTIONS, MetricsServer, owner_of_connection


@pytest.fixture
def asked() -> list[int]:
    return []


@pytest.fixture
def server(asked: list[int]) -> Iterator[MetricsServer]:
    def text() -> bytes:
        asked.append(1)
        return b"ds01_x 1\n"

    made = MetricsServer(("127.0.0.1", 0), text, lambda uid: uid == os.geteuid())
    made.start()
    yield made
    made.shutdown()
    made.server_close()


def url(server: MetricsServer, path: str = "/metrics") -> str:
    return f"http://127.0.0.1:{server.server_address[1]}{path}"


def test_a_reader_gets_them_and_a_second_question_costs_nothing(server: MetricsServer, asked: list[int]) -> None:
    for _ in range(5):
        with urllib.request.urlopen(url(server), timeout=10) as answer:
            assert answer.read() == b"ds01_x 1\n"
            assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert len(asked) < 5
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(url(server, "/secret"), timeout=10)


def ask_as(uid: int, address: tuple[str, int], heard: Connection) -> None:
    os.setgid(uid)
    os.setuid(uid)
    with socket.create_connection(address, 10) as client, contextlib.suppress(ConnectionError):
        client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        heard.send(client.recv(1000))
    heard.close()


def test_another_account_gets_nothing(server: MetricsServer, asked: list[int]) -> None:
    context = multiprocessing.get_context("fork")
    answers, heard = context.Pipe(duplex=False)
    other = context.Process(target=ask_as, args=(4242, ("127.0.0.1", server.server_address[1]), heard))
    other.start()
    heard.close()
    other.join(30)
    assert other.exitcode == 0
    with contextlib.suppress(EOFError):
        assert answers.recv() == b""
    assert asked == []


def test_clients_that_say_nothing_do_not_shut_the_others_out(server: MetricsServer) -> None:
    before = threading.active_count()
    silent = [socket.create_connection(server.server_address[:2]) for _ in range(4 * MOST_CONNECTIONS)]
    try:
        with urllib.request.urlopen(url(server), timeout=10) as answer:
            assert answer.read() == b"ds01_x 1\n"
        assert threading.active_count() - before <= 2 * MOST_CONNECTIONS
    finally:
        for one in silent:
            one.close()


def test_whose_a_connection_is() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as client:
        accepted, _ = listener.accept()
        with accepted:
            assert owner_of_connection(accepted) == os.geteuid()
            assert owner_of_connection(accepted, "/nonexistent") is None
        assert client.fileno() > 0
