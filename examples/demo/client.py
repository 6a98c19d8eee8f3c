"""A small HTTP/1.1 client on asyncio streams: one kept connection, answers read to the end."""

import asyncio
import time
from typing import Any, NamedTuple

from examples.demo.services import HOST

__all__ = ["Answer", "Client"]

#: A server closes an idle connection after some seconds; a request must not meet that moment,
#: for then nobody could say whether it was seen.
MAX_IDLE_S = 1.5
TIMEOUT_S = 30.0
#: asyncio's bound on a line; header blocks are read as one
_LIMIT = 256 * 1024


class Answer(NamedTuple):
    """Status and body of an answer that came whole."""

    status: int
    body: bytes


class Client:
    """One connection to one place on 127.0.0.1; for one task at a time."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._last = 0.0

    async def request(
        self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> Answer:
        """Send one request, never twice, and read its answer to the end.

        Raises OSError (TimeoutError too) or EOFError when there is no whole answer, ValueError
        when it is not HTTP; the connection is closed then.
        """
        try:
            async with asyncio.timeout(TIMEOUT_S):
                reader, writer = await self._connected()
                writer.write(self._head(method, path, body, headers or {}) + body)
                await writer.drain()
                answer, keep = await _read(reader, method)
        except BaseException:
            self.close()
            raise
        self._last = time.monotonic()
        # A server whose app raised hangs up after its 500, without saying so in a header.
        if not keep or answer.status >= 500:
            self.close()
        return answer

    def aim(self, port: int) -> None:
        """Send what follows to another port."""
        if port != self._port:
            self.close()
            self._port = port

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._streams is not None:
            idle_s = time.monotonic() - self._last
            if idle_s > MAX_IDLE_S or self._streams[0].at_eof():
                self.close()
        if self._streams is None:
            self._streams = await asyncio.open_connection(HOST, self._port, limit=_LIMIT)
        return self._streams

    def _head(self, method: str, path: str, body: bytes, headers: dict[str, Any]) -> bytes:
        lines = [f"{method} {path} HTTP/1.1", f"Host: {HOST}:{self._port}"]
        if body:
            lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")


async def _read(reader: asyncio.StreamReader, method: str) -> tuple[Answer, bool]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.split("\r\n")
    status = int(first.split(" ", 2)[1])
    parts = (line.partition(":") for line in lines)
    headers = {name.strip().lower(): value.strip() for name, _, value in parts}
    keep = headers.get("connection", "").lower() != "close"
    if method == "HEAD" or status in (204, 304):
        return Answer(status, b""), keep
    if headers.get("transfer-encoding", "").lower() == "chunked":
        return Answer(status, await _chunks(reader)), keep
    if "content-length" in headers:
        return Answer(status, await reader.readexactly(int(headers["content-length"]))), keep
    return Answer(status, await reader.read(-1)), False


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    parts = []
    while size := int((await reader.readline()).split(b";")[0], 16):
        parts.append(await reader.readexactly(size))
        await reader.readexactly(2)
    while (await reader.readline()).strip():
        pass
    return b"".join(parts)
