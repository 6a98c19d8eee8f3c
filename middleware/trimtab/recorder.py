"""Finished requests of a process, packed back to back until the emitter takes them.

The request path appends 48 bytes to one bytearray; under the GIL the append and the emitter's
slice and delete are atomic, so there is no lock. The ASGI closure appends plain requests itself,
as many as the emitter has granted at its last visit; all others come through `append`.
"""

import struct
import threading
import weakref
from math import inf
from typing import Any, Final, Protocol

from trimtab.context import RequestContext
from trimtab.routes import RouteTable
from trimtab_core.records import (
    FLAG_BACKGROUND,
    FLAG_CONTEXT,
    FLAG_QUEUED,
    FLAG_STREAMED,
    FLAG_UNKNOWN_BYTES,
    KIND_REQUEST,
    RECORD,
    RECORD_SIZE,
    Record,
    pack,
)

__all__ = ["BACKGROUND_NS", "PLAIN", "UNKNOWN_SIZE", "Gate", "Recorder"]

#: Work after the last byte that takes this long is booked apart; less may be the server's own
#: writing.
BACKGROUND_NS: Final = 10_000_000
#: A size below zero is unknown, whatever was added to it.
UNKNOWN_SIZE: Final = -(1 << 62)

#: The record of a plain request: RECORD with zeros for flags, queue and whatever a context holds.
#: It takes route, method, status, duration_us and bytes.
PLAIN: Final = struct.Struct("<HBxHxxII32x")


class Gate(Protocol):
    """What a wrapper lets the recorder do to its counts (`trimtab.endings.Endings`)."""

    def grant(self, records: int) -> None:
        """Allow this many records until the next call."""
        ...

    def in_flight(self) -> int:
        """Return the number of its requests in flight."""
        ...

    def forget(self) -> None:
        """Start again from nothing, in the child of a fork."""
        ...


class Recorder:
    """The buffer of records and the gauges of requests in flight.

    `append` may be called from any thread and never blocks or raises; `take` is for the threads of
    emitters. Two of them may overlap: one blocked on a frozen agent, and its successor.
    """

    __slots__ = ("__weakref__", "_gates", "_limit", "_taking", "active", "asleep", "buffer",
                 "dropped_full", "event_streams", "held_since", "messages_received",
                 "messages_sent", "routes", "websockets")  # fmt: skip

    def __init__(self, limit_bytes: int, routes: RouteTable) -> None:
        #: one object for the life of the process
        self.buffer = bytearray()
        #: no emitter runs in this process yet
        self.asleep = True
        #: records not kept because the buffer was full
        self.dropped_full = 0
        #: requests in flight, besides those of the gates
        self.active = 0
        #: WebSocket connections that are open, and the messages of all so far
        self.websockets = self.messages_received = self.messages_sent = 0
        #: event streams that are open; the gates count them as in flight
        self.event_streams = 0
        self.routes = routes
        routes.add_holder(self)
        #: monotonic seconds: every record appended before this time was sent or dropped
        self.held_since = 0.0
        self._limit = limit_bytes // RECORD_SIZE
        self._taking = threading.Lock()
        self._gates: dict[weakref.ref[Any], Gate] = {}

    def attach(self, closure: object, gate: Gate) -> None:
        """Take a closure's gate, for as long as the closure lives.

        It gets its grants from the next `take` on. The gate must not refer to the closure: a suite
        that makes an app per test would keep them all.
        """
        self._gates[weakref.ref(closure, self._gates.pop)] = gate

    def append(
        self,
        route: int,
        method: int,
        flags: int,
        status: int,
        duration_ns: int,
        ttfb_ns: int,
        queue_us: int,
        size: int,
        context: RequestContext | None,
        kind: int = KIND_REQUEST,
    ) -> None:
        """Append the record of what has ended; over the limit it is dropped and counted.

        queue_us below zero means that no queue time is known.
        """
        if len(self.buffer) >= self._limit * RECORD_SIZE:
            self.dropped_full += 1
            return
        if queue_us > 0:
            flags |= FLAG_QUEUED
        else:
            queue_us = 0
        if size < 0:
            flags |= FLAG_UNKNOWN_BYTES
            size = 0
        ttfb_us = 0
        if ttfb_ns != duration_ns and not kind:
            flags |= FLAG_STREAMED
            ttfb_us = ttfb_ns // 1000
        at = _NO_CONTEXT
        if context is not None and context.touched:
            flags |= FLAG_CONTEXT
            at = context
        times = (
            duration_ns // 1000, size, ttfb_us, queue_us,
            at.db_ns // 1000, at.external_ns // 1000, at.cache_ns // 1000,
            at.db_calls, at.external_calls, at.cache_hits, at.cache_misses,
        )  # fmt: skip
        try:
            self.buffer += RECORD.pack(route, method, flags, status, kind, *times)
        except Exception:  # noqa: BLE001 - a field out of range; never raise into a request
            try:
                self.buffer += pack(Record(route, method, flags, status, *times, kind=kind))
            except Exception:  # noqa: BLE001 - no number where one belongs, or no memory
                self.dropped_full += 1

    def append_background(
        self, route: int, method: int, flags: int, status: int, duration_ns: int
    ) -> None:
        """Append the record of work after the last byte of a request."""
        flags |= FLAG_BACKGROUND
        self.append(route, method, flags, status, duration_ns, duration_ns, 0, 0, None)

    def take(self) -> bytes:
        """Return all records so far, forget them, and grant room for more."""
        with self._taking:
            whole = len(self.buffer)
            taken = bytes(self.buffer[:whole])
            del self.buffer[:whole]
        # Asleep, nobody would take what the gates append: the next request has to ask, and wake.
        gates = list(self._gates.values())
        share = 0 if self.asleep else self._limit // max(1, len(gates))
        for gate in gates:
            gate.grant(share)
        return taken

    @property
    def sent_until(self) -> float:
        """Monotonic seconds: every record appended before this time was sent or dropped."""
        return inf if self.asleep and not self.buffer else self.held_since

    def fall_asleep(self) -> None:
        """Have the next request wake the emitter; called when it has been told to stop."""
        self.asleep = True
        for gate in list(self._gates.values()):
            gate.grant(0)

    def in_flight(self) -> int:
        """Return the number of requests in flight."""
        active = self.active + sum(gate.in_flight() for gate in list(self._gates.values()))
        return max(0, active - self.event_streams)

    def after_fork(self) -> None:
        """Forget what belongs to the parent; called in the child of a fork."""
        self._taking = threading.Lock()
        self.buffer.clear()
        self.asleep = True
        self.dropped_full = self.active = self.websockets = self.event_streams = 0
        self.messages_received = self.messages_sent = 0
        for gate in list(self._gates.values()):
            gate.forget()


_NO_CONTEXT: Final = RequestContext()
