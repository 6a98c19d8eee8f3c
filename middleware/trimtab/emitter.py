"""The thread that sends records to the agent: a little at a time, often, and never waited for.

Each interval it takes what is in the recorder as a chunk with its clock pair, and sends chunks as
frames of at most FRAME_RECORDS over a non-blocking socket. A record gets its number when the frame
that holds it is begun. A frame that was not sent to its end when the connection broke cannot have
been read, and is sent again whole, with the same numbers, on the next one; so nothing is counted
twice, and what an agent took with it when it died is a gap in the numbers.

While the agent is away chunks wait in a bounded backlog; the oldest go first, counted as
`agent_away`. Measures wait by window meanwhile. Once per second it adds gauges of the
process. It installs no signal handler.
"""

import random
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final

from trimtab.connection import Connections, Link
from trimtab.pending import Pending
from trimtab.recorder import Recorder
from trimtab_core.config import Address
from trimtab_core.errors import FrameError
from trimtab_core.frames import encode
from trimtab_core.logs import app_logger
from trimtab_core.messages import Bye, Closing, Gauges, Hello, Routes, Samples, Welcome, parse
from trimtab_core.records import RECORD_SIZE

__all__ = ["Emitter"]

log = app_logger("trimtab.emitter")

#: 48 kB: taking, packing and sending a frame holds the GIL for about 0.03 ms.
FRAME_RECORDS: Final = 1024
_FRAME_BYTES: Final = FRAME_RECORDS * RECORD_SIZE
#: Memory of a chunk besides its records.
_CHUNK_BYTES: Final = 256
_FREE_CHUNKS: Final = 100
#: Chunks this close in time are joined while they wait.
_JOIN_US: Final = 1_000_000
_BACKOFF_S: Final = (0.1, 1.5)
#: Gauges, measures and events are gathered at this interval.
_GATHER_S: Final = 1.0
#: This many of the longest templates, in characters of four bytes, still fit a frame.
_ROUTES_A_FRAME: Final = 300


