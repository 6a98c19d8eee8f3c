"""Frames of what is measured inside the app: measures, and events.

One emitter of the process sends them, the first that asks. What was taken from the process and is
not sent to its end when a connection breaks is sent again on the next one; while there is no agent
measures add up where they are, and events wait in their bounded queue.
"""

from math import isfinite
from typing import Any, Final

from trimtab.events import EVENTS
from trimtab.metrics.measures import MEASURES
from trimtab_core.deltas import Deltas, Events, MeasureNames, fits
from trimtab_core.measures import Delta, MeasureKey

__all__ = ["Pending"]

#: bounds that keep a frame well below the 256 KiB of the wire
_CHARS_A_FRAME: Final = 32_000
_DELTAS_A_FRAME: Final = 200
_BUCKETS_A_FRAME: Final = 15_000
_EVENTS_A_FRAME: Final = 5
_EVENTS_A_SECOND: Final = 200


class Pending:
    """Cuts measures and events into frames; belongs to one emitter's thread."""

    def __init__(self) -> None:
        self._announced = 0
        self._deltas: dict[int, Delta] = {}
        self._events: list[dict[str, Any]] = []
        #: what the frame that is being sent holds
        self._sending: Deltas | Events | None = None
        self._dropped = 0

    def connected(self) -> None:
        """Begin anew with an agent: it knows no numbers of measures, and not the frame we began."""
        self._announced = 0
        sending, self._sending = self._sending, None
        if isinstance(sending, Deltas):
            later, self._deltas = self._deltas, dict(sending.deltas)
            for number, delta in later.items():
                self._add(number, delta)
        elif sending is not None:
            self._events = [*map(dict, sending.events), *self._events]

    def gather(self) -> None:
        """Take what the process has added; once a second, and at its end."""
        if not MEASURES.claim(self):
            return
        MEASURES.ask()
        for measure, delta in MEASURES.changed():
            if isfinite(delta.sum):
                self._add(measure.id, delta)
        # Also while some wait: at the end of a process there is no next time.
        taken = EVENTS.take(max(0, _EVENTS_A_SECOND - len(self._events)))
        fitting = [event for event in taken if fits(event)]
        self._events += fitting
        self._dropped += len(taken) - len(fitting)

    def _add(self, number: int, delta: Delta) -> None:
        before = self._deltas.get(number)
        if before is None:
            self._deltas[number] = delta
        else:
            before.merge(delta)

    @property
    def is_empty(self) -> bool:
        """Tell whether all that was gathered has been sent."""
        return not self._deltas and not self._events and self._sending is None

    def next_frame(self) -> list[Any] | None:
        """Return the next message, None when there is none; it is sent when `sent` is called."""
        if self._deltas:
            instruments = self._unannounced()
            if instruments is not None:
                return instruments.frame()
            deltas, buckets = [], 0
            for number in list(self._deltas)[:_DELTAS_A_FRAME]:
                if buckets > _BUCKETS_A_FRAME:
                    break
                delta = self._deltas.pop(number)
                buckets += len(delta.buckets)
                deltas.append((number, delta))
            self._sending = Deltas(deltas)
            return self._sending.frame()
        if self._events:
            events = self._events[:_EVENTS_A_FRAME]
            del self._events[:_EVENTS_A_FRAME]
            self._sending = Events(events, EVENTS.dropped + self._dropped)
            return self._sending.frame()
        return None

    def _unannounced(self) -> MeasureNames | None:
        keys: dict[int, MeasureKey] = {}
        chars = 0
        for measure in MEASURES.after(self._announced, _DELTAS_A_FRAME):
            chars += sum(len(name) + len(value) for name, value in measure.key.attributes)
            if keys and chars > _CHARS_A_FRAME:
                break
            keys[measure.id] = measure.key
        self._announced += len(keys)
        return MeasureNames(keys) if keys else None

    def sent(self) -> None:
        """Forget what the last frame held: it has been sent to its end."""
        self._sending = None

    def end(self) -> None:
        """Let another emitter of the process send from here on."""
        MEASURES.release(self)
