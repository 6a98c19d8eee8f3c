"""Frames of what is measured inside the app: measures, and events.

One emitter of the process sends them, the first that asks. What was taken from the process and is
not sent to its end when a connection breaks is sent again on the next one. While there is no agent,
or one that does not read, what is added to measures waits in bounded windows, each of which is sent
with its own time (`metrics/backlog.py`), and events wait in their bounded queue.

A measure travels by a number that holds for its connection. Numbers are given here, when a measure
first has something to send on a connection: what waits is kept by key, so a number that goes from
one key to another can never carry the first one's values. When all numbers are given, the least
recently sent key loses its number; the agent reads frames in order and is told the new key ahead of
the first values under it.
"""

from collections.abc import Mapping
from time import monotonic_ns, sleep, time_ns
from typing import Any, Final

from trimtab.events import EventQueue, dated
from trimtab.metrics.backlog import BacklogWindow
from trimtab.metrics.measures import Measures
from trimtab_core.deltas import Deltas, Events, MeasureNames, fitting
from trimtab_core.measures import MeasureKey

__all__ = ["Pending"]

#: bounds that keep a frame well below the 256 KiB of the wire
_CHARS_A_FRAME: Final = 32_000
_DELTAS_A_FRAME: Final = 100
_BUCKETS_A_FRAME: Final = 2_000
_EVENTS_A_FRAME: Final = 5
_EVENTS_A_SECOND: Final = 200
#: Deltas that are taken at once, and in a turn; beyond that they stay where they are added up for a
#: moment. Between two slices others get the interpreter.
_SLICE: Final = 25
_MOST_DELTAS: Final = 2_000
_BREATH_S: Final = 0.0005
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
        self._backlog = measures.backlog
        #: whether this is the one that sends the measures of the process
        self._is_owner = False
        #: whether there was more to take than may wait here
        self._left_some = False
        self._events: list[Mapping[str, Any]] = []
        #: what the frame that is being sent holds
        self._sending: BacklogWindow | None = None
        self._sending_events: list[Mapping[str, Any]] = []
        self._dropped = 0
        #: measures that the frame that is being sent announces, and those that have a number that
        #: no frame could tell the agent
        self._naming: dict[int, MeasureKey] = {}
        self._unnamed: set[MeasureKey] = set()
        #: frames that are still to hold one thing each: something in a larger one was wrong
        self._single = 0
        #: drops of measures that this connection has been told of
        self._told = 0

    def connected(self) -> None:
        """Begin anew with an agent: it knows no numbers of measures, and not the frame we began."""
        self._numbers.clear()
        self._unnamed.clear()
        self._naming = {}
        self._told = 0
        self._put_back()
        self._events = self._sending_events + self._events
        self._sending_events = []

    def _put_back(self) -> None:
        if self._sending is not None:
            with self._backlog.lock:
                self._backlog.put_back(self._sending)
        self._sending = None

    @property
    def is_due(self) -> bool:
        """Tell whether to gather now: a window has ended, or there was more to take last time."""
        return self._left_some or self._backlog.is_over

    def gather(self, *, is_linked: bool = True) -> None:
        """Take what the process has added; once a second, when it `is_due`, and at the end.

        Without an agent, measures go into the backlog, and events stay where they are.
        """
        if not self._measures.claim(self, to_send=is_linked):
            return
        if not self._left_some:  # else this goes on with what was asked for a moment ago
            self._measures.ask()
        for _ in range(_MOST_DELTAS // _SLICE):
            with self._backlog.lock:
                self._take()
            if not self._left_some:
                break
            sleep(_BREATH_S)
        if not is_linked:
            return
        self._is_owner = True
        # Also while some wait: at the end of a process there is no next time.
        taken = self._queue.take(max(0, _EVENTS_A_SECOND - len(self._events)))
        sound = [event for event in map(fitting, taken) if event is not None]
        self._events += sound
        self._dropped += len(taken) - len(sound)

    def _take(self) -> None:
        room = 0 if self._backlog.is_full else _SLICE
        self._left_some = self._measures.waiting > room
        self._backlog.add(self._measures.changed(room), is_all=not self._left_some)

    @property
    def is_empty(self) -> bool:
        """Tell whether all that was gathered has been sent."""
        if self._is_owner and (self._left_some or not self._backlog.is_empty):
            return False
        return not (self._events or self._sending or self._sending_events)

    def next_frame(self) -> list[Any] | None:
        """Return the next message, None when there is none; it is sent when `sent` is called."""
        frame = self._next_measures() if self._is_owner else None
        if frame is None and self._events:
            most = self._most(_EVENTS_A_FRAME)
            self._sending_events = self._events[:most]
            del self._events[:most]
            clocks = time_ns() // 1000, monotonic_ns() // 1000
            events = dated(self._sending_events, *clocks)
            return Events(events, self._queue.dropped + self._dropped, *clocks).frame()
        return frame

    def _next_measures(self) -> list[Any] | None:
        most = self._most(min(_DELTAS_A_FRAME, self._most_numbers))
        with self._backlog.lock:
            if self._left_some and self._backlog.is_empty:
                self._take()
            unknown = self._number(self._backlog.keys(most))
            if unknown:
                self._naming = unknown
                return MeasureNames(unknown).frame()
            window = self._sending = self._backlog.next(most, _BUCKETS_A_FRAME)
            if window is None and self._told == self._backlog.dropped:
                return None
            self._told = self._backlog.dropped
            if window is None:
                # Nothing but drops: they are not to wait until there is something else.
                return Deltas([], dropped=self._told).frame()
            return Deltas(
                [(self._numbers[key], delta) for key, delta in window.deltas.items()],
                wall_us=window.end_us + window.offset_us,
                mono_us=window.end_us,
                span_us=window.end_us - window.begin_us,
                dropped=self._told,
            ).frame()

    def _most(self, most: int) -> int:
        """Return how many things the next frame may hold."""
        if not self._single:
            return most
        self._single -= 1
        return 1

    def set_aside(self) -> bool:
        """Leave out what no frame could be made of; tell whether there was such a thing.

        Of several things one is wrong: each gets a frame of its own. A thing alone is dropped,
        counted.
        """
        window, self._sending = self._sending, None
        events, self._sending_events = self._sending_events, []
        names, self._naming = self._naming, {}
        self._unnamed.update(names.values())
        count = max(len(names), len(events), 0 if window is None else len(window.deltas))
        if count > 1:
            self._single = 2 * count  # a frame for its name, and one for what was added to it
            self._events = events + self._events
        else:
            self._dropped += len(events)
        with self._backlog.lock:
            if count > 1 and window is not None:
                self._backlog.put_back(window)
            elif window is not None:
                self._backlog.dropped += len(window.deltas)
            elif count == len(names) == 1:
                self._backlog.drop(*names.values())
        return count > 0

    def _number(self, keys: list[MeasureKey]) -> dict[int, MeasureKey]:
        """Give numbers to keys without one, up to what fits a frame; return those."""
        given: dict[int, MeasureKey] = {}
        unknown = []
        for key in keys:
            number = self._numbers.pop(key, None)
            if number is None:
                unknown.append(key)
            else:
                # Behind all others: none of these may lose its number to the new ones.
                self._numbers[key] = number
                if key in self._unnamed:
                    given[number] = key
        chars = 0
        for key in unknown:
            chars += sum(len(name) + len(value) for name, value in key.attributes)
            if given and chars > _CHARS_A_FRAME:
                break
            if len(self._numbers) < self._most_numbers:
                number = len(self._numbers) + 1
            else:
                longest_ago = next(iter(self._numbers))
                self._unnamed.discard(longest_ago)
                number = self._numbers.pop(longest_ago)
            self._numbers[key] = number
            given[number] = key
        return given

    def sent(self) -> None:
        """Forget what the last frame held: it has been sent to its end."""
        self._unnamed.difference_update(self._naming.values())
        self._sending, self._sending_events, self._naming = None, [], {}

    def end(self) -> None:
        """Let another emitter of the process send from here on."""
        self._put_back()
        self._is_owner = False
        self._measures.release(self)
