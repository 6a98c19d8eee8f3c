"""A TCP proxy between agents and a collector that slows, freezes, refuses and counts.

A loop in a thread of its own; its settings may be changed from any thread while it runs.
"""

import asyncio
import socket
import threading
import time
from types import TracebackType
from typing import Final, Self

from faults_stack import free_port

__all__ = ["Proxy"]

_PIECE: Final = 512
_MARK: Final = 2048


class Proxy:
    """Forwards what comes to its port; `rate` limits the bytes a second of both ways, together."""

    def __init__(self, target_port: int) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        #: bytes a second towards the collector, 0 for as fast as it goes
        self.rate = 0
        #: nothing is forwarded, nothing is closed
        self.frozen = False
        #: monotonic times of connections that were accepted
        self.accepted: list[float] = []
        self.bytes = 0
        self._target = target_port
        self._free_at = 0.0
        self._loop = asyncio.new_event_loop()
        self._server: asyncio.Server | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def open(self) -> None:
        """Take connections; before that, and after `shut`, they are refused."""
        asyncio.run_coroutine_threadsafe(self._open(), self._loop).result(5)

    def shut(self) -> None:
        """Refuse connections from now on and cut those there are."""
        asyncio.run_coroutine_threadsafe(self._shut(), self._loop).result(5)

    async def _open(self) -> None:
        self._server = await asyncio.start_server(
            self._serve, "127.0.0.1", self.port, limit=_MARK, backlog=512
        )

    async def _shut(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for task in asyncio.all_tasks():
            if task is not asyncio.current_task():
                task.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted.append(time.monotonic())
        # A slow link has no large buffer in front of it, or the sender would not feel it.
        opened: socket.socket = writer.get_extra_info("socket")
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        far: asyncio.StreamWriter | None = None
        try:
            far_reader, far = await asyncio.open_connection("127.0.0.1", self._target)
            both = (self._copy(reader, far, slow=True), self._copy(far_reader, writer, slow=False))
            await asyncio.gather(*both)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            for end in (writer, far):
                if end is not None:
                    end.close()

    async def _copy(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, slow: bool
    ) -> None:
        while data := await reader.read(_PIECE if slow and self.rate else 65536):
            while self.frozen:
                await asyncio.sleep(0.05)
            if slow and self.rate:
                # One link for all connections: each piece waits for those before it.
                now = time.monotonic()
                self._free_at = max(self._free_at, now) + len(data) / self.rate
                await asyncio.sleep(self._free_at - now)
            self.bytes += len(data)
            writer.write(data)
            await writer.drain()
        # Half a connection is no use to HTTP: end both.
        raise ConnectionError("one side has ended")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.shut()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()
