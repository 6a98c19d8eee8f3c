"""Runs uvicorn: on a socket made here, with one line when ready, and a stop within seconds."""

import asyncio
import contextlib
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, Final

import uvicorn

from trimtab_core.errors import StartupError

__all__ = ["bind", "serve", "url_of"]

#: agents send every 10 s: a connection must outlive the pause
_KEEP_ALIVE_S: Final = 75
_STOP_S: Final = 4


def bind(host: str, port: int) -> socket.socket:
    """Return a socket that listens; raises StartupError when the address cannot be used."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise StartupError(
            f"expected an address to listen on, got {host!r}: {error.strerror or error}; set --host"
        ) from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(2048)
    except OSError as error:
        listener.close()
        raise StartupError(
            f"expected {host}:{port} to be free, got: {os.strerror(error.errno or 0)}; stop what "
            "listens there or choose another with --port"
        ) from error
    listener.setblocking(False)
    return listener


def url_of(listener: socket.socket) -> str:
    """Return the address of a listening socket as a URL."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class _Server(uvicorn.Server):
    """uvicorn that says when it is ready and when it is asked to stop."""

    def __init__(
        self,
        config: uvicorn.Config,
        on_ready: Callable[[], None],
        on_signal: Callable[[], None],
        on_stop: Callable[[], None],
    ) -> None:
        super().__init__(config)
        self._on_ready = on_ready
        self._on_signal = on_signal
        self._on_stop = on_stop
        self._asked = False

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and not self.should_exit:
            self._on_ready()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        # The original raises the signal again at the end: an orderly stop would exit with -15.
        numbers = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, self.handle_exit) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._asked:
            super().handle_exit(sig, frame)
            self._on_stop()
            return
        self._asked = True
        # In a thread: the loop must keep serving while on_signal waits for others to end.
        threading.Thread(target=self._end, args=(sig,), name="trimtab-stop").start()

    def _end(self, sig: int) -> None:
        self._on_signal()
        super().handle_exit(sig, None)
        self._on_stop()


def serve(
    app: Any,
    listener: socket.socket,
    log_level: str,
    on_ready: Callable[[], None],
    on_signal: Callable[[], None],
    on_stop: Callable[[], None],
) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit code.

    on_signal runs in a thread when the signal comes, and requests are still served while it does.
    on_stop runs in the loop after it: it must let long polls go. What is still open 4 s later is
    cut. A second signal does not wait for on_signal.
    """
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="on",
        log_config=None,
        log_level=log_level,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_STOP_S,
    )

    async def run() -> bool:
        loop = asyncio.get_running_loop()

        def stop() -> None:
            loop.call_soon_threadsafe(on_stop)

        server = _Server(config, on_ready, on_signal, stop)
        await server.serve([listener])
        return server.started

    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        return 0 if runner.run(run()) else 1
