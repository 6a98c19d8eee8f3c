"""Sockets in a process that may close what it did not open, as a daemon does with all it finds.

The number of a closed one may be that of the app's own file by now: before a socket is used or
closed it is asked whether it still is the file that was opened. That takes half a microsecond.
"""

import os
import select
import socket
import sys
from typing import Final

__all__ = ["NO_SIGNAL", "WakingPair", "close_ours", "file_of", "is_ours"]

#: A flag of `send`: a peer that is gone is an error and no SIGPIPE, which may be what ends the app.
NO_SIGNAL: Final[int] = getattr(socket, "MSG_NOSIGNAL", 0)

#: device and inode of an open file
_OpenFile = tuple[int, int]


def file_of(opened: socket.socket) -> _OpenFile | None:
    """Return which open file a socket is; None where the system does not tell, or it is closed."""
    if sys.platform == "win32":
        return None
    try:
        found = os.fstat(opened.fileno())
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino


def is_ours(opened: socket.socket, file: _OpenFile | None) -> bool:
    """Tell whether a socket is still the file that it was when it was opened."""
    return file is None or file_of(opened) == file


def close_ours(opened: socket.socket, file: _OpenFile | None) -> None:
    """Close a socket, or forget it where its number is another file's; never raises."""
    try:
        if is_ours(opened, file):
            opened.close()
        else:
            opened.detach()
    except OSError:
        pass


class WakingPair:
    """Two sockets: a thread waits for one, any other wakes it. Raises OSError if there are none."""

    def __init__(self) -> None:
        self.read, self._write = socket.socketpair()
        for end in (self.read, self._write):
            end.setblocking(False)
        self._files = [file_of(end) for end in (self.read, self._write)]

    @property
    def is_ours(self) -> bool:
        """Whether both are still open."""
        return is_ours(self.read, self._files[0]) and is_ours(self._write, self._files[1])

    def wake(self) -> None:
        """Wake who waits; never raises."""
        try:
            if self.is_ours:
                self._write.send(b"x", NO_SIGNAL)
        except OSError:  # full: it is awake already; closed: it has ended
            pass

    def wait(self, other: socket.socket | None, timeout_s: float, *, blocked: bool) -> None:
        """Wait until it is woken, or another socket can be read, or, if blocked, written to."""
        if hasattr(select, "poll"):
            poll = select.poll()  # not select(): apps have descriptors above 1023
            poll.register(self.read, select.POLLIN)
            if other is not None:
                poll.register(other, select.POLLIN | select.POLLOUT if blocked else select.POLLIN)
            poll.poll(timeout_s * 1000)
        else:
            readable = [self.read, *([other] if other else [])]
            select.select(readable, [other] if other and blocked else [], [], timeout_s)
        try:
            self.read.recv(4096)
        except OSError:
            pass

    def close(self) -> None:
        """Close both; never raises."""
        for end, file in zip((self.read, self._write), self._files, strict=True):
            close_ours(end, file)
