"""What the demo is made of: its client reads whole answers, its verdict tells equal from not."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from examples.demo.client import Answer, Client
from examples.demo.table import table
from examples.demo.verdict import Accounting, accounting_of, sentence, settled


@asynccontextmanager
async def answering(*answers: bytes) -> AsyncIterator[tuple[Client, list[bytes]]]:
    """Yield a client of a server that gives these answers in turn, and what the server saw."""
    seen: list[bytes] = []
    left = list(answers)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while left:
                seen.append(await reader.readuntil(b"\r\n\r\n"))
                writer.write(left.pop(0))
                await writer.drain()
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    client = Client(server.sockets[0].getsockname()[1])
    try:
        yield client, seen
    finally:
        client.close()
        server.close()
        await server.wait_closed()


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 201 Created\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 201 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3;x\r\nllo\r\n0\r\n\r\n",
        b"HTTP/1.1 201 Created\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.0 201 Created\r\n\r\nhello",
    ],
    ids=["length", "chunked", "close", "until the end"],
)
async def test_the_client_reads_an_answer_to_its_end(raw: bytes) -> None:
    async def ask() -> Answer:
        async with answering(raw) as (client, _):
            return await client.request("GET", "/")

    assert await ask() == Answer(201, b"hello")


@pytest.mark.asyncio
async def test_the_client_keeps_its_connection_and_sends_a_broken_request_once() -> None:
    async def ask() -> tuple[list[int], int]:
        fine = b"HTTP/1.1 204 No Content\r\n\r\n"
        async with answering(fine, fine, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf") as (
            client,
            seen,
        ):
            statuses = [(await client.request("POST", "/a", b"{}")).status for _ in range(2)]
            with pytest.raises(EOFError):
                await client.request("GET", "/")
            return statuses, len(seen)

    assert await ask() == ([204, 204], 3)


def row(service: str, counted: int, **other: Any) -> dict[str, Any]:
    account = {"requests": counted, "counted": counted + 5, "agentLost": 0, "dropped": {}, **other}
    return {"service": service, "p50": 1.0, "p95": 2.0, "p99": 3.0, "accounting": account}


def test_equal_counts_pass_and_the_sentence_says_how_many() -> None:
    found = accounting_of(
        {"shop": 70, "library": 30},
        {"shop": 0, "library": 0},
        [row("library", 30), row("shop", 70)],
    )
    assert settled(found)
    assert sentence(found).startswith("check passed: all 100 requests sent are counted")
    assert "shop 70 (p99 3.0 ms)" in sentence(found)


@pytest.mark.parametrize(
    ("rows", "unanswered", "words"),
    [
        ([row("shop", 69)], 0, "sent 70 requests and 69 are counted (difference -1"),
        ([row("shop", 71)], 0, "difference +1"),
        ([row("shop", 65, agentLost=3, dropped={"full": 2})], 0, "2 full, 3 agent_lost"),
        ([row("shop", 70)], 2, "left 2 of 70 requests unanswered"),
        ([row("shop", 70) | {"p99": None}], 0, "has no p99"),
        ([], 0, "sent 70 requests and 0 are counted"),
    ],
)
def test_any_difference_fails_and_is_named(
    rows: list[dict[str, Any]], unanswered: int, words: str
) -> None:
    found = accounting_of({"shop": 70}, {"shop": unanswered}, rows)
    assert words in sentence(found)
    assert sentence(found).startswith("check failed: ")


def test_what_is_booked_as_dropped_settles_the_wait_but_not_the_check() -> None:
    (shop,) = accounting_of({"shop": 70}, {"shop": 0}, [row("shop", 60, dropped={"full": 10})])
    assert settled([shop])
    assert shop.fault
    assert not settled([Accounting("shop", 70, 0, 69, 0)])


def test_the_table_has_a_line_a_service_and_its_busiest_routes() -> None:
    figures = {"p50": 0.5, "p95": 12.34, "p99": 1234.0, "requestsPerSecond": 7.0, "errors": 0}
    services = [{"service": "shop", "requests": 50, "inFlight": 2, **figures}]
    routes = [
        {"service": "shop", "method": "GET", "route": f"/{n}", "requests": n, **figures}
        for n in (1, 30, 19)
    ]
    lines = table(services, routes, most=4)
    assert [line.split()[:2] for line in lines[2:]] == [["GET", "/30"], ["GET", "/19"]]
    assert lines[1].split() == ["shop", "7.00", "0.50", "12.3", "1,234", "2"]
