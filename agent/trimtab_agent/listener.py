"""What apps connect to: a Unix socket, and TCP if configured; one connection per app process.

A connection begins with hello. A frame that breaks the protocol closes its connection, counted by
reason; other connections go on. On the Unix socket both ends check each other's user: only root,
the agent's own user and configured ones may connect. Over TCP an app proves that it has the agent's
token, if there is one (`seal.py`). Who gets a place, and who must give it up, is in `places.py`,
and whose a service is in `owners.py`.
"""

import asyncio
import logging
import os
import socket
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from trimtab_agent.aggregator import Aggregator
from trimtab_agent.app import App, Workers
from trimtab_agent.dating import ages_of, moment_of, moments_of
from trimtab_agent.departed import MAX_DEPARTED, Departed
from trimtab_agent.gathered import Gathered
from trimtab_agent.owners import TCP, ServiceOwners
from trimtab_agent.peers import NOBODY
from trimtab_agent.places import MAX_WAITING, Places
from trimtab_agent.sockets import (
    ACCEPT,
    BACKLOG,
    bind_tcp,
    bind_unix,
    most_connections,
    peer_of,
    rest_of,
    share_of,
)
from trimtab_agent.told import ConnectedLines
from trimtab_core.config import parse_address
from trimtab_core.errors import FrameError, StartupError
from trimtab_core.frames import MAX_FRAME, FrameReader, encode
from trimtab_core.logs import RateLimited
from trimtab_core.messages import (
    Bye,
    Challenge,
    ChallengeResponse,
    Closing,
    Deltas,
    Events,
    Gauges,
    Hello,
    MeasureNames,
    Message,
    Proof,
    Routes,
    Samples,
    Welcome,
    parse,
)
from trimtab_core.seal import Seal, new_nonce, proof_of, proves, seal_of

__all__ = ["Listener"]

log = logging.getLogger("trimtab.listener")

_SCRATCH_BYTES: Final = 256 * 1024
#: Bytes that a connection may send before its hello.
_HELLO_BYTES: Final = 64 * 1024


class Listener:
    """Takes connections, hands records to the aggregator, measures and events to gathered.

    Lives on the agent's loop.
    """

    def __init__(
        self,
        address: str,
        aggregator: Aggregator,
        gathered: Gathered,
        agent: str,
        *,
        max_apps: int,
        allow_uids: frozenset[int],
        tcp: str = "",
        token: str = "",
        owners: ServiceOwners | None = None,
    ) -> None:
        self.address = parse_address(address)
        if self.address.kind != "unix":
            raise StartupError(f"expected a socket of the form unix:///path, got {address!r}")
        self.tcp = parse_address(tcp) if tcp else None
        if self.tcp is not None and self.tcp.kind != "tcp":
            raise StartupError(f"expected an address of the form tcp://host:port, got {tcp!r}")
        self.aggregator = aggregator
        self.gathered = gathered
        self.agent = agent
        self.places = Places(max_apps)
        self.reconfigure(max_apps, allow_uids, token)
        self.owners = owners or ServiceOwners()
        self.workers = Workers()
        self.apps: dict[bytes, App] = {}
        self.leavers = Departed(self.apps)
        self.connections: set[Connection] = set()
        self.refused: Counter[str] = Counter()  # connections closed, by reason
        self.skipped = 0  # frames of unknown type
        self.gauges_dropped = 0  # no finite number, or the name of one that is no app's
        self.repeated = 0  # records that an app sent again; they count once
        self.warn = RateLimited(log)
        self.told = ConnectedLines()
        self.scratch = memoryview(bytearray(_SCRATCH_BYTES))  # all connections read into it
        self._servers: list[asyncio.AbstractServer] = []
        self._all_left = asyncio.Event()

    async def start(self) -> None:
        """Bind the sockets; raises StartupError when one is taken or cannot be made."""
        loop = asyncio.get_running_loop()
        opened = bind_unix(self.address)
        self._servers.append(
            await loop.create_unix_server(lambda: Connection(self), sock=opened, backlog=ACCEPT)
        )
        opened.listen(BACKLOG)  # asyncio takes one number for this and for accepting
        if self.tcp is not None:
            opened = bind_tcp(self.tcp, self.token)
            self._servers.append(
                await loop.create_server(lambda: Connection(self), sock=opened, backlog=ACCEPT)
            )
            opened.listen(BACKLOG)

    def reconfigure(self, max_apps: int, allow_uids: frozenset[int], token: str) -> None:
        """Use other bounds, users and another token for connections from now on."""
        self.max_apps, self.token = most_connections(max_apps), token
        self.places.limit(self.max_apps, share_of(MAX_WAITING, 8))
        self.allow_uids = allow_uids | {0, os.getuid()}

    async def drain(self, most_s: float = 1.0) -> None:
        """Take no more connections; ask the apps to finish their frames and hang up.

        Then everything they count as sent has been read. An app that does not hang up within
        most_s, a frozen one for example, is left to `close`.
        """
        self._stop_listening()
        for connection in self.connections:
            connection.send(Closing())
        self._all_left.clear()
        if self.connections:
            try:
                await asyncio.wait_for(self._all_left.wait(), most_s)
            except TimeoutError:
                log.info("apps that did not hang up in time: %s", len(self.connections))

    def close(self) -> None:
        """Close all connections and sockets."""
        self._stop_listening()
        self.places.stop()
        for connection in list(self.connections):
            connection.transport.abort()

    def left(self, connection: "Connection") -> None:
        """Forget a connection that has ended."""
        self.connections.discard(connection)
        self.places.leave(connection)
        if not self.connections:
            self._all_left.set()

    def _stop_listening(self) -> None:
        if self._servers:
            # The file first: as soon as nobody listens, the next agent may put its own there.
            Path(self.address.path).unlink(missing_ok=True)
        for server in self._servers:
            server.close()
        self._servers.clear()

    def departed(self) -> list[bytes]:
        """Return the processes that have left; they may be forgotten at once."""
        return self.leavers.all()


