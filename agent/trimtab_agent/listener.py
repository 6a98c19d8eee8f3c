"""The Unix socket that apps connect to: one connection an app process.

A connection begins with hello. A frame that breaks the protocol closes its connection, counted by
reason; the others go on. Both ends check each other's user: only root, our own user and those
configured may connect. Over the limit of connections the newest is closed and counted.
"""

import asyncio
import errno
import logging
import os
import socket
import stat
import struct
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Final

from trimtab_agent.aggregator import Aggregator
from trimtab_agent.app import MAX_ROUTES, App, Slots
from trimtab_core.config import parse_address
from trimtab_core.errors import FrameError, StartupError
from trimtab_core.frames import FrameReader, encode
from trimtab_core.logs import RateLimited
from trimtab_core.messages import Bye, Hello, Readings, Routes, Samples, Welcome, parse

__all__ = ["Listener"]

log = logging.getLogger("trimtab.listener")

_CREDENTIALS: Final = struct.Struct("3i")
#: A connection that has not said hello by then is closed.
_HELLO_S: Final = 10.0


class Listener:
    """Takes connections and hands their records to the aggregator; lives on the agent's loop."""

    def __init__(
        self,
        address: str,
        aggregator: Aggregator,
        agent: str,
        *,
        max_apps: int,
        allow_uids: frozenset[int],
    ) -> None:
        self.address = parse_address(address)
        if self.address.kind != "unix":
            raise StartupError(f"expected a socket of the form unix:///path, got {address!r}")
        self.aggregator = aggregator
        self.agent = agent
        self.max_apps = max_apps
        self.allow_uids = allow_uids | {0, os.getuid()}
        self.slots = Slots()
        self.apps: dict[bytes, App] = {}
        self.connections: set[Connection] = set()
        #: connections closed, by reason
        self.refused: Counter[str] = Counter()
        #: frames of unknown type
        self.skipped = 0
        #: records that came again and were not taken twice
        self.repeated = 0
        self.warn = RateLimited(log)
        self._server: asyncio.AbstractServer | None = None

    async def start(self) -> None:
        """Bind the socket; raises StartupError when another agent has it, or it cannot be made."""
        path = Path(self.address.path)
        _make_directory(path.parent)
        _clear_stale(path)
        previous = os.umask(0o117)  # 0660 from the start, not after a moment
        try:
            self._server = await asyncio.get_running_loop().create_unix_server(
                lambda: Connection(self), str(path), backlog=256
            )
        except OSError as error:
            raise StartupError(
                f"cannot listen on {self.address}: {error.strerror}; set TRIMTAB_AGENT_SOCKET to a "
                "path in a directory that this user can write to"
            ) from error
        finally:
            os.umask(previous)

    async def drain(self, quiet_s: float = 0.05, most_s: float = 1.0) -> None:
        """Take no more connections, and read on until all have been quiet for a moment."""
        if self._server is not None:
            self._server.close()
        deadline = time.monotonic() + most_s
        before = -1
        while self.aggregator.records != before and time.monotonic() < deadline:
            before = self.aggregator.records
            await asyncio.sleep(quiet_s)

    def close(self) -> None:
        """Close all connections; the socket file goes with them."""
        for connection in list(self.connections):
            connection.transport.abort()
        if self._server is not None:
            self._server.close()
        Path(self.address.path).unlink(missing_ok=True)

    def departed(self) -> list[bytes]:
        """Return the processes that have left."""
        return [process for process, app in self.apps.items() if not app.connected]