class Emitter:
    """Owns the connection to the agent and the thread behind it.

    `start`, `flush` and `stop` may be called from any thread of the process that made it;
    everything else runs in the emitter's own thread.
    """

    def __init__(
        self,
        recorder: Recorder,
        address: Address,
        hello: Callable[[int, int], Hello],
        gauges: Callable[[], Mapping[str, float]] | None,
        *,
        connections: Connections,
        pending: Pending,
        interval_s: float,
        backlog_bytes: int,
        peer_uids: frozenset[int],
        token: str = "",
        probe: Callable[[], None] | None = None,
    ) -> None:
        self._recorder = recorder
        self._address = address
        self._connections = connections
        self._hello = hello
        self._gauges = gauges
        #: called at each turn, so that gauges can tell what happens between them
        self._probe = probe
        self._interval_s = interval_s
        self._backlog_bytes = backlog_bytes
        self._peer_uids = peer_uids
        self._token = token
        self._link: Link | None = None
        self._chunks: deque[_Chunk] = deque()
        self._held_bytes = 0
        self._unsent = memoryview(b"")
        self._in_flight: _Chunk | None = None
        self._welcomed = self._closing = False
        self._sent = 0
        self._worker = -1
        #: number of the latest announcement of a route that this connection has had
        self._announced = 0
        #: when records were last taken, in monotonic seconds
        self._taken_at = recorder.held_since
        self._dropped: dict[str, int] = {}
        self._next_try = 0.0
        self._backoff_s = _BACKOFF_S[0]
        self._next_gauges = self._next_pending = 0.0
        self._pending = pending
        self._next_warning = 0.0
        self._stopping = False
        self._abandoned = False
        self._flushes: deque[threading.Event] = deque()
        self._wake_read, self._wake_write = socket.socketpair()
        for end in (self._wake_read, self._wake_write):
            end.setblocking(False)
        self._thread = threading.Thread(target=self._run, name="trimtab-emitter", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def flush(self, timeout_s: float = 0.25) -> bool:
        """Ask for everything recorded so far to be sent; tell whether that was done in time."""
        done = threading.Event()
        self._flushes.append(done)
        self._wake()
        return done.wait(timeout_s)

    def stop(self, timeout_s: float = 0.25) -> None:
        """Send everything, say bye and end the thread, within the time."""
        self._stopping = True
        self._wake()
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._thread.join(timeout_s)

    @property
    def is_connected(self) -> bool:
        """Tell whether an agent has said welcome, and has not hung up."""
        return self._link is not None and self._welcomed

    @property
    def accounting(self) -> dict[str, int]:
        """Records sent, held here, and dropped in all; for tests and doctor."""
        held = self._held_bytes // RECORD_SIZE + len(self._recorder.buffer) // RECORD_SIZE
        return {"sent": self._sent, "held": held, "dropped": sum(self._drops().values())}

    def abandon(self) -> None:
        """Close all sockets: those of a thread that ends, or a fork's copies of its parent's."""
        self._abandoned = True
        for opened in (self._link and self._link.socket, self._wake_read, self._wake_write):
            if opened is not None:
                opened.close()
        self._link = None

    def _wake(self) -> None:
        try:
            self._wake_write.send(b"x")
        except OSError:  # full: it is awake already; closed: it has ended
            pass

    def _run(self) -> None:
        while not self._abandoned:
            stopping = self._stopping
            flushes = len(self._flushes)
            try:
                self._turn(time.monotonic())
            except Exception:
                log.debug("emitter turn failed", exc_info=True)
                self._disconnect()
            clean = not self._chunks and not self._unsent and self._pending.is_empty
            for _ in range(flushes if clean or self._link is None else 0):
                self._flushes.popleft().set()
            if stopping and (clean or self._link is None):
                self._end()
                return
            self._wait(bool(self._unsent))
        # A thread that is a greenlet (gevent) outlives a fork. The child has an emitter of its own,
        # and threading has forgotten this one there: its end would be a traceback.
        threading.Event().wait()

    def _wait(self, blocked: bool) -> None:
        if self._abandoned:
            return
        opened = self._link.socket if self._link else None
        if hasattr(select, "poll"):
            poll = select.poll()  # not select(): apps have descriptors above 1023
            poll.register(self._wake_read, select.POLLIN)
            if opened is not None:
                poll.register(opened, select.POLLIN | select.POLLOUT if blocked else select.POLLIN)
            poll.poll(self._interval_s * 1000)
        else:
            readable = [self._wake_read, *([opened] if opened else [])]
            select.select(readable, [opened] if opened and blocked else [], [], self._interval_s)
        try:
            self._wake_read.recv(4096)
        except OSError:
            pass

    def _turn(self, now: float) -> None:
        self._collect()
        if self._link is None and (now >= self._next_try or self._stopping):
            self._connect(now)
        if now >= self._next_pending or self._pending.is_due or self._stopping or self._flushes:
            self._next_pending = now + _GATHER_S
            self._pending.gather(is_linked=self._link is not None)
        if self._link is None:
            return
        self._receive()
        if self._probe is not None:
            self._probe()
        if self._welcomed and now >= self._next_gauges and not self._unsent:
            self._next_gauges = now + _GATHER_S
            self._write_gauges()
        self._send_all()

    def _collect(self) -> None:
        since, self._taken_at = self._taken_at, time.monotonic()
        data = self._recorder.take()
        if self._recorder.routes.is_filling:
            self._recorder.routes.mark(data)
        if data:
            self._add_chunks(data, since)
        self._recorder.held_since = self._chunks[0].since if self._chunks else self._taken_at

    def _add_chunks(self, data: bytes, since: float) -> None:
        wall_us, mono_us = time.time_ns() // 1000, time.monotonic_ns() // 1000
        last = self._chunks[-1] if self._chunks else None
        joins = (
            last is not None
            and last is not self._in_flight
            and 0 <= mono_us - last.mono_us < _JOIN_US
            and len(last.data) + len(data) <= _FRAME_BYTES
        )
        if joins and last is not None:
            last.data += data
        else:
            for start in range(0, len(data), _FRAME_BYTES):
                part = bytearray(data[start : start + _FRAME_BYTES])
                self._chunks.append(_Chunk(wall_us, mono_us, since, part))
        self._held_bytes += len(data)
        while self._backlog() > self._backlog_bytes and len(self._chunks) > 1:
            self._drop_oldest()

    def _backlog(self) -> int:
        # A quiet app makes many small chunks while the agent is away: their own cost counts, too.
        return self._held_bytes + max(0, len(self._chunks) - _FREE_CHUNKS) * _CHUNK_BYTES

    def _drop_oldest(self) -> None:
        # A frame that has begun is finished: its chunk stays.
        index = 1 if self._chunks[0] is self._in_flight else 0
        chunk = self._chunks[index]
        del self._chunks[index]
        self._held_bytes -= len(chunk.data)
        self._dropped["agent_away"] = (
            self._dropped.get("agent_away", 0) + len(chunk.data) // RECORD_SIZE
        )

    def _drops(self) -> dict[str, int]:
        full = self._recorder.dropped_full
        return {**self._dropped, **({"buffer_full": full} if full else {})}

    def _connect(self, now: float) -> None:
        self._backoff_s = min(self._backoff_s * 2, _BACKOFF_S[1])
        self._next_try = now + random.uniform(_BACKOFF_S[0], self._backoff_s)
        try:
            self._link = self._connections.connect(self._address, self._peer_uids, self._token)
        except OSError as error:
            if now >= self._next_warning:
                self._next_warning = now + 60
                log.warning(
                    "no agent at %s (%s): requests go on unmeasured until there is one; "
                    "start it with `trimtab agent`, or set TRIMTAB_ENABLED=0",
                    self._address, error,
                )  # fmt: skip
            return
        self._welcomed = self._closing = False
        self._announced = 0
        self._next_gauges = 0.0
        self._pending.connected()
        self._begin(self._hello(self._sent, self._worker).frame())

    def _disconnect(self) -> None:
        if self._link is not None:
            self._link.socket.close()
        self._link = None
        self._unsent = memoryview(b"")
        # Not sent to its end: the agent cannot have read it. Its numbers are still free.
        self._in_flight = None

    def _receive(self) -> None:
        if self._link is None:
            return
        try:
            data = self._link.socket.recv(65536)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data:
            self._disconnect()
            return
        try:
            for frame in self._link.reader.feed(data):
                message = parse(frame)
                if isinstance(message, Welcome):
                    self._welcomed = True
                    self._worker = message.worker
                    self._backoff_s = _BACKOFF_S[0]
                elif isinstance(message, Closing):
                    self._closing = True
        except FrameError as error:
            log.debug("the agent sent a malformed frame: %s", error)
            self._disconnect()

    def _write_gauges(self) -> None:
        if self._gauges is None or self._closing:
            return
        gauges = Gauges(time.time_ns() // 1000, self._sent, self._drops(), self._gauges())
        self._begin(gauges.frame())

    def _send_all(self) -> None:
        while self._link is not None:
            if not self._unsent and self._closing:
                # The agent has all that was sent; the next frame is for the one after it.
                self._disconnect()
                return
            if not self._unsent and not self._next_frame():
                return
            try:
                count = self._link.socket.send(self._unsent)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                self._disconnect()
                return
            self._unsent = self._unsent[count:]
            if self._unsent:
                continue
            self._pending.sent()
            if self._in_flight is not None:
                chunk = self._chunks.popleft()
                self._held_bytes -= len(chunk.data)
                self._sent += len(chunk.data) // RECORD_SIZE
                self._in_flight = None

    def _next_frame(self) -> bool:
        """Begin the next frame; False when there is nothing to send, or no agent to take it."""
        if not self._welcomed and not self._stopping:
            # An agent that refuses us hangs up: what it was sent by then would be lost.
            return False
        if self._recorder.routes.seq > self._announced:
            # Before the chunks that may speak of them.
            self._announced, part = self._recorder.routes.after(self._announced, _ROUTES_A_FRAME)
            self._begin(Routes(part).frame())
            return True
        if not self._chunks:
            frame = self._pending.next_frame()
            if frame is not None:
                self._begin(frame)
            return frame is not None
        chunk = self._chunks[0]
        self._in_flight = chunk
        samples = Samples(
            chunk.wall_us, chunk.mono_us, self._sent, self._drops(), RECORD_SIZE, bytes(chunk.data)
        )
        self._begin(samples.frame())
        return True

    def _begin(self, message: list[Any]) -> None:
        """Make a message the frame that is being sent; sealed frames go in the order of this."""
        assert self._link is not None  # noqa: S101 - callers have one
        self._unsent = memoryview(encode(message, self._link.seal))

    def _end(self) -> None:
        if self._link is not None:
            try:
                bye = encode(Bye(self._sent, self._drops()).frame(), self._link.seal)
                self._link.socket.send(bye)
            except OSError:
                pass
        self._pending.end()
        self.abandon()
        while self._flushes:
            self._flushes.popleft().set()


class _Chunk:
    __slots__ = ("data", "mono_us", "since", "wall_us")

    def __init__(self, wall_us: int, mono_us: int, since: float, data: bytearray) -> None:
        self.wall_us = wall_us
        self.mono_us = mono_us
        #: monotonic seconds before which none of its records was appended
        self.since = since
        self.data = data
