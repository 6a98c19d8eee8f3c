"""The content of the engine in memory, window by window; its owner does the locking.

The points of a window are one merged part, and so are the deltas of each of its measures. A window
is dropped as a whole, and names go with the last window that uses them.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from trimtab_collector.storage.columns import (
    Array,
    Columns,
    narrowed,
    nothing,
    series_of,
    times_of,
)
from trimtab_collector.storage.dictionary import Dictionary, Survivors
from trimtab_collector.storage.gaugepoints import GaugeKey, Numbers, Taken, take
from trimtab_collector.storage.grouping import WhoseMeasure
from trimtab_collector.storage.merging import merge
from trimtab_collector.storage.store import Received
from trimtab_core.measures import Delta
from trimtab_core.rows import EventRow

__all__ = ["MemoryWindow", "MemoryWindows", "SeenEvent", "renumber", "used_series"]

#: time of an event by the app's clock in microseconds, and how many events came before it
SeenEvent = tuple[int, int, EventRow]

#: bytes of a batch besides its points, of a gauge's name, and of a packed byte of measures and
#: events once they are objects: accurate enough for a bound
_BATCH_BYTES: Final = 400
_NAME_BYTES: Final = 200
_UNPACKED: Final = 8


@dataclass(slots=True)
class MemoryWindow:
    """Everything that came with the batches of one window."""

    points: Columns = field(default_factory=nothing)
    gauges: list[Taken] = field(default_factory=list)
    measures: dict[WhoseMeasure, Delta] = field(default_factory=dict)
    events: list[SeenEvent] = field(default_factory=list)
    #: approximate bytes of everything but the points
    rest_bytes: int = 0
    #: names of its live summaries, so that a repeat adds nothing
    names: set[tuple[str, str, bytes, int]] = field(default_factory=set)

    @property
    def size_bytes(self) -> int:
        """Bytes held, approximately."""
        return self.points.size_bytes + self.rest_bytes

    def add_points(self, points: Columns) -> None:
        """Add points whose series numbers are those of the window's dictionary."""
        self.points = narrowed(merge([self.points, points]))
        self.rest_bytes += _BATCH_BYTES


class MemoryWindows:
    """Stored windows by their start, and the names of their gauges."""

    def __init__(self) -> None:
        self.windows: dict[int, MemoryWindow] = {}
        self._numbers: Numbers = {}
        self._events = 0
        self._bytes = 0

    @property
    def size_bytes(self) -> int:
        """Bytes held, approximately."""
        return self._bytes + _NAME_BYTES * len(self._numbers)

    def add(self, received: Received, points: Columns) -> None:
        """Add a batch; points are its own, under the present numbers of its series."""
        window = self.windows.get(received.window_s)
        if window is None:
            window = self.windows[received.window_s] = MemoryWindow()
        else:
            self._bytes -= window.size_bytes
        window.add_points(points)
        if received.batch.gauges:
            taken = take(received.batch, received.window_s, self._numbers)
            window.gauges.append(taken)
            window.rest_bytes += taken.gauge.nbytes + taken.value.nbytes
        for row in received.measures:
            window.measures.setdefault(row[:4], Delta()).merge(row.delta)
        for event in received.events:
            window.events.append((event.event["at_us"], self._events, event))
            self._events += 1
        window.rest_bytes += _UNPACKED * len(received.batch.rows)
        self._bytes += window.size_bytes

    def within(self, start_s: int, end_s: int) -> Iterator[tuple[int, MemoryWindow]]:
        """Yield start and content of the windows that start in [start_s, end_s), in order."""
        for t in sorted(t for t in self.windows if start_s <= t < end_s):
            yield t, self.windows[t]

    def gauge_names(self) -> list[GaugeKey]:
        """Return the gauges by number."""
        return [GaugeKey(*key) for key in self._numbers]

    def drop(self, before_s: int) -> None:
        """Drop the windows that start before a second, and gauges that no other window has."""
        for t in [t for t in self.windows if t < before_s]:
            self._bytes -= self.windows.pop(t).size_bytes
        taken = [each for window in self.windows.values() for each in window.gauges]
        used = _used(each.gauge for each in taken)
        if len(used) == len(self._numbers):
            return
        number = np.full(len(self._numbers), -1, np.int32)
        number[used] = np.arange(len(used), dtype=np.int32)
        names = self.gauge_names()
        self._numbers = {names[old]: new for new, old in enumerate(used.tolist())}
        for window in self.windows.values():
            window.gauges = [each._replace(gauge=number[each.gauge]) for each in window.gauges]


def used_series(windows: Iterable[MemoryWindow]) -> Array:
    """Return the numbers of the series that windows hold points of."""
    return _used(series_of(window.points.key) for window in windows)


def renumber(windows: list[MemoryWindow], old: Dictionary, survivors: Survivors) -> int:
    """Give windows the dictionary of survivors; returns the number of series that they hold."""
    here = used_series(windows)
    numbers = survivors.renumber(old, here)
    for window in windows:
        key = window.points.key
        # A new part, because readers may have the old one.
        window.points = replace(window.points, key=(numbers[series_of(key)] << 32) | times_of(key))
    return len(here)


def _used(numbers: Iterable[Array]) -> Array:
    found: Array = np.unique(np.concatenate([np.zeros(0, np.int64), *numbers]))
    return found
