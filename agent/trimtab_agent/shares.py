"""Events that wait for their window: packed, bounded, and shared fairly among peers."""

import struct
from collections import deque
from typing import Final, NamedTuple

from trimtab_agent.peers import Holdings, Peer
from trimtab_core.fields import MAX_COUNT
from trimtab_core.rows import EventRow, PackedEvent, pack_event

__all__ = ["EventShares"]

#: Events per window, and bytes of them.
_MOST_EVENTS: Final = 1000
_MOST_BYTES: Final = 4 * 2**20
_TIME: Final = struct.Struct(">Q")


class _Waiting(NamedTuple):
    packed: PackedEvent
    at_us: int

    def at(self, offset_us: int) -> PackedEvent:
        at_us = min(max(0, self.at_us + offset_us), MAX_COUNT)
        data = self.packed.data[: -_TIME.size] + _TIME.pack(at_us)
        return self.packed._replace(data=data)


_Whose = tuple[str, bool, int, bytes]


class EventShares:
    """Events by peer, and by what the peer says its process is.

    Over the bounds, whoever has most keeps fewer: of peers first, then of the processes that one
    peer says it is. An event counts by its bytes, but a small one as much as there are for each of
    the most events: neither many small ones nor a few large ones take what others have. Loop only.
    """

    def __init__(self, most: int = _MOST_EVENTS, most_bytes: int = _MOST_BYTES) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._clear()

    def _clear(self) -> None:
        self._events: dict[_Whose, deque[_Waiting]] = {}
        self._held = Holdings()
        self._count = self._size = 0

    def add(self, peer: Peer, process: bytes, row: EventRow, at_us: int) -> int:
        """Keep an event, and when it was by the monotonic clock here.

        Return how many were left out for it, this one or the newest ones of others.
        """
        # Last, and as wide as it can be: the time by the wall clock takes its place.
        body = {name: value for name, value in row.event.items() if name != "at_us"}
        packed = pack_event(row._replace(event=body | {"at_us": MAX_COUNT}))
        whose = (*peer, process)
        self._events.setdefault(whose, deque()).append(_Waiting(packed, at_us))
        self._held.add(whose, self._weight(packed))
        self._count += 1
        self._size += len(packed.data)
        dropped = 0
        while self._count > self._most or self._size > self._most_bytes:
            self._drop()
            dropped += 1
        return dropped

    def take(self, offset_us: int) -> list[PackedEvent]:
        """Return all events and forget them; the wall clock is so far ahead of the monotonic."""
        taken = [event.at(offset_us) for events in self._events.values() for event in events]
        self._clear()
        return taken

    def _drop(self) -> None:
        user, is_here, number, process = self._held.most()
        whose = (user, is_here, number, process)
        events = self._events[whose]
        packed = events.pop().packed
        if not events:
            del self._events[whose]
        self._held.add(whose, -self._weight(packed))
        self._count -= 1
        self._size -= len(packed.data)

    def _weight(self, packed: PackedEvent) -> int:
        return max(len(packed.data), self._most_bytes // self._most)
