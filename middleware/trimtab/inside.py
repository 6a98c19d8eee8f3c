"""Frames of what is measured inside the app: measures, and events.

One emitter of the process sends them, the first that asks. What was taken from the process and is
not sent to its end when a connection breaks is sent again on the next one; while there is no agent
measures add up where they are, and events wait in their bounded queue.
"""

from math import isfinite
from typing import Any, Final

from trimtab.events import EVENTS
from trimtab.measures import MEASURES
from trimtab_core.inside import Events, Instruments, Measured, fits
from trimtab_core.measures import Change, MeasureKey

__all__ = ["Inside"]

#: bounds that keep a frame well below the 256 KiB of the wire
_CHARS_A_FRAME: Final = 32_000
_CHANGES_A_FRAME: Final = 200
_SLOTS_A_FRAME: Final = 15_000
_EVENTS_A_FRAME: Final = 5
_EVENTS_A_SECOND: Final = 200


class Inside:
    """Cuts measures and events into frames; belongs to one emitter's thread."""

    def __init__(self) -> None:
        self._announced = 0
        self._changes: dict[int, Change] = {}
        self._events: list[dict[str, Any]] = []
        #: what the frame that is being sent holds
        self._sending: Measured | Events | None = None
        self._dropped = 0

    def connected(self) -> None:
        """Begin anew with an agent: it knows no numbers of measures, and not the frame we began."""
        self._announced = 0
        sending, self._sending = self._sending, None
        if isinstance(sending, Measured):
            later, self._changes = self._changes, dict(sending.changes)
            for number, change in later.items():
                self._add(number, change)
        elif sending is not None:
            self._events = [*map(dict, sending.events), *self._events]

    def gather(self) -> None:
        """Take what the process has added; once a second, and at its end."""
        if not MEASURES.claim(self):
            return
        MEASURES.ask()
        for measure, change in MEASURES.changed():
            if isfinite(change.sum):
                self._add(measure.id, change)
        # Also while some wait: at the end of a process there is no next time.
        taken = EVENTS.take(max(0, _EVENTS_A_SECOND - len(self._events)))
        fitting = [event for event in taken if fits(event)]
        self._events += fitting
        self._dropped += len(taken) - len(fitting)

    def _add(self, number: int, change: Change) -> None:
        before = self._changes.get(number)
        if before is None:
            self._changes[number] = change
        else:
            before.merge(change)

    @property
    def is_empty(self) -> bool:
        """Tell whether all that was gathered has been sent."""
        return not self._changes and not self._events and self._sending is None

    def next_frame(self) -> list[Any] | None:
        """Return the next message, None when there is none; it is sent when `sent` is called."""
        if self._changes:
            instruments = self._unannounced()
            if instruments is not None:
                return instruments.frame()
            changes, slots = [], 0
            for number in list(self._changes)[:_CHANGES_A_FRAME]:
                if slots > _SLOTS_A_FRAME:
                    break
                change = self._changes.pop(number)
                slots += len(change.slots)
                changes.append((number, change))
            self._sending = Measured(changes)
            return self._sending.frame()
        if self._events:
            events = self._events[:_EVENTS_A_FRAME]
            del self._events[:_EVENTS_A_FRAME]
            self._sending = Events(events, EVENTS.dropped + self._dropped)
            return self._sending.frame()
        return None

    def _unannounced(self) -> Instruments | None:
        keys: dict[int, MeasureKey] = {}
        chars = 0
        for measure in MEASURES.after(self._announced, _CHANGES_A_FRAME):
            chars += sum(len(name) + len(value) for name, value in measure.key.attributes)
            if keys and chars > _CHARS_A_FRAME:
                break
            keys[measure.id] = measure.key
        self._announced += len(keys)
        return Instruments(keys) if keys else None

    def sent(self) -> None:
        """Forget what the last frame held: it has been sent to its end."""
        self._sending = None

    def end(self) -> None:
        """Let another emitter of the process send from here on."""
        MEASURES.release(self)
