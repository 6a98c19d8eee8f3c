"""An agent's end of the socket for tests: a real Unix socket, the real frames, answers from memory.

A peer can stop reading (`freeze`), hang up (`cut`), go away (`stop`) and come back (`start`). What
it has read outlives all of that. Every wait has a deadline and says what was there instead.
"""

import select
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeVar

from support.processes.servers import short_dir
from trimtab_core.errors import FrameError
from trimtab_core.frames import FrameReader, encode
from trimtab_core.measures import Delta, MeasureKey
from trimtab_core.messages import (
    Bye,
    Deltas,
    Events,
    Gauges,
    Hello,
    MeasureNames,
    Message,
    Routes,
    Samples,
    Welcome,
    parse,
)
from trimtab_core.records import FLAG_BACKGROUND, METHODS, Record, unpack

__all__ = ["Heard", "Peer", "Seen", "running_peer"]

_M = TypeVar("_M", Hello, Routes, Samples, Gauges, MeasureNames, Deltas, Events, Bye)
_T = TypeVar("_T")


class Heard(NamedTuple):
    """One message, the process that sent it and the connection it came on."""

    process: bytes
    connection: int
    message: Message


class Seen(NamedTuple):
    """One record, with the names its ids stood for on its connection."""

    template: str
    method: str
    record: Record

    @property
    def background(self) -> bool:
        """Tell whether this is work after a request and no request."""
        return bool(self.record.flags & FLAG_BACKGROUND)