class Connection(asyncio.BufferedProtocol):
    """One app process on the socket.

    All connections of a loop read into one buffer: a buffer for each read would cost as much as the
    records in it, one for each connection 256 KiB.
    """

    transport: asyncio.Transport

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._reader = FrameReader(_HELLO_BYTES)
        self._seal: Seal | None = None
        #: nonces of app and agent, between challenge and proof
        self._nonces: tuple[bytes, bytes] | None = None
        self._needs_proof = self.is_local = False
        self.peer, self._who = NOBODY, TCP
        self._app: App | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Check the user at the other end, and the limit of connections."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - what a stream server gives
        self.transport = transport
        listener = self._listener
        opened: socket.socket = transport.get_extra_info("socket")
        self.is_local = opened.family == socket.AF_UNIX
        self._needs_proof = bool(listener.token) and not self.is_local
        uid, self.peer = peer_of(opened)
        self._who = self.peer.user if self.is_local else TCP
        if uid is not None and uid not in listener.allow_uids:
            self.refuse("uid", f"user {uid} may not connect: add it to TRIMTAB_AGENT_ALLOW_UIDS")
            return
        listener.connections.add(self)
        listener.places.enter(self)

    @property
    def is_trusted(self) -> bool:
        """Whether it is on the Unix socket, or has shown the agent's token."""
        return self.is_local or self._seal is not None

    @property
    def unfinished(self) -> int:
        """A number that stays the same while one frame is unfinished; -1 when none is."""
        return self._reader.joined if self._reader.held else -1

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return the buffer for the next read."""
        return self._listener.scratch

    def buffer_updated(self, nbytes: int) -> None:
        """Handle the frames in the bytes that were read."""
        self._feed(self._listener.scratch[:nbytes])

    def _feed(self, data: bytes | memoryview) -> None:
        if self.transport.is_closing():
            return
        try:
            for frame in self._reader.feed(data):
                self._take(frame)
        except FrameError as error:
            self.refuse("bad_frame", str(error))
        except Exception:  # noqa: BLE001 - a frame costs its own connection, whatever is in it
            self._listener.aggregator.faults.note("listener")
            self.refuse("internal", "a frame of this app could not be read, see the log")

    def connection_lost(self, exc: Exception | None) -> None:
        """Note that the process left; its accounting goes with the next window."""
        self._leave()

    def _leave(self) -> None:
        self._listener.left(self)
        app, self._app = self._app, None
        if app is not None:
            # Once its records are booked, nothing needs its names any more; the accounting stays.
            self._listener.aggregator.book(app)
            app.leave()
            self._listener.leavers.note(app)
            self._listener.workers.release(app)

    def finish(self) -> None:
        """Read what is left in the socket, then close: the process has made a new connection.

        It has closed this one, or its host is gone: nothing more will come, but what has come is
        older than anything on the new connection and must be read first.
        """
        for data in rest_of(self.transport.get_extra_info("socket")):
            self._feed(data)
        self.transport.abort()
        self._leave()

    def _take(self, frame: list[object]) -> None:
        message = parse(frame)
        if message is None:
            self._listener.skipped += 1
            return
        app = self._app
        if app is None:
            self._before_hello(message, frame)
        elif isinstance(message, Samples):
            self._samples(app, message)
        elif isinstance(message, Routes):
            self._routes(app, message.routes)
        elif isinstance(message, (Gauges, Bye)):
            app.sent = max(app.sent, message.sent)
            app.dropped = message.dropped
            if isinstance(message, Gauges):
                app.gauges = message.values
                self._listener.gauges_dropped += message.malformed
        elif isinstance(message, MeasureNames):
            app.name_measures(message.keys)
        elif isinstance(message, Deltas):
            self._deltas(app, message)
        elif isinstance(message, Events):
            ages = ages_of(message, time.time(), self._now_mono_us())
            now_us = time.monotonic_ns() // 1000
            self._listener.gathered.note(app, message, [now_us - round(s * 1e6) for s in ages])
        else:
            raise FrameError(f"a second {frame[0]!r:.40} on one connection")

    def _routes(self, app: App, routes: Mapping[int, str]) -> None:
        """Note what route ids mean in records that follow."""
        if any(app.routes.get(route, template) != template for route, template in routes.items()):
            # An app gives the id of a route that is no longer used to another one. Records that
            # came before this frame belong to the old route.
            self._listener.aggregator.book(app)
        app.name_routes(routes)
        app.series.clear()

    def send(self, message: Welcome | Closing | ChallengeResponse) -> None:
        """Write a message; bytes that the socket does not take yet wait in memory."""
        self.transport.write(encode(message.frame(), self._seal))

    def _before_hello(self, message: Message, frame: list[object]) -> None:
        if self.transport.is_closing():  # it was refused, and more came with its hello
            return
        token = self._listener.token
        if isinstance(message, Challenge) and self._nonces is None:
            if not token:
                raise FrameError("expected hello, got a challenge: no TRIMTAB_AGENT_TOKEN is set")
            self._nonces = (message.nonce, new_nonce())
            proof = proof_of(token, "agent", *self._nonces)
            self.send(ChallengeResponse(self._nonces[1], proof))
        elif isinstance(message, Proof) and self._nonces is not None and self._seal is None:
            if not proves(message.proof, token, "app", *self._nonces):
                raise FrameError("expected an app with this agent's token, got one without it")
            self._seal = seal_of(token, "agent", *self._nonces)
            self._reader.seal = seal_of(token, "app", *self._nonces)
            self.peer = self.peer._replace(user=f"{self.peer.user} with token")
        elif not isinstance(message, Hello):
            raise FrameError(f"expected hello first, got {frame[0]!r:.40}")
        elif self._needs_proof and self._seal is None:
            raise FrameError("expected an app with this agent's token, got one that has none")
        else:
            self._hello(message)

    def _hello(self, hello: Hello) -> None:
        listener = self._listener
        self._reader.limit = MAX_FRAME
        before = listener.apps.get(hello.process)
        if wrong := listener.owners.refusal(self._who, hello.service, before):
            self.refuse(*wrong)
            return
        if before is None and not listener.leavers.has_room(self.peer, listener.max_apps):
            self.refuse("departed", f"more than {MAX_DEPARTED} processes left within one window")
            return
        if before is not None and before.connected:
            for connection in [each for each in listener.connections if each._app is before]:
                connection.finish()
        app = App(hello, listener.workers.take(hello), who=self._who, peer=self.peer)
        if wrong := listener.gathered.names.refusal(app) or listener.places.seat(self):
            listener.workers.release(app)
            self.refuse(*wrong)
            return
        self._app = app
        if before is not None:
            listener.leavers.back(before)
            app.resume(before)
        listener.apps[hello.process] = app
        self.send(Welcome(listener.agent, app.worker))
        listener.told.connected(app)

    def _samples(self, app: App, samples: Samples) -> None:
        app.dropped = samples.dropped
        if samples.first < app.end:
            # A record that was received counts once, whatever an app sends again.
            known = min(app.end - samples.first, samples.count)
            self._listener.repeated += known
            data = samples.data[known * samples.record_size :]
            samples = replace(samples, first=samples.first + known, data=data)
        if samples.count:
            self._listener.aggregator.add(app, samples, time.time(), self._now_mono_us())
            app.end = samples.first + samples.count
            app.sent = max(app.sent, app.end)

    def _deltas(self, app: App, message: Deltas) -> None:
        now_s = end_s = time.time()
        if message.wall_us:
            end_s = moment_of(message.wall_us, message.mono_us, now_s, self._now_mono_us())
        aggregator = self._listener.aggregator
        moments = moments_of(end_s, message.span_us / 1e6, aggregator.window_s)
        if len(moments) == 1:
            windows = [aggregator.window_at(moments[0], now_s, app).start_s]
        else:
            windows = [int(at_s) // aggregator.window_s * aggregator.window_s for at_s in moments]
        self._listener.gathered.add(app, message, windows)

    def _now_mono_us(self) -> int:
        # Another machine, which TCP may lead to, has another monotonic clock.
        return time.monotonic_ns() // 1000 if self.is_local else 0

    def refuse(self, reason: str, sentence: str) -> None:
        """Close the connection, and count why."""
        self._listener.refused[reason] += 1
        self._listener.warn.warning(reason, "connection closed reason=%s: %s", reason, sentence)
        self.transport.abort()
