"""A live stream on a real server in a thread of the test, with bounds and tokens of its choice."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import uvicorn

from support.processes.servers import wait_for
from trimtab_collector.api.endpoints import ENDPOINTS
from trimtab_collector.api.executor import ReadExecutor
from trimtab_collector.api.live.answers import Questions
from trimtab_collector.api.live.sessions import LiveLimits
from trimtab_collector.api.live.stream import Live
from trimtab_collector.contract.alerts import AlertBody
from trimtab_collector.contract.callers import Caller, Role
from trimtab_collector.contract.errors import ApiError
from trimtab_collector.reads.reader import StoreReader
from trimtab_collector.serve import bind
from trimtab_collector.storage.memory.engine import MemoryStore
from trimtab_collector.websocket import WEBSOCKETS

__all__ = ["LiveServer", "live_server"]


class LiveServer:
    """The stream, the callers that it knows, and the alerts that are open."""

    def __init__(self, limits: LiveLimits, origins: Sequence[str] = ()) -> None:
        #: token -> who has it, and when it ends
        self.callers: dict[str, tuple[Caller, float | None]] = {
            "planner": (Caller("planner", Role.PLANNER), None),
            "admin": (Caller("admin", Role.ADMIN), None),
            "anyone": (Caller("anyone", Role.ANYONE), None),
        }
        self.open: list[AlertBody] = []
        self.open_alerts: Callable[[], Sequence[AlertBody]] = lambda: self.open
        self.executor = ReadExecutor()
        self.reader = StoreReader(MemoryStore())
        self.live = Live(
            self.reader,
            self.executor,
            self._identify,
            Questions([self.reader], ENDPOINTS),
            origins,
            lambda: self.open_alerts(),
            limits,
        )
        self.listener = bind("127.0.0.1", 0)
        self.port = int(self.listener.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"
        config = uvicorn.Config(
            self._app,
            interface="asgi3",
            proxy_headers=False,
            http="httptools",
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=4,
            **WEBSOCKETS,
        )
        self._server = uvicorn.Server(config)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run)

    def start(self) -> None:
        """Take connections."""
        self._thread.start()
        wait_for(lambda: self._server.started, "the live server")

    def stop(self) -> float:
        """Stop as the collector does; returns how long it took, in seconds."""
        begun_s = time.monotonic()
        assert self._loop is not None
        self._server.should_exit = True
        asyncio.run_coroutine_threadsafe(self.live.stop(), self._loop)
        self._thread.join(20)
        assert not self._thread.is_alive()
        return time.monotonic() - begun_s

    def close(self) -> None:
        """Stop, if it runs, and let go of everything."""
        if self._thread.is_alive():
            self.stop()
        self.listener.close()
        self.executor.close()

    def _identify(self, token: str) -> tuple[Caller, float | None]:
        if token not in self.callers:
            raise ApiError(401, "unauthorized", "expected a token that is known")
        return self.callers[token]

    def _run(self) -> None:
        async def serve() -> None:
            self._loop = asyncio.get_running_loop()
            await self._server.serve([self.listener])

        asyncio.run(serve())

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            await self.live(scope, receive, send)
            return
        await receive()
        self.live.start()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.live.stop()
        await send({"type": "lifespan.shutdown.complete"})


@contextmanager
def live_server(
    limits: LiveLimits | None = None, origins: Sequence[str] = ()
) -> Iterator[LiveServer]:
    """Yield a running stream; it has ended afterwards."""
    server = LiveServer(limits or LiveLimits(), origins)
    try:
        server.start()
        yield server
    finally:
        server.close()
