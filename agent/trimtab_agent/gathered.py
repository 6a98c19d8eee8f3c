"""What apps and probes measured: measures added up by window, and events.

Measures go with the window in which they were added, events with the next one that is closed. Loop
only.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from trimtab_agent.app import App, other_of, size_of
from trimtab_agent.dating import share
from trimtab_agent.shares import EventShares
from trimtab_core.deltas import MAX_MEASURES, Deltas, Events
from trimtab_core.errors import FrameError
from trimtab_core.measures import Delta, MeasureKey
from trimtab_core.redaction import redacted_event
from trimtab_core.rows import EventRow, MeasureRow, pack_rows

__all__ = ["Gathered"]

#: Memory for the names of measures in a window: what two processes may announce, or 20,000 measures
#: of 1,600 bytes each.
_MOST_NAME_BYTES: Final = 32 * 2**20
#: Memory of all open windows together, names too: the present one, the one before it, and a backlog
#: of as much again. What apps kept for an agent that was away is many windows at once.
_MOST_BYTES: Final = 192 * 2**20
#: Different spans that wait to be shared: what some apps kept over a day. Each is shared among up
#: to 60 windows, so their number bounds the work.
_MOST_SPANS: Final = 500
#: Memory of a delta, approximately; and of one of its buckets.
_DELTA_BYTES: Final = 500
_BUCKET_BYTES: Final = 90

_Whose = tuple[str, str, str, MeasureKey]


class _Gathering:
    """Measures of one window."""

    def __init__(self) -> None:
        self.deltas: dict[_Whose, Delta] = {}
        self.name_bytes = self.size_bytes = 0


class Gathered:
    """Measures of all apps and probes by window, and the events of apps.

    Each window has a table of names of its own, so names of another one take nobody's place.
    """

    def __init__(
        self,
        max_measures: int = MAX_MEASURES,
        max_name_bytes: int = _MOST_NAME_BYTES,
        max_bytes: int = _MOST_BYTES,
        max_spans: int = _MOST_SPANS,
    ) -> None:
        self._max_measures = max_measures
        self._max_name_bytes = max_name_bytes
        self._max_bytes = max_bytes
        self._max_spans = max_spans
        self._size_bytes = 0
        self._windows: dict[int, _Gathering] = {}
        #: what is to be shared among several windows, by their starts
        self._spans: dict[tuple[int, ...], _Gathering] = {}
        self._events = EventShares()
        #: deltas added to `other`
        self.over_limit = 0
        #: deltas left out: malformed, or not even `other` had a place; and those that apps dropped
        self.measures_dropped = 0
        #: events left out, here and in apps
        self.events_dropped = 0

    def add(self, app: App, measured: Deltas, windows: Sequence[int]) -> None:
        """Add what an app has measured in the windows that start at these seconds, one as a rule.

        What is to be shared among several waits for `take_spans`: shared, it would be that many
        times as much. Raises FrameError for a number that was not announced.
        """
        if len(windows) > 1:
            into = self._spans.setdefault(tuple(windows), _Gathering())
        else:
            into = self._windows.setdefault(windows[0], _Gathering())
        self.measures_dropped += max(0, measured.dropped - app.measures_dropped)
        app.measures_dropped = max(measured.dropped, app.measures_dropped)
        self.measures_dropped += measured.malformed
        for number, delta in measured.deltas:
            if number not in app.measures:
                raise FrameError(f"measure {number} was not announced")
            key = app.measures[number]
            if key is None:
                self.measures_dropped += 1
                continue
            self.over_limit += number in app.other_measures
            whose = (app.hello.environment, app.hello.service, app.instance, key)
            self._add(into, whose, delta)

    def takes_span(self, windows: Sequence[int]) -> bool:
        """Tell whether one more span may wait: 500 different ones do, of all apps together."""
        return tuple(windows) in self._spans or len(self._spans) < self._max_spans

    def add_delta(self, start_s: int, whose: _Whose, delta: Delta) -> None:
        """Add a delta to a measure (environment, service, instance, key) of a window.

        Over the limit of names, new ones are added up under `other` in place of their attributes'
        values; over twice the limit, what is new is left out. Both are counted.
        """
        self._add(self._windows.setdefault(start_s, _Gathering()), whose, delta)

    def _add(self, window: _Gathering, whose: _Whose, delta: Delta) -> None:
        key = whose[3]
        before = window.deltas.get(whose)
        if before is None and not self._has_room(window, key, 1):
            whose = (*whose[:3], other_of(key))
            before = window.deltas.get(whose)
            if before is None and not self._has_room(window, whose[3], 2):
                self.measures_dropped += 1
                return
            self.over_limit += whose[3] != key
        size = 0
        if before is None:
            name_bytes = size_of(whose[3])
            window.name_bytes += name_bytes
            size = name_bytes + _DELTA_BYTES + _BUCKET_BYTES * len(delta.buckets)
            window.deltas[whose] = delta
        else:
            size -= _BUCKET_BYTES * len(before.buckets)
            before.merge(delta)
            size += _BUCKET_BYTES * len(before.buckets)
        window.size_bytes += size
        self._size_bytes += size

    def _has_room(self, window: _Gathering, key: MeasureKey, times: int) -> bool:
        """Tell whether a new measure is within so many times the limits, of number and bytes."""
        return (
            len(window.deltas) < times * self._max_measures
            and window.name_bytes + size_of(key) <= times * self._max_name_bytes
            and self._size_bytes <= times * self._max_bytes
        )

    def note(self, app: App, events: Events, at_us: Sequence[int]) -> None:
        """Keep events, and when each was, by the agent's monotonic clock.

        Over the bounds some are left out, counted.
        """
        self.events_dropped += max(0, events.dropped - app.events_dropped) + events.malformed
        app.events_dropped = events.dropped
        hello = app.hello
        for event, at in zip(events.events, at_us, strict=True):
            # Told here: a process says its version once, not with each event.
            told = {**redacted_event(event), "version": hello.version}
            row = EventRow(hello.environment, hello.service, app.instance, told)
            self.events_dropped += self._events.add(app.peer, hello.process, row, at)

    def take_spans(self) -> Iterator[tuple[int, list[MeasureRow]]]:
        """Take what is to be shared; yield the start of each window with its share."""
        spans, self._spans = self._spans, {}
        for starts, gathering in spans.items():
            self._size_bytes -= gathering.size_bytes
            for index, start_s in enumerate(starts):
                shares = (
                    (whose, share(delta, len(starts), index))
                    for whose, delta in gathering.deltas.items()
                )
                yield start_s, [MeasureRow(*whose, part) for whose, part in shares if part]

    def take(self, start_s: int, offset_us: int = 0, *, with_events: bool = True) -> list[bytes]:
        """Return the measures of a window, and the events, as binaries of rows; forget them.

        offset_us is how far the wall clock of the window is ahead of the monotonic one.
        """
        window = self._windows.pop(start_s, None) or _Gathering()
        self._size_bytes -= window.size_bytes
        events = self._events.take(offset_us) if with_events else ()
        rows = (MeasureRow(*whose, delta) for whose, delta in window.deltas.items())
        return pack_rows(rows, events)
