"""What apps and probes measured since the last window: measures added up, and events.

It goes with the next window that is closed. Loop only.
"""

from typing import Final

from trimtab_agent.app import App, other_of, size_of
from trimtab_core.deltas import MAX_MEASURES, Deltas, Events
from trimtab_core.errors import FrameError
from trimtab_core.measures import Delta, MeasureKey
from trimtab_core.rows import EventRow, MeasureRow, pack_rows

__all__ = ["Gathered"]

#: Events per window.
_MOST_EVENTS: Final = 1000
#: Memory for the names of measures in a window: what two processes may announce, or 20,000 measures
#: of 1,600 bytes each.
_MOST_NAME_BYTES: Final = 32 * 2**20


class Gathered:
    """Measures of all apps and probes since the last window, and the events of apps.

    The table of names is empty at the start of each window, so old names take nobody's place.
    """

    def __init__(
        self, max_measures: int = MAX_MEASURES, max_name_bytes: int = _MOST_NAME_BYTES
    ) -> None:
        self._max_measures = max_measures
        self._max_name_bytes = max_name_bytes
        self._name_bytes = 0
        self._deltas: dict[tuple[str, str, str, MeasureKey], Delta] = {}
        self._events: list[EventRow] = []
        #: deltas added to `other`
        self.over_limit = 0
        #: deltas left out, because not even `other` had a place
        self.measures_dropped = 0
        #: events left out, here and in apps
        self.events_dropped = 0

    def add(self, app: App, measured: Deltas) -> None:
        """Add what an app has measured; raises FrameError for a number that was not announced."""
        for number, delta in measured.deltas:
            if number not in app.measures:
                raise FrameError(f"measure {number} was not announced")
            key = app.measures[number]
            if key is None:
                self.measures_dropped += 1
                continue
            self.over_limit += number in app.other_measures
            self.add_delta(app.hello.environment, app.hello.service, app.instance, key, delta)

    def add_delta(
        self, environment: str, service: str, instance: str, key: MeasureKey, delta: Delta
    ) -> None:
        """Add a delta to its measure.

        Over the limit of names, new ones are added up under `other` in place of their attributes'
        values; over twice the limit, what is new is left out. Both are counted.
        """
        whose = (environment, service, instance, key)
        before = self._deltas.get(whose)
        if before is None and not self._has_room(key, 1):
            whose = (environment, service, instance, other_of(key))
            before = self._deltas.get(whose)
            if before is None and not self._has_room(whose[3], 2):
                self.measures_dropped += 1
                return
            self.over_limit += whose[3] != key
        if before is None:
            self._name_bytes += size_of(whose[3])
            self._deltas[whose] = delta
        else:
            before.merge(delta)

    def _has_room(self, key: MeasureKey, times: int) -> bool:
        """Tell whether a new measure is within so many times the limits, of number and bytes."""
        return (
            len(self._deltas) < times * self._max_measures
            and self._name_bytes + size_of(key) <= times * self._max_name_bytes
        )

    def note(self, app: App, events: Events) -> None:
        """Keep events; over the bound the new ones are left out, counted."""
        self.events_dropped += max(0, events.dropped - app.events_dropped)
        app.events_dropped = events.dropped
        room = max(0, _MOST_EVENTS - len(self._events))
        self.events_dropped += max(0, len(events.events) - room)
        hello = app.hello
        self._events += [
            # Told here: a process says its version once, not with each event.
            EventRow(
                *(hello.environment, hello.service, app.instance),
                {**event, "version": hello.version},
            )
            for event in events.events[:room]
        ]

    def take(self) -> list[bytes]:
        """Return all as binaries of rows, and forget it."""
        deltas, events = self._deltas, self._events
        self._deltas, self._events, self._name_bytes = {}, [], 0
        return pack_rows((MeasureRow(*whose, delta) for whose, delta in deltas.items()), events)
