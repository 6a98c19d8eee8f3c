"""Clients that dawdle, pour or say nothing: each is bounded, and others are served meanwhile.

Real sockets and the collector's own acceptor and protocol, with limits of fractions of a second.
"""

import contextlib
import socket
import ssl
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from support.processes.authority import Authority
from support.processes.frontdoor import GET, LARGE, QUICK, answer, rest, serving
from support.processes.servers import wait_for
from trimtab_collector.certificate import ServerCertificate
from trimtab_collector.connections import Patience
from trimtab_collector.timedprotocol import MOST_HEAD, MOST_TARGET
from trimtab_core.tls import client_context


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"", b""),
        (b"\r\n\r\n", b"408"),
        (b"GET /qui", b"408"),
        (b"GET /quick HTTP/1.1\r\nhost: a\r\n", b"408"),
    ],
    ids=["nothing", "empty lines", "half a line", "half a head"],
)
def test_a_request_that_does_not_come_ends_its_connection(sent: bytes, status: bytes) -> None:
    with serving() as server, server.client(sent) as opened:
        begun = time.monotonic()
        assert rest(opened)[9:12] == status
        assert 0.3 < time.monotonic() - begun < 3
        assert server.table.timed_out == 1


def test_headers_that_come_a_byte_at_a_time_do_not_extend_the_time() -> None:
    with serving() as server, server.client(b"GET /quick HTTP/1.1\r\nx: ") as opened:
        ended = threading.Event()

        def drip() -> None:
            with contextlib.suppress(OSError):
                while not ended.wait(0.02):
                    opened.sendall(b"a")

        thread = threading.Thread(target=drip)
        thread.start()
        begun = time.monotonic()
        rest(opened)
        ended.set()
        thread.join()
        assert time.monotonic() - begun < 3


def test_a_body_that_does_not_come_ends_its_connection() -> None:
    with serving() as server:
        head = b"POST /quick HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\nabc"
        with server.client(head) as opened:
            assert rest(opened) == b""
        assert server.table.timed_out == 1


def test_a_body_that_was_answered_early_is_waited_for_only_a_moment() -> None:
    with serving(patience=Patience(sweep_s=0.05, linger_s=0.2)) as server:
        head = b"POST /early HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\nabc"
        with server.client(head) as opened:
            assert rest(opened).startswith(b"HTTP/1.1 200")
        assert server.table.timed_out == 1


def test_an_idle_connection_is_closed_and_one_in_use_is_not() -> None:
    with serving() as server, server.client() as idle, server.client() as busy:
        idle.sendall(GET)
        answer(idle)
        begun = time.monotonic()
        ended: list[float] = []

        def wait_for_the_end() -> None:
            rest(idle)
            ended.append(time.monotonic())

        thread = threading.Thread(target=wait_for_the_end)
        thread.start()
        while thread.is_alive():
            busy.sendall(GET)
            answer(busy)
            thread.join(0.05)
        assert ended[0] - begun > 0.5


def test_a_request_that_takes_long_to_answer_is_not_cut() -> None:
    with serving() as server, server.client(b"GET /wait HTTP/1.1\r\nhost: a\r\n\r\n") as opened:
        with server.client() as other:
            # Twice as long as anything may be waited for.
            assert rest(other) == b""
        with server.client() as other:
            assert rest(other) == b""
        server.go()
        assert answer(opened).startswith(b"HTTP/1.1 200")
        assert server.table.timed_out == 2


def test_a_client_that_does_not_read_is_cut_and_one_that_reads_slowly_is_not() -> None:
    request = b"GET /large HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"
    with serving() as server, server.client() as slow, server.client() as never:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        never.sendall(request)
        slow.sendall(request)
        got = 0
        pause = threading.Event()
        begun = time.monotonic()
        while piece := slow.recv(65536):
            got += len(piece)
            if time.monotonic() - begun < 2 * QUICK.stalled_s:
                pause.wait(0.01)
        assert got > LARGE
        assert time.monotonic() - begun > QUICK.stalled_s
        wait_for(lambda: server.table.timed_out, "the one that does not read to be cut", 10)
        assert len(rest(never)) < LARGE


def test_a_client_that_reads_a_byte_at_a_time_is_cut() -> None:
    with serving() as server, server.client() as slow:
        slow.sendall(b"GET /large HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")

        def reads_a_byte() -> bool:
            with contextlib.suppress(OSError):
                slow.recv(1)
            return server.table.timed_out == 1

        wait_for(reads_a_byte, "it to be cut", 4)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET /quick HTTP/1.1\r\nx: " + b"a" * MOST_HEAD + b"\r\n\r\n", b"431"),
        (b"GET /quick HTTP/1.1\r\n" + b"x: aaaaaaaa\r\n" * 5000 + b"\r\n", b"431"),
        (b"GET /" + b"a" * MOST_TARGET + b" HTTP/1.1\r\nhost: a\r\n\r\n", b"414"),
        (b"GET /quick HTTP/1.1\r\nx: " + b"a" * (MOST_HEAD - 2000) + b"\r\n\r\n", b"200"),
        (b"GET /" + b"a" * (MOST_TARGET - 1) + b" HTTP/1.1\r\nhost: a\r\n\r\n", b"200"),
    ],
    ids=["long header", "many headers", "long target", "almost", "almost a long target"],
)
def test_headers_and_targets_have_a_longest(sent: bytes, status: bytes) -> None:
    with serving() as server, server.client(sent) as opened:
        opened.settimeout(5)
        assert opened.recv(100)[9:12] == status


