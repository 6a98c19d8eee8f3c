"""Clients that open many connections: whoever has more than a share of them keeps no other out."""

import socket
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from support.processes.frontdoor import GET, answer, rest, serving, wait_by
from support.processes.servers import Collector, wait_for
from trimtab_collector.connections import Patience


def test_silent_connections_make_room_and_requests_that_are_answered_do_not() -> None:
    patience = Patience(sweep_s=30)
    with serving(16, patience) as server, ExitStack() as exits:
        waiting = exits.enter_context(server.client(b"GET /wait HTTP/1.1\r\nhost: a\r\n\r\n"))
        wait_for(lambda: server.app.asked == 1, "the request to arrive")
        silent = [exits.enter_context(server.client(b"GET /qu")) for _ in range(40)]
        with server.client(GET) as opened:
            assert b"200" in answer(opened)
        assert len(server.table) <= 16
        assert server.table.displaced >= 24
        assert rest(silent[0]) == b""
        server.go()
        assert b"200" in answer(waiting)


def test_when_every_place_is_taken_by_requests_of_many_the_next_is_refused_and_counted() -> None:
    with serving(16) as server, ExitStack() as exits:
        taken = [exits.enter_context(server.client(wait_by(f"c{n}"))) for n in range(16)]
        wait_for(lambda: server.app.asked == 16, "the requests to arrive")
        with server.client() as opened:
            assert rest(opened) == b""
        assert server.table.refused == 1
        server.go()
        assert all(b"200" in answer(each) for each in taken)
        with server.client(GET) as opened:
            assert b"200" in answer(opened)


def test_a_caller_who_takes_every_place_loses_some_to_others() -> None:
    with serving(16) as server, ExitStack() as exits:
        greedy = [exits.enter_context(server.client(wait_by("greedy"))) for _ in range(15)]
        modest = exits.enter_context(server.client(wait_by("modest")))
        wait_for(lambda: server.app.asked == 16, "the requests to arrive")
        with server.client(GET) as opened:
            assert b"200" in answer(opened)
        assert rest(greedy[0]) == b""
        assert (server.table.displaced, server.table.refused) == (1, 0)
        server.go()
        assert b"200" in answer(modest)


@pytest.mark.parametrize(
    "sent",
    [b"POST /quick HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\na", wait_by("")],
    ids=["bodies that do not come", "answers that take long"],
)
def test_an_address_that_takes_every_place_keeps_no_other_out(sent: bytes) -> None:
    with serving(16, Patience(sweep_s=30)) as server, ExitStack() as exits:
        other = exits.enter_context(server.client(b"GET /qu", "127.0.0.2"))
        wait_for(lambda: len(server.table) == 1, "the first to arrive")
        for number in range(40):
            exits.enter_context(server.client(sent))
            wait_for(lambda: server.app.asked > number, "the request to arrive")  # noqa: B023
        other.sendall(b"ick HTTP/1.1\r\nhost: a\r\n\r\n")
        assert b"200" in answer(other)
        with server.client(GET, "127.0.0.3") as opened:
            assert b"200" in answer(opened)
        assert server.table.displaced >= 26
        server.go()


#: Runs the command of its arguments with at most 256 open files.
LIMITED = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
os.execvp(sys.argv[1], sys.argv[1:])
"""


def test_300_half_sent_requests_at_a_collector_of_256_files_keep_no_reader_out(tmp: Path) -> None:
    collector = Collector(tmp)
    collector.command = [sys.executable, "-c", LIMITED, *collector.command]
    body = b"POST /api/performance/auth/login HTTP/1.1\r\nhost: a\r\ncontent-length: 99\r\n\r\n{"
    with collector.start(), ExitStack() as exits:
        for number in range(300):
            opened = socket.create_connection(("127.0.0.1", collector.port), timeout=5)
            exits.enter_context(opened).sendall(body)
            if not number % 30:
                # In between, so that the others are waited for with their bodies.
                assert collector.api.get("/health")["status"] == "healthy"
        assert collector.api.get("/routes", from_="-1h")["routes"] == []
        found = collector.api.get("/health")["connections"]
        assert (found["most"], found["refused"]) == (96, 0)
        assert found["displaced"] > 200
