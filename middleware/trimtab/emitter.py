"""The thread that sends records to the agent: a little at a time, often, and never waited for.

Each interval it takes what is in the recorder as a chunk with its clock pair, and sends chunks as
frames of at most FRAME_RECORDS over a non-blocking socket. A record gets its number when the frame
that holds it is begun. A frame that was not sent to its end when the connection broke cannot have
been read, and is sent again whole, with the same numbers, on the next one; so nothing is counted
twice, and what an agent took with it when it died is a gap in the numbers.

While the agent is away chunks wait in a bounded backlog; the oldest go first, counted as
`agent_away`. Measures wait by window meanwhile. Once per second it adds gauges of the
process. It installs no signal handler.

What no frame can be made of costs itself: it is left out, counted, and said in the app's log;
everything else goes on.
"""

import random
import threading
from collections import deque
from collections.abc import Callable, Mapping
from time import monotonic, time_ns
from typing import Any, Final

from trimtab.chunks import FRAME_RECORDS, Chunk, ChunkBacklog
from trimtab.connection import Connections, Link
from trimtab.pending import Pending
from trimtab.recorder import Recorder
from trimtab.sockets import NO_SIGNAL, WakingPair, close_ours, is_ours
from trimtab.threads import OwnThread, is_left_alone, runs_in_main_thread
from trimtab_core.config import Address
from trimtab_core.errors import FrameError
from trimtab_core.frames import encode
from trimtab_core.logs import RateLimited, app_logger
from trimtab_core.messages import Bye, Closing, Gauges, Hello, Routes, Samples, Welcome, parse
from trimtab_core.records import RECORD_SIZE

__all__ = ["FRAME_RECORDS", "Emitter"]

