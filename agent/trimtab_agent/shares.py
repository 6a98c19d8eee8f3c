"""What peers share in a window: the places of series, and events that wait until it is closed.

Over a bound, whoever has most gives something up for one who has less: max-min fairness.
"""

import struct
from collections import defaultdict, deque
from typing import Any, Final, NamedTuple

from trimtab_agent.peers import Holder, Holdings, Peer, Sharer, owner_of
from trimtab_core.batches import SeriesKey
from trimtab_core.fields import MAX_COUNT
from trimtab_core.rows import EventRow, PackedEvent, pack_event

__all__ = ["EventShares", "SeriesShares"]

#: Events per window, and bytes of them.
_MOST_EVENTS: Final = 1000
_MOST_BYTES: Final = 4 * 2**20
_TIME: Final = struct.Struct(">Q")


class _Waiting(NamedTuple):
    packed: PackedEvent
    at_us: int
    holder: Holder

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
        holder = owner_of(peer, row.environment, row.service).holder
        self._events.setdefault(whose, deque()).append(_Waiting(packed, at_us, holder))
        self._held.add(whose, self._weight(packed))
        self._count += 1
        self._size += len(packed.data)
        dropped = 0
        while self._count > self._most or self._size > self._most_bytes:
            self._drop()
            dropped += 1
        return dropped

    def take(self, offset_us: int) -> list[tuple[Holder, PackedEvent]]:
        """Return all events, with whose they are, and forget them.

        The wall clock is so far ahead of the monotonic.
        """
        taken = [
            (event.holder, event.at(offset_us))
            for events in self._events.values()
            for event in events
        ]
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


class SeriesShares:
    """The series of one window by owner.

    Users are counted first, and within one those of the agent's own PID namespace and those of
    containers. Within these an app has as much as its process has or as its service has, whichever
    is more: neither a process that says to be many services nor a service of many processes takes
    the places of another one. Loop only.
    """

    def __init__(self) -> None:
        #: in the order in which they came
        self._owned: defaultdict[Sharer, list[SeriesKey]] = defaultdict(list)
        #: how many there are
        self.count = 0
        #: by process and then service, and by service and then process; None until it is full
        self._processes: Holdings | None = None
        self._services = Holdings()
        #: owners for whom nobody gives anything up, as it is now
        self._refused: set[Sharer] = set()
        #: buckets of their sketches, by process and then service
        self._widths = Holdings()

    def add(self, owner: Sharer, series: SeriesKey) -> None:
        """Note a series that has found a place."""
        self._owned[owner].append(series)
        self.count += 1
        if self._processes is not None:
            self._change(self._processes, owner, 1)

    def widen(self, owner: Sharer, buckets: int) -> None:
        """Note that sketches of an owner have more buckets, or fewer by a negative number."""
        self._widths.add((*owner.group, owner.process, owner.service), buckets)

    def give_up_wide(self) -> tuple[Sharer, SeriesKey] | None:
        """Forget and return a series of whoever has most buckets, its newest; None for none."""
        if not self._widths.total:
            return None
        owner = _owner(self._widths.most())
        if owner not in self._owned:
            self.widen(owner, -self._widths.held((*owner.group, owner.process, owner.service)))
            return self.give_up_wide()
        return owner, self._taken(owner)

    def give_up(self, owner: Sharer) -> tuple[Sharer, SeriesKey] | None:
        """Forget and return a series that makes place for one of an owner, and whose it was.

        It is the newest one of whoever has most; None if none makes place.
        """
        if owner in self._refused:
            return None
        if self._processes is None:
            self._processes = Holdings()
            for each, own in self._owned.items():
                self._change(self._processes, each, len(own))
        giver = self._giver(self._processes, self._services, owner)
        if giver is None:
            self._refused.add(owner)
            return None
        return giver, self._taken(giver)

    def _taken(self, giver: Sharer) -> SeriesKey:
        series = self._owned[giver].pop()
        if not self._owned[giver]:
            del self._owned[giver]
        self.count -= 1
        if self._processes is not None:
            self._change(self._processes, giver, -1)
        return series

    def _change(self, processes: Holdings, owner: Sharer, amount: int) -> None:
        group, process, service = owner
        processes.add((*group, process, service), amount)
        self._services.add((*group, service, process), amount)
        self._refused.clear()

    @staticmethod
    def _giver(processes: Holdings, services: Holdings, owner: Sharer) -> Sharer | None:
        group, process, service = owner
        parted = processes.giver(group)
        if parted is not None:
            whose, least = parted[:2], 0
        elif processes.held(group):
            own = processes.held((*group, process)), services.held((*group, service))
            whose, least = group, max(own) + 2
        else:
            return None
        by_process, by_service = processes.most(whose), services.most(whose)
        has = processes.held(by_process[:3]), services.held(by_service[:3])
        if max(has) < least:
            # Its own process or service is the one with most: then among those within it.
            if own[0] > own[1]:
                found = processes.giver((*group, process, service))
                return _owner(found) if found is not None else None
            found = services.giver((*group, service, process))
            return _owner((*found[:2], found[3], found[2])) if found is not None else None
        if has[0] > has[1]:
            return _owner(by_process)
        return _owner((*by_service[:2], by_service[3], by_service[2]))


def _owner(path: tuple[Any, ...]) -> Sharer:
    user, is_here, process, service = path
    return Sharer((user, is_here), process, service)
