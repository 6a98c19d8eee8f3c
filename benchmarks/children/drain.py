"""A peer that takes an app's frames and throws them away: the agent's place in `overhead`.

    python drain.py SOCKET RESULT

Listens on the Unix socket, welcomes every app as the agent does, counts the records of requests
that come, and writes {"records", "frames", "dropped"} to the file RESULT each time a connection
ends and on SIGTERM. It aggregates nothing, so that the cores under measurement carry the app alone.
"""

import json
import selectors
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Final

from trimtab_core import frames, messages
from trimtab_core.records import FLAG_BACKGROUND

_PIECE: Final = 256 * 1024
_FLAGS_OFFSET: Final = 3
_IS_BACKGROUND: Final = bytes(bool(flags & FLAG_BACKGROUND) for flags in range(256))


class Counts:
    """What all connections brought so far; `dropped` is the sum each process last told."""

    def __init__(self, result: Path) -> None:
        self.records = 0
        self.frames = 0
        self.dropped: dict[bytes, int] = {}
        self._result = result

    def write(self) -> None:
        """Write the counts to the result file."""
        document = {
            "records": self.records,
            "frames": self.frames,
            "dropped": sum(self.dropped.values()),
        }
        self._result.write_text(json.dumps(document))


class App:
    """One connection of an app."""

    def __init__(self, connection: socket.socket, counts: Counts) -> None:
        self._connection = connection
        self._counts = counts
        self._reader = frames.FrameReader()
        self._process = b""

    def read(self) -> bool:
        """Take what has come; False when the app is gone."""
        try:
            data = self._connection.recv(_PIECE)
        except BlockingIOError:
            return True
        except ConnectionError:
            return False
        for raw in self._reader.feed(data):
            self._take(messages.parse(raw))
        return bool(data)

    def _take(self, message: messages.Message | None) -> None:
        counts = self._counts
        counts.frames += 1
        if isinstance(message, messages.Samples):
            flags = message.data[_FLAGS_OFFSET :: message.record_size]
            # Work after the last byte has a record of its own and is no request.
            counts.records += message.count - flags.translate(_IS_BACKGROUND).count(1)
            counts.dropped[self._process] = sum(message.dropped.values())
        elif isinstance(message, (messages.Gauges, messages.Bye)):
            counts.dropped[self._process] = sum(message.dropped.values())
        elif isinstance(message, messages.Hello):
            self._process = message.process
            welcome = messages.Welcome(agent="drain", worker=0)
            self._connection.sendall(frames.encode(welcome.frame()))


def main() -> None:
    """Serve until SIGTERM."""
    path, result = sys.argv[1], Path(sys.argv[2])
    counts = Counts(result)

    def finish(_number: int, _frame: FrameType | None) -> None:
        counts.write()
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, finish)
    selector = selectors.DefaultSelector()
    listener = socket.socket(socket.AF_UNIX)
    Path(path).unlink(missing_ok=True)
    listener.bind(path)
    listener.listen(16)
    listener.setblocking(False)

    def accept() -> bool:
        connection, _ = listener.accept()
        connection.setblocking(False)
        selector.register(connection, selectors.EVENT_READ, App(connection, counts).read)
        return True

    selector.register(listener, selectors.EVENT_READ, accept)
    while True:
        for key, _ in selector.select():
            ready: Callable[[], bool] = key.data
            if not ready():
                connection = key.fileobj
                selector.unregister(connection)
                assert isinstance(connection, socket.socket)
                connection.close()
                counts.write()


if __name__ == "__main__":
    main()
