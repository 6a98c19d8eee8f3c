"""Under a real uvicorn: clients that leave, bodies that stream, files, many connections."""

import asyncio
import http.client
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Route

from support.processes.drive import Measured, served
from support.processes.load import drive as drive_load


async def echo(request: Request) -> PlainTextResponse:
    return PlainTextResponse(str(len(await request.body())))


async def endless(request: Request) -> StreamingResponse:
    async def ticks() -> AsyncIterator[bytes]:
        while True:
            yield b"tick" * 100
            await asyncio.sleep(0.001)

    return StreamingResponse(ticks())


async def boom(request: Request) -> PlainTextResponse:
    raise RuntimeError("boom")


async def this_file(request: Request) -> FileResponse:
    return FileResponse(__file__)


APP = Starlette(
    routes=[
        Route("/echo", echo, methods=["GET", "POST"]),
        Route("/endless", endless),
        Route("/boom/{x}", boom),
        Route("/file", this_file),
    ]
)


def leave(place: str, head: bytes, until: bytes) -> None:
    """Send a request, read until those bytes have come, and hang up."""
    host, _, port = place.partition(":")
    with socket.create_connection((host, int(port)), timeout=10) as client:
        client.sendall(head)
        got = b""
        while until not in got:
            got += client.recv(4096)


@pytest.mark.parametrize("protocol", ["h11", "httptools"])
def test_a_client_that_hangs_up_on_a_stream_is_a_499(measured: Measured, protocol: str) -> None:
    with served(measured.asgi(APP), http=protocol) as place:
        leave(place, b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n", b"tick")
        (seen,) = measured.peer.wait_records(1)
    assert (seen.template, seen.record.status) == ("/endless", 499)
    assert seen.record.bytes >= 400


@pytest.mark.parametrize("protocol", ["h11", "httptools"])
def test_a_client_that_hangs_up_while_sending_is_a_499(measured: Measured, protocol: str) -> None:
    head = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n"
    with served(measured.asgi(APP), http=protocol) as place:
        # The server says 100 as soon as the app has begun to read.
        leave(place, head, b"100")
        (seen,) = measured.peer.wait_records(1)
    assert (seen.template, seen.record.status) == ("/echo", 499)


def test_figures_on_the_wire_are_the_figures_of_the_record(measured: Measured) -> None:
    with served(measured.asgi(APP)) as place:
        connection = http.client.HTTPConnection(place, timeout=10)
        connection.request("GET", "/file")
        answer = connection.getresponse()
        size = len(answer.read())
        connection.request("POST", "/echo", b"x" * 100_000)
        assert connection.getresponse().read() == b"100000"
        connection.close()
        # A record is made when the app returns, which may be after the next request began.
        echoed, file = sorted(measured.peer.wait_records(2))
    assert file.record.bytes == size == Path(__file__).stat().st_size
    assert (echoed.record.bytes, echoed.method) == (6, "POST")
    assert 0 <= echoed.record.ttfb_us <= echoed.record.duration_us
    assert 0 < echoed.record.duration_us < 10_000_000


def test_every_request_of_many_connections_is_counted(measured: Measured) -> None:
    with served(measured.asgi(APP)) as place:
        targets = [f"http://{place}/echo", f"http://{place}/boom/1", f"http://{place}/none"]
        load = drive_load(targets, 600, connections=8)
        assert load.failures == []
        measured.peer.wait_records(600, 20)
    records = measured.peer.records()
    found = {(seen.template, seen.record.status) for seen in records}
    assert found == {("/echo", 200), ("/boom/{x}", 500), ("unmatched", 404)}
    assert load.statuses == {200: 200, 500: 200, 404: 200}
    assert len(records) == 600