log = app_logger("trimtab.emitter")

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
        self._peer_uids = peer_uids
        self._token = token
        self._link: Link | None = None
        self._chunks = ChunkBacklog(backlog_bytes)
        self._unsent = memoryview(b"")
        self._welcomed = self._closing = self._stopping = self._abandoned = False
        self._sent = 0
        self._worker = -1
        #: number of the latest announcement of a route that this connection has had, and before
        #: the frame that is being made
        self._announced = self._announced_before = 0
        self._most_routes = _ROUTES_A_FRAME
        #: when records were last taken, in monotonic seconds
        self._taken_at = recorder.held_since
        self._backoff_s = _BACKOFF_S[0]
        self._next_try = self._next_gauges = self._next_pending = 0.0
        self._pending = pending
        self._warn = RateLimited(log)
        self._flushes: deque[threading.Event] = deque()
        self._thread = OwnThread(self._run, "trimtab-emitter")
        # Last: where there may be no such thread, no sockets are left behind.
        self._waking = WakingPair()

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def flush(self, timeout_s: float = 0.25) -> bool:
        """Ask for everything recorded so far to be sent; tell whether that was done in time."""
        done = threading.Event()
        self._flushes.append(done)
        self._waking.wake()
        return done.wait(timeout_s)

    def stop(self, timeout_s: float = 0.25) -> None:
        """Send everything, say bye and end the thread, within the time."""
        self._stopping = True
        self._waking.wake()
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._thread.join(timeout_s)

    @property
    def is_connected(self) -> bool:
        """Tell whether an agent has said welcome, and has not hung up."""
        return self._link is not None and self._welcomed

    @property
    def accounting(self) -> dict[str, int]:
        """Records sent, held here, and dropped in all; for tests and doctor."""
        held = self._chunks.held_bytes // RECORD_SIZE + len(self._recorder.buffer) // RECORD_SIZE
        return {"sent": self._sent, "held": held, "dropped": sum(self._drops().values())}

    def abandon(self) -> None:
        """Close all sockets: those of a thread that ends, or a fork's copies of its parent's."""
        self._abandoned = True
        if self._link is not None:
            close_ours(self._link.socket, self._link.file)
        self._waking.close()
        self._link = None

    def _run(self) -> None:
        try:
            self._send_for_ever()
        except BaseException:
            # The app has ended this thread: the next request starts another.
            self._recorder.fall_asleep()
            self._pending.end()
            self.abandon()
            if runs_in_main_thread():
                # A greenlet: it is the app's own end, or what its signal handler has raised.
                raise

    def _send_for_ever(self) -> None:
        while not self._abandoned:
            try:
                if self._round():
                    return
            except Exception as error:  # noqa: BLE001 - whatever it is, it sends for ever
                self._note("frames", error)
                threading.Event().wait(self._interval_s)
        # A thread that is a greenlet (gevent) outlives a fork. The child has an emitter of its own,
        # and threading has forgotten this one there: its end would be a traceback.
        threading.Event().wait()

    def _round(self) -> bool:
        """Take a turn, and wait for the next; True when that was the last."""
        if not self._stopping and is_left_alone():
            self._stopping = True
            self._recorder.fall_asleep()
        stopping = self._stopping
        flushes = len(self._flushes)
        self._disown()
        try:
            self._turn(monotonic())
        except Exception as error:  # noqa: BLE001 - it sends for ever, here and below
            self._note("frames", error)
            self._disconnect()
        clean = not self._chunks and not self._unsent and self._pending.is_empty
        for _ in range(flushes if clean or self._link is None else 0):
            self._flushes.popleft().set()
        if stopping and (clean or self._link is None):
            self._end()
            return True
        self._wait(bool(self._unsent))
        return False

    def _wait(self, blocked: bool) -> None:
        if self._abandoned:
            return
        self._waking.wait(self._link and self._link.socket, self._interval_s, blocked=blocked)

    def _disown(self) -> None:
        """Let go of sockets that the app has closed, as it may close all it did not open.

        Their numbers may be those of its own files by now: nothing is read from, written to or
        closed there. A closed one would also be ready at once, each time it is waited for.
        """
        if not self._waking.is_ours:
            self._waking.close()
            self._waking = WakingPair()
        if self._link is not None and not is_ours(self._link.socket, self._link.file):
            self._disconnect()

    def _turn(self, now: float) -> None:
        self._step("records", self._collect)
        if self._link is None and (now >= self._next_try or self._stopping):
            self._connect(now)
        if now >= self._next_pending or self._pending.is_due or self._stopping or self._flushes:
            self._next_pending = now + _GATHER_S
            is_linked = self._link is not None
            self._step("measures", lambda: self._pending.gather(is_linked=is_linked))
        if self._link is None:
            return
        self._receive()
        if self._probe is not None:
            self._step("gauges", self._probe)
        if self._welcomed and now >= self._next_gauges and not self._unsent:
            self._next_gauges = now + _GATHER_S
            self._step("gauges", self._write_gauges)
        self._send_all()

    def _step(self, what: str, step: Callable[[], object]) -> None:
        """Take one step of a turn; one that raises costs itself alone."""
        try:
            step()
        except Exception as error:  # noqa: BLE001
            self._note(what, error)

    def _note(self, what: str, error: Exception) -> None:
        try:
            log.debug("the emitter could not send %s", what, exc_info=error)
            self._warn.warning(
                what,
                "some %s could not be sent to the agent (%s: %.200s): they are left out and "
                "counted, all else goes on; please report this",
                what, type(error).__name__, error,
            )  # fmt: skip
        except Exception:  # noqa: BLE001, S110 - where memory is short, there is none to say so
            pass

    def _collect(self) -> None:
        since, self._taken_at = self._taken_at, monotonic()
        data = self._recorder.take()
        if self._recorder.routes.is_filling:
            self._recorder.routes.mark(data)
        if data:
            try:
                self._chunks.add(data, since)
            except Exception:
                self._chunks.count_lost(len(data))
                raise
        first = self._chunks.first
        self._recorder.held_since = self._taken_at if first is None else first.since

    def _drops(self) -> dict[str, int]:
        full = self._recorder.dropped_full
        return {**self._chunks.dropped, **({"buffer_full": full} if full else {})}

    def _connect(self, now: float) -> None:
        self._backoff_s = min(self._backoff_s * 2, _BACKOFF_S[1])
        self._next_try = now + random.uniform(_BACKOFF_S[0], self._backoff_s)
        try:
            self._link = self._connections.connect(self._address, self._peer_uids, self._token)
        except OSError as error:
            if self._connections.may_tell(str(self._address), now):
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
            close_ours(self._link.socket, self._link.file)
        self._link = None
        self._unsent = memoryview(b"")
        # Not sent to its end: the agent cannot have read it. Its numbers are still free.
        self._chunks.in_flight = None

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
        gauges = Gauges(time_ns() // 1000, self._sent, self._drops(), self._gauges())
        self._begin(gauges.frame())

    def _send_all(self) -> None:
        while self._link is not None:
            if not self._unsent and self._closing:
                # The agent has all that was sent; the next frame is for the one after it.
                self._disconnect()
                return
            if not self._unsent and not self._next_frame():
                return
            if not self._unsent:
                continue  # what it was to hold has been set aside
            try:
                count = self._link.socket.send(self._unsent, NO_SIGNAL)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                self._disconnect()
                return
            self._unsent = self._unsent[count:]
            if self._unsent:
                continue
            self._pending.sent()
            self._sent += self._chunks.sent()

    def _next_frame(self) -> bool:
        """Begin the next frame; False when there is nothing to send, or no agent to take it."""
        if not self._welcomed and not self._stopping:
            # An agent that refuses us hangs up: what it was sent by then would be lost.
            return False
        kind = "measures"
        try:
            if self._recorder.routes.seq > self._announced:
                # Before the chunks that may speak of them.
                kind, message = "routes", self._next_routes()
            elif self._chunks.first is not None:
                kind, message = "records", self._next_samples(self._chunks.first)
            else:
                found = self._pending.next_frame()
                if found is None:
                    return False
                message = found
            self._begin(message)
        except Exception as error:  # noqa: BLE001
            self._note(kind, error)
            return self._set_aside(kind)
        return True

    def _set_aside(self, kind: str) -> bool:
        """Leave out what the next frame was to hold: tried again, it would fail again, for ever.

        Tell whether there was such a thing; without, the next turn tries again.
        """
        if kind == "records":
            return self._chunks.set_aside()
        if kind == "measures":
            return self._pending.set_aside()
        if self._most_routes > 1:
            # Each by itself from now on: only the wrong one goes without its name.
            self._most_routes, self._announced = 1, self._announced_before
            return True
        return self._announced > self._announced_before

    def _next_routes(self) -> list[Any]:
        self._announced_before = self._announced
        self._announced, part = self._recorder.routes.after(self._announced, self._most_routes)
        return Routes(part).frame()

    def _next_samples(self, chunk: Chunk) -> list[Any]:
        self._chunks.in_flight = chunk
        clocks, data = (chunk.wall_us, chunk.mono_us), bytes(chunk.data)
        return Samples(*clocks, self._sent, self._drops(), RECORD_SIZE, data).frame()

    def _begin(self, message: list[Any]) -> None:
        """Make a message the frame that is being sent; sealed frames go in the order of this."""
        assert self._link is not None  # noqa: S101 - callers have one
        self._unsent = memoryview(encode(message, self._link.seal))

    def _end(self) -> None:
        if self._link is not None:
            try:
                bye = encode(Bye(self._sent, self._drops()).frame(), self._link.seal)
                self._link.socket.send(bye, NO_SIGNAL)
            except OSError:
                pass
        self._pending.end()
        self.abandon()
        while self._flushes:
            self._flushes.popleft().set()
