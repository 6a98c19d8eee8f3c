"""Runs uvicorn: on sockets made here, with one line when ready, and a stop within seconds."""

import asyncio
import contextlib
import errno
import logging
import os
import signal
import socket
import ssl
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from types import FrameType
from typing import Any, Final, NamedTuple

import uvicorn

from trimtab_collector.acceptor import Acceptor
from trimtab_collector.connections import ConnectionTable
from trimtab_collector.timedprotocol import TimedProtocol
from trimtab_collector.websocket import WEBSOCKETS, QuietWebSockets
from trimtab_core.addresses import bare, joined
from trimtab_core.errors import StartupError
from trimtab_core.logs import RateLimited
from trimtab_core.terminal import Terminal

__all__ = ["Hooks", "Listening", "bind", "serve"]

#: agents send every 10 s: a connection must outlive the pause
_KEEP_ALIVE_S: Final = 75
_STOP_S: Final = 4
#: between two looks at files that may have changed
_LOOK_S: Final = 2.0

logger = logging.getLogger("trimtab.serve")


class Listening(NamedTuple):
    """A listening socket, and what it speaks TLS with; None: it does not."""

    socket: socket.socket
    context: ssl.SSLContext | None = None

    @property
    def url(self) -> str:
        """Its address as a URL."""
        host, port = self.socket.getsockname()[:2]
        return f"{'https' if self.context else 'http'}://{joined(host, port)}"


def _nothing() -> None:
    """Do nothing."""


@dataclass(frozen=True, slots=True)
class Hooks:
    """What a server calls."""

    #: in the loop, when it takes connections
    ready: Callable[[], None] = _nothing
    #: in a thread, when it is told to stop, while requests are still served
    signal: Callable[[], None] = _nothing
    #: in the loop, after that: it must let long polls go
    stop: Callable[[], None] = _nothing
    #: in a thread, at SIGHUP
    hangup: Callable[[], None] = _nothing
    #: in a thread, every 2 s
    look: Callable[[], None] = _nothing


def bind(host: str, port: int) -> socket.socket:
    """Return a socket that listens; raises StartupError when the address cannot be used.

    `::` takes IPv4 as well.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            bare(host), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise StartupError(
            f"expected an address to listen on, got {host!r}: {error.strerror or error}; set --host"
        ) from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6 and address[0] == "::":
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind(address)
        listener.listen(2048)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRNOTAVAIL:
            raise StartupError(
                f"expected an address of this machine, got {bare(host)!r}: no network interface "
                "has it; set --host to one that does, or to 0.0.0.0 for all"
            ) from error
        raise StartupError(
            f"expected {joined(bare(host), port)} to be free, got: "
            f"{os.strerror(error.errno or 0)}; stop what listens there or choose another with "
            "--port"
        ) from error
    listener.setblocking(False)
    return listener


class _Server(uvicorn.Server):
    """uvicorn with sockets and limits of its own, that says when it is ready and when it stops."""

    def __init__(
        self,
        config: uvicorn.Config,
        listening: Sequence[Listening],
        table: ConnectionTable,
        hooks: Hooks,
    ) -> None:
        super().__init__(config)
        self._listening = listening
        self._table = table
        self._hooks = hooks
        self._asked = False
        self._looking: asyncio.Task[None] | None = None
        self._terminal = Terminal()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await self.lifespan.startup()
        if self.lifespan.should_exit:
            sys.exit(uvicorn.config.STARTUP_FAILURE)
        self.servers: list[Any] = [
            Acceptor(each.socket, self._made, self._table, each.context) for each in self._listening
        ]
        self.started = True
        self._looking = asyncio.create_task(self._look())
        if not self.should_exit:
            self._hooks.ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._looking is not None:
            self._looking.cancel()
        self._table.stop()
        await super().shutdown(sockets)

    def _made(self) -> TimedProtocol:
        return TimedProtocol(
            self._table,
            config=self.config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
        )

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_S)
            try:
                await asyncio.to_thread(self._hooks.look)
            except Exception:
                logger.exception("looking at files failed and is tried again")

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        # The original raises the signal again at the end: an orderly stop would exit with -15.
        numbers = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, self.handle_exit) for number in numbers}
        before[signal.SIGHUP] = signal.signal(signal.SIGHUP, self._hang_up)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._asked:
            super().handle_exit(sig, frame)
            self._hooks.stop()
            return
        self._asked = True
        # In a thread: the loop must keep serving while `Hooks.signal` waits for others to end.
        threading.Thread(target=self._end, args=(sig,), name="trimtab-stop").start()

    def _end(self, sig: int) -> None:
        self._hooks.signal()
        super().handle_exit(sig, None)
        self._hooks.stop()

    def _hang_up(self, sig: int, frame: FrameType | None) -> None:
        if self._terminal.is_gone:
            # The window in which it was started was closed: nobody asked for another reading.
            self.handle_exit(sig, frame)
        else:
            threading.Thread(target=self._hooks.hangup, name="trimtab-reload").start()


class _CalmFilter(logging.Filter):
    """Lets each message of uvicorn about bad requests pass once a minute; loop only."""

    _CALMED: Final = ("Invalid HTTP request received.", "Unsupported upgrade request.")

    def __init__(self) -> None:
        super().__init__()
        self._log = RateLimited(logger)

    def filter(self, record: logging.LogRecord) -> bool:
        message = str(record.msg)
        if not message.startswith(self._CALMED):
            return not message.startswith("No supported WebSocket library")
        self._log.warning(message, "%s", message)
        return False


def serve(
    app: Any, listening: Sequence[Listening], log_level: str, table: ConnectionTable, hooks: Hooks
) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit code.

    What is still open 4 s after the signal is cut. A second signal does not wait for the hook.
    """
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http="httptools",
        **WEBSOCKETS,
        lifespan="on",
        log_config=None,
        log_level=log_level,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_STOP_S,
    )

    calm, quiet = _CalmFilter(), QuietWebSockets()
    logging.getLogger("uvicorn.error").addFilter(calm)
    logging.getLogger("uvicorn.error").addFilter(quiet)

    async def run() -> bool:
        loop = asyncio.get_running_loop()

        def stop() -> None:
            loop.call_soon_threadsafe(hooks.stop)

        server = _Server(config, listening, table, replace(hooks, stop=stop))
        await server.serve([each.socket for each in listening])
        return server.started

    try:
        with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
            return 0 if runner.run(run()) else 1
    finally:
        logging.getLogger("uvicorn.error").removeFilter(calm)
        logging.getLogger("uvicorn.error").removeFilter(quiet)
