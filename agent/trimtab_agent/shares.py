"""Events that wait for their window: packed, bounded, and shared fairly among processes."""

import struct
from collections import deque
from typing import Final, NamedTuple

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


class EventShares:
    """Events by process. Over the bounds, whoever has the most bytes keeps fewer. Loop only."""

    def __init__(self, most: int = _MOST_EVENTS, most_bytes: int = _MOST_BYTES) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._by_process: dict[bytes, deque[_Waiting]] = {}
        self._bytes: dict[bytes, int] = {}
        self._count = self._size = 0

    def add(self, process: bytes, row: EventRow, at_us: int) -> bool:
        """Keep an event, and when it was by the monotonic clock here.

        False if one was left out for it, this one or the newest one of another process.
        """
        # Last, and as wide as it can be: the time by the wall clock takes its place.
        body = {name: value for name, value in row.event.items() if name != "at_us"}
        packed = pack_event(row._replace(event=body | {"at_us": MAX_COUNT}))
        self._put(process, _Waiting(packed, at_us))
        if self._count <= self._most and self._size <= self._most_bytes:
            return True
        self._drop(max(self._bytes, key=self._bytes.__getitem__))
        return False

    def take(self, offset_us: int) -> list[PackedEvent]:
        """Return all events and forget them; the wall clock is so far ahead of the monotonic."""
        taken = [event.at(offset_us) for events in self._by_process.values() for event in events]
        self._by_process, self._bytes, self._count, self._size = {}, {}, 0, 0
        return taken

    def _put(self, process: bytes, event: _Waiting) -> None:
        self._by_process.setdefault(process, deque()).append(event)
        self._bytes[process] = self._bytes.get(process, 0) + len(event.packed.data)
        self._count += 1
        self._size += len(event.packed.data)

    def _drop(self, process: bytes) -> None:
        size = len(self._by_process[process].pop().packed.data)
        self._bytes[process] -= size
        self._count -= 1
        self._size -= size
