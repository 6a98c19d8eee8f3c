"""Frames of what is measured inside the app: measures, and events.

One emitter of the process sends them, the first that asks. What was taken from the process and is
not sent to its end when a connection breaks is sent again on the next one. While there is no agent,
or one that does not read, measures add up where they are, and events wait in their bounded queue: a
measure that waits to be taken keeps its place in its family, so the cap of the family bounds what
an app that makes up names can make wait.

A measure travels by a number that holds for its connection. Numbers are given here, when a measure
first has something to send on a connection: what waits is kept by key, so a number that goes from
one key to another can never carry the first one's values. When all numbers are given, the least
recently sent key loses its number; the agent reads frames in order and is told the new key ahead of
the first values under it.
"""

from itertools import islice
from math import isfinite
from typing import Any, Final

from trimtab.events import EventQueue
from trimtab.metrics.measures import Measures
from trimtab_core.deltas import Deltas, Events, MeasureNames, fits
from trimtab_core.measures import Delta, MeasureKey

__all__ = ["Pending"]

#: bounds that keep a frame well below the 256 KiB of the wire
_CHARS_A_FRAME: Final = 32_000
_DELTAS_A_FRAME: Final = 200
_BUCKETS_A_FRAME: Final = 15_000
_EVENTS_A_FRAME: Final = 5
_EVENTS_A_SECOND: Final = 200
#: Deltas that may wait here; beyond that they stay where they are added up.
_MOST_DELTAS: Final = 2_000
#: Numbers of a connection; with what is announced at once they stay below the agent's bound.
_MOST_NUMBERS: Final = 10_000


class Pending:
    """Cuts measures and events into frames; belongs to one emitter's thread."""

    def __init__(
        self, measures: Measures, events: EventQueue, most_numbers: int = _MOST_NUMBERS
    ) -> None:
        self._measures, self._queue = measures, events
        self._most_numbers = most_numbers
        #: what the agent knows on this connection, the key that was sent longest ago first
        self._numbers: dict[MeasureKey, int] = {}
        self._deltas: dict[MeasureKey, Delta] = {}
        #: whether there was more to take than may wait here
        self._left_some = False
        self._events: list[dict[str, Any]] = []
        #: what the frame that is being sent holds
        self._sending_deltas: dict[MeasureKey, Delta] = {}
        self._sending_events: list[dict[str, Any]] = []
        self._dropped = 0

    def connected(self) -> None:
        """Begin anew with an agent: it knows no numbers of measures, and not the frame we began."""
        self._numbers.clear()
        later, self._deltas = self._deltas, self._sending_deltas
        self._sending_deltas = {}
        for key, delta in later.items():
            self._add(key, delta)
        self._events = self._sending_events + self._events
        self._sending_events = []

    def gather(self) -> None:
        """Take what the process has added; once a second, and at its end."""
        if not self._measures.claim(self):
            return
        self._measures.ask()
        self._take()
        # Also while some wait: at the end of a process there is no next time.
        taken = self._queue.take(max(0, _EVENTS_A_SECOND - len(self._events)))
        fitting = [event for event in taken if fits(event)]
        self._events += fitting
        self._dropped += len(taken) - len(fitting)

    def _take(self) -> None:
        room = max(0, _MOST_DELTAS - len(self._deltas))
        self._left_some = self._measures.waiting > room
        for key, delta in self._measures.changed(room):
            if isfinite(delta.sum):
                self._add(key, delta)

    def _add(self, key: MeasureKey, delta: Delta) -> None:
        before = self._deltas.get(key)
        if before is None:
            self._deltas[key] = delta
        else:
            before.merge(delta)

    @property
    def is_empty(self) -> bool:
        """Tell whether all that was gathered has been sent."""
        waiting = self._deltas or self._events or self._left_some
        return not (waiting or self._sending_deltas or self._sending_events)

    def next_frame(self) -> list[Any] | None:
        """Return the next message, None when there is none; it is sent when `sent` is called."""
        if self._left_some and not self._deltas:
            self._take()
        if self._deltas:
            keys = list(islice(self._deltas, min(_DELTAS_A_FRAME, self._most_numbers)))
            unknown = self._number(keys)
            if unknown:
                return MeasureNames(unknown).frame()
            buckets = 0
            for key in keys:
                if buckets > _BUCKETS_A_FRAME:
                    break
                delta = self._sending_deltas[key] = self._deltas.pop(key)
                buckets += len(delta.buckets)
            deltas = [(self._numbers[key], delta) for key, delta in self._sending_deltas.items()]
            return Deltas(deltas).frame()
        if self._events:
            self._sending_events = self._events[:_EVENTS_A_FRAME]
            del self._events[:_EVENTS_A_FRAME]
            return Events(self._sending_events, self._queue.dropped + self._dropped).frame()
        return None

    def _number(self, keys: list[MeasureKey]) -> dict[int, MeasureKey]:
        """Give numbers to keys without one, up to what fits a frame; return those."""
        unknown = []
        for key in keys:
            number = self._numbers.pop(key, None)
            if number is None:
                unknown.append(key)
            else:
                # Behind all others: none of these may lose its number to the new ones.
                self._numbers[key] = number
        given: dict[int, MeasureKey] = {}
        chars = 0
        for key in unknown:
            chars += sum(len(name) + len(value) for name, value in key.attributes)
            if given and chars > _CHARS_A_FRAME:
                break
            if len(self._numbers) < self._most_numbers:
                number = len(self._numbers) + 1
            else:
                number = self._numbers.pop(next(iter(self._numbers)))
            self._numbers[key] = number
            given[number] = key
        return given

    def sent(self) -> None:
        """Forget what the last frame held: it has been sent to its end."""
        self._sending_deltas, self._sending_events = {}, []

    def end(self) -> None:
        """Let another emitter of the process send from here on."""
        self._measures.release(self)
