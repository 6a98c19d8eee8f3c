"""What an app sends its agent besides requests: measures by number, deltas of them, events.

Numbers of measures hold for a connection, as ids of routes do; one may be given to another measure
by announcing it again. Events are maps of short texts, whole numbers and lists of these; the agent
passes them on without reading them, within bounds.

Parsers raise ValueError or TypeError, of which `trimtab_core.messages.parse` makes a FrameError.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgpack

from trimtab_core.fields import MALFORMED, count_of, mapping, name_of, whole
from trimtab_core.measures import Delta, MeasureKey
from trimtab_core.names import clean_name

__all__ = [
    "MAX_EVENT",
    "MAX_MEASURES",
    "Deltas",
    "Events",
    "MeasureNames",
    "event_of",
    "fits",
    "parse_deltas",
    "parse_events",
    "parse_measure_names",
]

#: Measures of a process.
MAX_MEASURES: Final = 20_000
#: Bytes of an event, packed.
MAX_EVENT: Final = 32_768
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

    def frame(self) -> list[Any]:
        """Return the message list."""
        events = [dict(event) for event in self.events]
        return ["events", events, self.dropped, self.wall_us, self.mono_us]


def fits(event: Mapping[str, Any]) -> bool:
    """Tell whether an event can be packed and has at most MAX_EVENT bytes."""
    try:
        return len(msgpack.packb(event)) <= MAX_EVENT
    except (*MALFORMED, OverflowError):
        return False


def event_of(value: Any) -> Mapping[str, Any]:
    """Return an event, its texts cleaned as names are.

    Raises an error of MALFORMED for a value that is not one.
    """
    event = mapping(value)
    name_of(event["kind"])
    count_of(event["at_us"])
    return {
        each: clean_name(text) if isinstance(text, str) else text for each, text in event.items()
    }


def parse_measure_names(message: list[Any]) -> MeasureNames:
    """Return the message of a frame."""
    return MeasureNames(
        {whole(number, 1, MAX_MEASURES): MeasureKey.of_row(row) for number, *row in message[1]}
    )


def parse_deltas(message: list[Any]) -> Deltas:
    """Return the message of a frame."""
    rows = [(whole(number, 1, MAX_MEASURES), Delta.of_row(row)) for number, *row in message[1]]
    if len(message) < _DATED:
        return Deltas(rows)
    return Deltas(rows, *(count_of(each) for each in message[2:_DATED]))


def parse_events(message: list[Any]) -> Events:
    """Return the message of a frame."""
    events = message[1]
    if not isinstance(events, list) or len(events) > _MAX_EVENTS:
        raise ValueError(f"expected a list of at most {_MAX_EVENTS} events")
    found = []
    for event in events:
        if not fits(event):
            raise ValueError(f"expected an event of at most {MAX_EVENT} bytes, got a longer one")
        found.append(event_of(event))
    if len(message) < _DATED_EVENTS:
        return Events(found, count_of(message[2]))
    return Events(found, *(count_of(each) for each in message[2:_DATED_EVENTS]))
