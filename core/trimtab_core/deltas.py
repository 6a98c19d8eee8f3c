"""What an app sends its agent besides requests: measures by number, deltas of them, events.

Numbers of measures hold for a connection, as ids of routes do; one may be given to another measure
by announcing it again. The agent passes events on (`trimtab_core.events`).

A delta or an event that is malformed costs itself: it is left out, and counted in the message. For
what is wrong with a whole frame, parsers raise ValueError or TypeError, of which
`trimtab_core.messages.parse` makes a FrameError.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from trimtab_core.events import MAX_EVENT, fitting
from trimtab_core.fields import MALFORMED, count_of, whole
from trimtab_core.measures import Delta, MeasureKey

__all__ = [
    "MAX_EVENT",
    "MAX_MEASURES",
    "Deltas",
    "Events",
    "MeasureNames",
    "fitting",
    "parse_deltas",
    "parse_events",
    "parse_measure_names",
]

#: Measures of a process.
MAX_MEASURES: Final = 20_000
_MAX_EVENTS: Final = 1000
#: Entries of a frame of deltas that says when they were added.
_DATED: Final = 6
#: Entries of a frame of events that says by which clock.
_DATED_EVENTS: Final = 5


@dataclass(frozen=True, slots=True)
class MeasureNames:
    """Measures announced by a process, by number from 1.

    Numbers hold for its connection, until announced again.
    """

    keys: Mapping[int, MeasureKey]

    def frame(self) -> list[Any]:
        """Return the message list."""
        return ["measure_names", [[number, *key.row()] for number, key in self.keys.items()]]


@dataclass(frozen=True, slots=True)
class Deltas:
    """What was added to measures, by number, within one span of time.

    Without `wall_us`, as apps of an earlier version send them, it is what was added just now.
    """

    deltas: Sequence[tuple[int, Delta]]
    #: wall and monotonic clock of the app, in us, at the end of the span
    wall_us: int = 0
    mono_us: int = 0
    #: length of the span, in us
    span_us: int = 0
    #: deltas that this process has dropped so far, because too much waited; never decreases
    dropped: int = 0
    #: deltas of this frame that were malformed and are left out
    malformed: int = 0

    def frame(self) -> list[Any]:
        """Return the message list."""
        rows = [[number, *delta.row()] for number, delta in self.deltas]
        return ["deltas", rows, self.wall_us, self.mono_us, self.span_us, self.dropped]


@dataclass(frozen=True, slots=True)
class Events:
    """Slow queries, slow and failed requests and the like; `dropped` counts those left out.

    The `at_us` of an event is by the clock that read `wall_us`. Without it, as apps of an earlier
    version send them, by an unknown one.
    """

    events: Sequence[Mapping[str, Any]]
    dropped: int = 0
    #: wall and monotonic clock of the app, in us, when the frame was made
    wall_us: int = 0
    mono_us: int = 0
    #: events of this frame that were malformed and are left out
    malformed: int = 0

    def frame(self) -> list[Any]:
        """Return the message list."""
        events = [dict(event) for event in self.events]
        return ["events", events, self.dropped, self.wall_us, self.mono_us]


def parse_measure_names(message: list[Any]) -> MeasureNames:
    """Return the message of a frame."""
    return MeasureNames(
        {whole(number, 1, MAX_MEASURES): MeasureKey.of_row(row) for number, *row in message[1]}
    )


def parse_deltas(message: list[Any]) -> Deltas:
    """Return the message of a frame."""
    rows = message[1]
    if not isinstance(rows, list):
        raise TypeError("expected a list of deltas")
    try:
        deltas = [(whole(number, 1, MAX_MEASURES), Delta.of_row(row)) for number, *row in rows]
    except MALFORMED:
        deltas = [delta for row in rows if (delta := _delta(row)) is not None]
    malformed = len(rows) - len(deltas)
    if len(message) < _DATED:
        return Deltas(deltas, malformed=malformed)
    wall_us, mono_us, span_us, dropped = map(count_of, message[2:_DATED])
    return Deltas(deltas, wall_us, mono_us, span_us, dropped, malformed)


def _delta(row: Any) -> tuple[int, Delta] | None:
    try:
        number, *rest = row
        return whole(number, 1, MAX_MEASURES), Delta.of_row(rest)
    except MALFORMED:
        return None


def parse_events(message: list[Any]) -> Events:
    """Return the message of a frame."""
    events = message[1]
    if not isinstance(events, list) or len(events) > _MAX_EVENTS:
        raise ValueError(f"expected a list of at most {_MAX_EVENTS} events")
    sound = [event for event in map(fitting, events) if event is not None]
    malformed = len(events) - len(sound)
    if len(message) < _DATED_EVENTS:
        return Events(sound, count_of(message[2]), malformed=malformed)
    dropped, wall_us, mono_us = map(count_of, message[2:_DATED_EVENTS])
    return Events(sound, dropped, wall_us, mono_us, malformed)
