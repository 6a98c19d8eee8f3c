"""Batches that wait for the disk: a line for each key, and the lines take turns.

So a key that sends more than the disk takes waits for itself. It is refused when it fills the
queue (three times what is free) or has waited for long, while others go on.
"""

import asyncio
import time
from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import Final

from trimtab_collector.storage.store import Received, UnavailableError

__all__ = ["Waiting", "WaitingLines"]

#: a batch is refused if others of its key have waited longer than this
_MAX_AGE_S: Final = 1.0
#: bytes that a key may have waiting, in multiples of what is free
_SHARE: Final = 3


@dataclass(slots=True)
class Waiting:
    """A batch whose sender waits for the commit; the future's result is True for a duplicate."""

    received: Received
    future: "asyncio.Future[bool]"
    since_s: float
    duplicate: bool = False
    error: Exception | None = None


@dataclass(slots=True)
class _OfKey:
    """What a key has waiting, in its line or in the thread."""

    size_bytes: int = 0
    since_s: float = 0.0


class WaitingLines:
    """The lines of all keys; loop only, but for `size_bytes`."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        #: the key whose turn it is stands first
        self._lines: OrderedDict[str, deque[Waiting]] = OrderedDict()
        self._keys: dict[str, _OfKey] = {}
        #: bytes that were added and have not left
        self.size_bytes = 0

    def __bool__(self) -> bool:
        return bool(self._lines)

    def add(self, received: Received, future: "asyncio.Future[bool]") -> None:
        """Let a batch wait; raises UnavailableError if too much waits, or has waited too long."""
        size, now_s = len(received.raw), time.monotonic()
        whose = self._keys.get(received.key) or _OfKey(0, now_s)
        free = self._most_bytes - self.size_bytes
        if size > free or whose.size_bytes > _SHARE * free:
            raise UnavailableError(
                f"{self.size_bytes} bytes wait for the disk, {whose.size_bytes} of them of this "
                "key: send the batch again",
                2,
            )
        if now_s - whose.since_s > _MAX_AGE_S:
            raise UnavailableError("the disk is more than 1 s behind: send the batch again", 2)
        whose.size_bytes += size
        self._keys[received.key] = whose
        self.size_bytes += size
        self._lines.setdefault(received.key, deque()).append(Waiting(received, future, now_s))

    def take(self, most: int, most_bytes: int) -> list[Waiting]:
        """Take up to so many batches and about so many bytes, in turns."""
        taken: list[Waiting] = []
        size = 0
        while self._lines and len(taken) < most and size < most_bytes:
            key, line = next(iter(self._lines.items()))
            taken.append(line.popleft())
            size += len(taken[-1].received.raw)
            if line:
                self._lines.move_to_end(key)
            else:
                del self._lines[key]
        return taken

    def left(self, waiting: Waiting) -> None:
        """Note that a batch that was taken is done."""
        key, size = waiting.received.key, len(waiting.received.raw)
        self.size_bytes -= size
        whose = self._keys[key]
        whose.size_bytes -= size
        line = self._lines.get(key)
        if line:
            whose.since_s = line[0].since_s
        elif not whose.size_bytes:
            del self._keys[key]
