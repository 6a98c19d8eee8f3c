"""The connection to the collector outlives the pause between two windows."""

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