class Connection(asyncio.Protocol):
    """One app process on the socket."""

    transport: asyncio.Transport

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._reader = FrameReader()
        self._app: App | None = None
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Check who it is."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - what a stream server gives
        self.transport = transport
        listener = self._listener
        uid = _peer_uid(transport)
        if uid is not None and uid not in listener.allow_uids:
            self._refuse("uid", f"user {uid} may not connect: add it to TRIMTAB_AGENT_ALLOW_UIDS")
            return
        if len(listener.connections) >= listener.max_apps:
            self._refuse("too_many", f"more than {listener.max_apps} apps (TRIMTAB_AGENT_MAX_APPS)")
            return
        listener.connections.add(self)
        loop = asyncio.get_running_loop()
        self._deadline = loop.call_later(_HELLO_S, self._refuse, "no_hello", "said no hello")

    def data_received(self, data: bytes) -> None:
        """Take the frames in data."""
        if self.transport.is_closing():
            return
        try:
            for frame in self._reader.feed(data):
                self._take(frame)
        except FrameError as error:
            self._refuse("bad_frame", str(error))

    def connection_lost(self, exc: Exception | None) -> None:
        """Note that the process left; its account goes with the next window."""
        if self._deadline is not None:
            self._deadline.cancel()
        self._listener.connections.discard(self)
        if self._app is not None and self._app.connected:
            self._app.connected = False
            self._listener.slots.release(self._app)

    def _take(self, frame: list[object]) -> None:
        message = parse(frame)
        if message is None:
            self._listener.skipped += 1
            return
        app = self._app
        if app is None:
            if not isinstance(message, Hello):
                raise FrameError(f"expected hello first, got {frame[0]!r:.40}")
            self._hello(message)
        elif isinstance(message, Samples):
            self._samples(app, message)
        elif isinstance(message, Routes):
            if len(app.routes) + len(message.routes) > MAX_ROUTES:
                raise FrameError(f"more than {MAX_ROUTES} routes")
            app.routes.update(message.routes)
            app.series.clear()
        elif isinstance(message, (Readings, Bye)):
            app.sent = max(app.sent, message.sent)
            app.dropped = message.dropped
            if isinstance(message, Readings):
                app.readings = message.values
        else:
            raise FrameError(f"a second {frame[0]!r:.40} on one connection")

    def _hello(self, hello: Hello) -> None:
        listener = self._listener
        if self._deadline is not None:
            self._deadline.cancel()
        before = listener.apps.get(hello.process)
        if before is not None and before.connected:
            raise FrameError("this process is connected already")
        self._app = App(hello, listener.slots.take(hello))
        if before is not None:
            self._app.end = before.end
            self._app.dropped = before.dropped
        listener.apps[hello.process] = self._app
        self.transport.write(encode(Welcome(listener.agent, self._app.slot).frame()))
        log.info(
            "app connected service=%s environment=%s instance=%s pid=%s",
            hello.service, hello.environment, self._app.instance, hello.pid,
        )  # fmt: skip

    def _samples(self, app: App, samples: Samples) -> None:
        app.dropped = samples.dropped
        if samples.first < app.end:
            # What we have is never taken twice, whatever an app sends again.
            known = min(app.end - samples.first, samples.count)
            self._listener.repeated += known
            samples = replace(
                samples,
                first=samples.first + known,
                data=samples.data[known * samples.record_size :],
            )
        if samples.count:
            self._listener.aggregator.add(app, samples, time.time())
            app.end = samples.first + samples.count
            app.sent = max(app.sent, app.end)

    def _refuse(self, reason: str, sentence: str) -> None:
        self._listener.refused[reason] += 1
        self._listener.warn.warning(reason, "connection closed reason=%s: %s", reason, sentence)
        self.transport.abort()


def _peer_uid(transport: asyncio.Transport) -> int | None:
    opened = transport.get_extra_info("socket")
    option = getattr(socket, "SO_PEERCRED", None)
    if opened is None or option is None:
        return None
    _, uid, _ = _CREDENTIALS.unpack(opened.getsockopt(socket.SOL_SOCKET, option, _CREDENTIALS.size))
    return int(uid)


def _make_directory(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        mode = directory.stat().st_mode
    except OSError as error:
        raise StartupError(
            f"cannot make the socket's directory {directory}: {error.strerror}; "
            "set TRIMTAB_AGENT_SOCKET to another path"
        ) from error
    if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        raise StartupError(
            f"expected a directory that others cannot write to, {directory} is writable by all: "
            f"chmod o-w {directory}"
        )


def _clear_stale(path: Path) -> None:
    """Remove a socket file that nobody listens on; raises StartupError when somebody does."""
    if not path.exists():
        return
    if not stat.S_ISSOCK(path.lstat().st_mode):
        raise StartupError(f"expected a socket or nothing at {path}, there is another file")
    probe = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    probe.settimeout(1)
    try:
        probe.connect(str(path))
    except OSError as error:
        if error.errno in (errno.ECONNREFUSED, errno.ENOENT):
            path.unlink(missing_ok=True)
            return
        raise StartupError(f"cannot reach the socket {path}: {error.strerror}") from error
    finally:
        probe.close()
    raise StartupError(
        f"another agent listens on {path}: stop it, or set TRIMTAB_AGENT_SOCKET to another path"
    )
