"""The connection to the collector outlives the pause between two windows, and nothing else does."""

import asyncio
import contextlib
import time

import pytest

from trimtab_agent.forwarder import make_client

PAUSE_S = 30.0


@pytest.mark.asyncio
async def test_a_connection_is_kept_from_one_window_to_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = time.monotonic

    async def two_posts() -> int:
        connections = 0
        ended = asyncio.Semaphore(0)

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal connections
            connections += 1
            with contextlib.suppress(asyncio.IncompleteReadError):
                while await reader.readuntil(b"\r\n\r\n"):
                    writer.write(b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n")
            writer.close()
            await writer.wait_closed()
            ended.release()

        server = await asyncio.start_server(answer, "127.0.0.1")
        port = server.sockets[0].getsockname()[1]
        client = make_client(f"http://127.0.0.1:{port}", "key", "")
        await client.get("/first")
        monkeypatch.setattr(time, "monotonic", lambda: real() + PAUSE_S)
        await client.get("/second")
        await client.aclose()
        for _ in range(connections):
            await ended.acquire()
        server.close()
        return connections

    assert await two_posts() == 1


@pytest.mark.asyncio
async def test_cookies_are_neither_kept_nor_sent_back() -> None:
    async def three_posts() -> list[bytes]:
        heads: list[bytes] = []
        ended = asyncio.Event()

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(asyncio.IncompleteReadError):
                while True:
                    heads.append(await reader.readuntil(b"\r\n\r\n"))
                    cookie = b"set-cookie: name%d=value; path=/\r\n" % len(heads)
                    writer.write(
                        b"HTTP/1.1 202 Accepted\r\n" + cookie + b"content-length: 0\r\n\r\n"
                    )
            writer.close()
            await writer.wait_closed()
            ended.set()

        server = await asyncio.start_server(answer, "127.0.0.1")
        port = server.sockets[0].getsockname()[1]
        client = make_client(f"http://127.0.0.1:{port}", "key", "")
        for _ in range(3):
            await client.get("/")
        assert not client.cookies
        await client.aclose()
        await ended.wait()
        server.close()
        return heads

    heads = await three_posts()
    assert len(heads) == 3
    assert not [head for head in heads if b"cookie" in head.lower()]