def test_headers_without_end_are_cut_before_they_take_memory() -> None:
    with serving(patience=Patience()) as server, server.client() as opened:
        opened.sendall(b"GET /quick HTTP/1.1\r\nx: ")
        sent = 0
        with contextlib.suppress(OSError):
            while sent < 64 * 1024 * 1024:
                sent += opened.send(b"a" * 65536)
        assert sent < 64 * 1024 * 1024


@pytest.mark.parametrize(
    "poured", [b"a: b\r\n" * 1000, b"a" * 4000, b"1;" + b"e" * 4000 + b"\r\nx\r\n"],
    ids=["trailers", "one trailer", "extensions"],
)  # fmt: skip
def test_what_follows_a_body_without_end_is_cut_before_it_takes_memory(poured: bytes) -> None:
    head = b"POST /wait/a HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n"
    ends = b"" if poured.startswith(b"1;") else b"0\r\n"
    with serving() as server, server.client(head + ends) as opened:
        sent = 0
        with contextlib.suppress(OSError):
            while sent < 200 * MOST_HEAD:
                sent += opened.send(poured)
        assert sent < 200 * MOST_HEAD


def test_a_body_in_many_small_chunks_and_a_trailer_is_taken() -> None:
    chunks = b"1\r\nx\r\n" * 20_000 + b"0\r\nchecksum: 1\r\n\r\n"
    head = b"POST /quick HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"
    with serving() as server, server.client(head + chunks) as opened:
        assert answer(opened)


def test_a_pipelined_request_waits_for_the_answer_before_it_without_being_cut() -> None:
    slow = b"GET /wait HTTP/1.1\r\nhost: a\r\n\r\n"
    post = b"POST /quick HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nab"
    with serving() as server, server.client(slow + post) as opened:
        with server.client() as other:
            assert rest(other) == b""  # time passes
        with server.client() as other:
            assert rest(other) == b""
        server.go()
        found = answer(opened)
        while found.count(b"HTTP/1.1 200") < 2:
            found += answer(opened)


def test_headers_without_end_behind_a_request_that_takes_long_are_cut_too() -> None:
    slow = b"GET /wait HTTP/1.1\r\nhost: a\r\n\r\n"
    with serving() as server, server.client(slow + b"GET /quick HTTP/1.1\r\nx: ") as opened:
        sent = 0
        with contextlib.suppress(OSError):
            while sent < 64 * 1024 * 1024:
                sent += opened.send(b"a" * 65536)
        assert sent < 64 * 1024 * 1024


def test_connections_that_end_by_themselves_leave_no_trace() -> None:
    with serving() as server:
        for sent in (b"", b"GET /qu", GET, b"nonsense\r\n\r\n"):
            for _ in range(5):
                with server.client(sent):
                    pass
        wait_for(lambda: len(server.table) == 0, "all connections to be forgotten")
        assert server.table.timed_out == 0


# ---------------------------------------------------------------- with TLS


@pytest.fixture
def authority(tmp: Path) -> Authority:
    return Authority(tmp)


def certified(authority: Authority) -> ssl.SSLContext:
    pair = authority.issue("localhost")
    return ServerCertificate(str(pair.cert), str(pair.key)).context


@pytest.mark.parametrize("sent", [b"", b"\x16", b"\x16\x03\x01\x02\x00\x01"])
def test_a_handshake_that_does_not_go_on_ends_and_counts_like_any_other_waiting(
    authority: Authority, sent: bytes
) -> None:
    with serving(context=certified(authority)) as server, server.client(sent) as opened:
        wait_for(lambda: len(server.table) == 1, "the connection to count")
        begun = time.monotonic()
        assert rest(opened) == b""
        assert time.monotonic() - begun < 3
        wait_for(lambda: len(server.table) == 0, "it to be forgotten")


def test_handshakes_that_do_not_go_on_keep_nobody_out(authority: Authority) -> None:
    patience = Patience(sweep_s=30)
    server = serving(16, patience, certified(authority))
    with server as running, ExitStack() as exits:
        for sent in (b"", b"\x16\x03\x01\x02\x00\x01") * 20:
            exits.enter_context(running.client(sent))
        context = client_context(str(authority.ca_file))
        with (
            running.client() as opened,
            context.wrap_socket(opened, server_hostname="localhost") as shaken,
        ):
            shaken.sendall(GET)
            assert b"200" in answer(shaken)
        assert len(running.table) <= 16


def test_who_speaks_no_tls_is_told_so(authority: Authority) -> None:
    with serving(context=certified(authority)) as server, server.client(GET) as opened:
        found = rest(opened)
        assert found.startswith(b"HTTP/1.1 426 Upgrade Required\r\n")
        assert b"this port speaks TLS: use https" in found
        assert server.app.asked == 0