class Peer:
    """Listens at `address`; everything public may be called from the test's thread.

    read_size is how much is read at once. With cut_after, a connection is closed as soon as that
    many bytes have been read from it, wherever in a frame that is.
    """

    def __init__(self, folder: Path, *, read_size: int = 65536) -> None:
        self.path = folder / "a.sock"
        self.address = f"unix://{self.path}"
        self.read_size = read_size
        self.cut_after: Iterator[int] | None = None
        #: what a hello is answered with
        self.answer = encode(Welcome("peer", 3).frame())
        self.heard: list[Heard] = []
        self.errors: list[FrameError] = []
        self.connections = 0
        self._changed = threading.Condition()
        self._frozen = self._cutting = False
        self._thread: threading.Thread | None = None
        self._wake: socket.socket | None = None

    # ------------------------------------------------------------ steering

    def start(self) -> Self:
        """Listen, in a thread of its own."""
        self.path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(self.path))
        listener.listen(64)
        ours, theirs = socket.socketpair()
        self._wake = ours
        self._thread = threading.Thread(
            target=self._serve, args=(listener, theirs), name="peer", daemon=True
        )
        self._thread.start()
        return self

    def stop(self) -> None:
        """Hang up on everybody and be gone, socket file included."""
        if self._thread is None or self._wake is None:
            return
        self._wake.close()
        self._thread.join(5)
        assert not self._thread.is_alive()
        self._thread = self._wake = None
        self.path.unlink(missing_ok=True)

    def freeze(self) -> None:
        """Read nothing and accept nobody until `thaw`; connections stay open."""
        self._frozen = True
        self._poke()

    def thaw(self) -> None:
        """Read on."""
        self._frozen = False
        self._poke()

    def cut(self) -> None:
        """Close every connection, and go on listening; returns when they are closed."""
        self._cutting = True
        self._poke()
        self.wait(lambda: not self._cutting, "the connections to be closed")

    # ------------------------------------------------------------ looking

    def wait(self, predicate: Callable[[], _T], what: str, timeout_s: float = 5.0) -> _T:
        """Return the first true value of predicate, asked whenever something was read."""
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while True:
                value = predicate()
                if value:
                    return value
                left = deadline - time.monotonic()
                if left <= 0:
                    raise AssertionError(
                        f"waited {timeout_s:g} s for {what}, got {value!r}; the peer has heard "
                        f"{len(self.heard)} messages on {self.connections} connections"
                    )
                self._changed.wait(left)

    def wait_records(self, n: int, timeout_s: float = 5.0) -> list[Seen]:
        """Return all records as soon as there are n of them."""

        def enough() -> list[Seen]:
            records = self.records()
            return records if len(records) >= n else []

        return self.wait(enough, f"{n} records", timeout_s)

    def wait_for(self, kind: type[_M], n: int = 1, timeout_s: float = 5.0) -> list[_M]:
        """Return all messages of a class as soon as there are n of them."""

        def enough() -> list[_M]:
            messages = self.messages(kind)
            return messages if len(messages) >= n else []

        return self.wait(enough, f"{n} {kind.__name__}", timeout_s)

    def messages(self, kind: type[_M]) -> list[_M]:
        """Return the messages of a class so far, in order."""
        with self._changed:
            return [heard.message for heard in self.heard if isinstance(heard.message, kind)]

    def records(self) -> list[Seen]:
        """Return the records so far: template, method name, record."""
        with self._changed:
            heard = list(self.heard)
        routes: dict[int, dict[int, str]] = {}
        seen = []
        for _, connection, message in heard:
            if isinstance(message, Routes):
                routes.setdefault(connection, {}).update(message.routes)
            elif isinstance(message, Samples):
                names = {0: "unmatched", **routes.get(connection, {})}
                for offset in range(0, len(message.data), message.record_size):
                    record = unpack(message.data, offset)
                    seen.append(Seen(names[record.route], METHODS[record.method], record))
        return seen

    def ranges(self) -> dict[bytes, list[tuple[int, int]]]:
        """Return for each process the (first, count) of its samples, in the order they came."""
        with self._changed:
            heard = list(self.heard)
        found: dict[bytes, list[tuple[int, int]]] = {}
        for process, _, message in heard:
            if isinstance(message, Samples):
                found.setdefault(process, []).append((message.first, message.count))
        return found

    def measures(self) -> dict[MeasureKey, Delta]:
        """Return what was added to each measure so far, over all processes."""
        with self._changed:
            heard = list(self.heard)
        keys: dict[int, dict[int, MeasureKey]] = {}
        found: dict[MeasureKey, Delta] = {}
        for _, connection, message in heard:
            if isinstance(message, MeasureNames):
                keys.setdefault(connection, {}).update(message.keys)
            elif isinstance(message, Deltas):
                for number, delta in message.deltas:
                    found.setdefault(keys[connection][number], Delta()).merge(delta)
        return found

    def events(self, kind: str) -> list[Mapping[str, Any]]:
        """Return the events of a kind so far, in order."""
        messages = self.messages(Events)
        return [each for message in messages for each in message.events if each["kind"] == kind]

    # ------------------------------------------------------------ the thread

    def _poke(self) -> None:
        if self._wake is not None:
            self._wake.send(b"x")

    def _serve(self, listener: socket.socket, wake: socket.socket) -> None:
        open_ends: dict[socket.socket, _Connection] = {}
        try:
            while True:
                watched = [wake] if self._frozen else [wake, listener, *open_ends]
                ready, _, _ = select.select(watched, [], [])
                if wake in ready and not wake.recv(64):
                    return
                if self._cutting:
                    # What was sent has been heard: a cut loses what is sent after it, no more.
                    while not self._frozen:
                        waiting, _, _ = select.select(list(open_ends), [], [], 0)
                        if not waiting:
                            break
                        for end in waiting:
                            if end in open_ends:
                                self._read(end, open_ends)
                    for end in list(open_ends):
                        _close(open_ends, end)
                    with self._changed:
                        self._cutting = False
                        self._changed.notify_all()
                    continue
                for end in ready:
                    if end is listener:
                        self._accept(listener, open_ends)
                    elif end in open_ends and not self._frozen:
                        self._read(end, open_ends)
        finally:
            for end in (*open_ends, listener, wake):
                end.close()

    def _accept(
        self, listener: socket.socket, open_ends: "dict[socket.socket, _Connection]"
    ) -> None:
        end, _ = listener.accept()
        left = next(self.cut_after, None) if self.cut_after is not None else None
        with self._changed:
            self.connections += 1
            open_ends[end] = _Connection(self.connections, left)
            self._changed.notify_all()

    def _read(self, end: socket.socket, open_ends: "dict[socket.socket, _Connection]") -> None:
        connection = open_ends[end]
        size = self.read_size if connection.left is None else min(self.read_size, connection.left)
        try:
            data = end.recv(size)
        except ConnectionResetError:
            data = b""
        if not data:
            _close(open_ends, end)
            return
        try:
            for frame in connection.reader.feed(data):
                self._hear(end, connection, frame)
        except FrameError as error:
            with self._changed:
                self.errors.append(error)
                self._changed.notify_all()
            _close(open_ends, end)
            return
        if connection.left is not None:
            connection.left -= len(data)
            if connection.left <= 0:
                _close(open_ends, end)

    def _hear(self, end: socket.socket, connection: "_Connection", frame: list[Any]) -> None:
        message = parse(frame)
        if message is None:
            return
        if isinstance(message, Hello):
            connection.process = message.process
            try:
                end.sendall(self.answer)
            except OSError:
                pass
        with self._changed:
            self.heard.append(Heard(connection.process, connection.number, message))
            self._changed.notify_all()


class _Connection:
    def __init__(self, number: int, left: int | None) -> None:
        self.number = number
        self.left = left
        self.process = b""
        self.reader = FrameReader()


def _close(open_ends: dict[socket.socket, _Connection], end: socket.socket) -> None:
    del open_ends[end]
    end.close()


@contextmanager
def running_peer() -> Iterator[Peer]:
    """Yield a peer that listens in a directory of its own."""
    with short_dir() as folder:
        peer = Peer(folder).start()
        try:
            yield peer
        finally:
            peer.stop()
