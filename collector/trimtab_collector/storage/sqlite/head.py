"""The latest points in memory: windows that no tier holds yet, and 1-second live summaries.

A head holds every point whose window starts at or after its `floor`; older points are read from
the files. Its memory is bounded: beyond the bound the floor rises, and answers stay the same. The
roll-ups of a window are kept, and updated with points that arrive later.

All points of a head have series numbers of one dictionary. `move` gives several heads a new
dictionary with only the series that they hold; windows that a reader already has do not change.
"""

import threading
import time
from collections.abc import Callable, Hashable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from trimtab_collector.storage.arrivals import latest_run
from trimtab_collector.storage.columns import Array, Columns, narrowed, series_of, times_of
from trimtab_collector.storage.dictionary import Dictionary, Survivors
from trimtab_collector.storage.levels import LEVELS, rolled_up
from trimtab_collector.storage.merging import merge

__all__ = ["LIVE_S", "RECENT_S", "Head", "Snapshot", "move", "used"]

#: stored windows stay in memory for at least this long; batches may come this late at no extra cost
RECENT_S: Final = 300
#: span of live summaries kept
LIVE_S: Final = 120
_NONE: Final[Array] = np.zeros(0, np.int64)


@dataclass(slots=True, eq=False)
class _HeadWindow:
    """Points of one window; the first part is the sum of `joined` additions."""

    dictionary: Dictionary
    parts: list[Columns] = field(default_factory=list)
    joined: int = 1
    #: level -> number of additions included, and their sum
    sums: dict[int, tuple[int, Columns]] = field(default_factory=dict)
    names: set[Hashable] = field(default_factory=set)
    #: the head has dropped it; a reader may still have it
    gone: bool = False

    @property
    def size_bytes(self) -> int:
        """Bytes of its points and sums."""
        sums = sum(columns.size_bytes for _, columns in self.sums.values())
        return sums + sum(part.size_bytes for part in self.parts)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Points of some windows, and the dictionary of their series numbers."""

    dictionary: Dictionary
    parts: Sequence[Columns]


class Head:
    """Points by the start of their window; thread-safe.

    With a span_s it holds that many of the latest seconds, without one everything not released.
    """

    def __init__(
        self,
        span_s: int | None,
        step_s: int,
        max_bytes: int,
        dictionary: Dictionary,
        clock: Callable[[], float] = time.time,
        floor_s: int = 0,
    ) -> None:
        self._span_s = span_s
        self._step_s = step_s
        self._max_bytes = max_bytes
        self._clock = clock
        self._dictionary = dictionary
        self._lock = threading.Lock()
        self._windows: dict[int, _HeadWindow] = {}
        self._floor_s = floor_s
        self._size_bytes = 0
        self._advance()

    @property
    def floor_s(self) -> int:
        """The time from which on every point is here; it only rises."""
        with self._lock:
            self._advance()
            return self._floor_s

    @property
    def size_bytes(self) -> int:
        """Bytes held."""
        return self._size_bytes

    def release(self, before_s: int) -> None:
        """Drop the windows before a second: from now on the files answer for them."""
        with self._lock:
            if before_s > self._floor_s:
                self._raise(before_s)

    def add(
        self, window_s: int, columns: Columns, dictionary: object, name: Hashable = None
    ) -> bool:
        """Add points of one window; points before the floor are left to the files.

        False if the dictionary is not that of the head: number the series again first. A second
        call with the same name for the same window adds nothing.
        """
        with self._lock:
            if dictionary is not self._dictionary:
                return False
            self._advance()
            if window_s < self._floor_s:
                return True
            window = self._windows.get(window_s)
            if window is None:
                window = self._windows[window_s] = _HeadWindow(self._dictionary)
            if name is not None:
                if name in window.names:
                    return True
                window.names.add(name)
            window.parts.append(columns)
            self._size_bytes += columns.size_bytes
            while self._size_bytes > self._max_bytes and self._windows:
                self._raise(min(self._windows) + self._step_s)
            return True

    def snapshot(self, start_s: int, end_s: int, level: int = 0) -> tuple[int, Snapshot]:
        """Return the floor, and the points that are here of windows in [start_s, end_s).

        For a level above 0 they are rolled up to it.
        """
        with self._lock:
            self._advance()
            floor, dictionary = self._floor_s, self._dictionary
            found = [w for t, w in self._windows.items() if start_s <= t < end_s and w.parts]
        if level:
            return floor, Snapshot(dictionary, [self._summed(each, level) for each in found])
        return floor, Snapshot(dictionary, [self._joined(each) for each in found])

    def settle(self, before_s: int) -> None:
        """Join and roll up windows before before_s in advance, so that readers need not."""
        with self._lock:
            found = [w for t, w in self._windows.items() if t < before_s and w.parts]
        for window in found:
            for level in range(1, LEVELS):
                self._summed(window, level)
            self._joined(window)

    def arrived(self, start_s: int, end_s: int, gap_s: int) -> tuple[int, int] | None:
        """Return start and end of the latest run of windows in [start_s, end_s).

        A run has no hole wider than gap_s; None when nothing is held there.
        """
        with self._lock:
            self._advance()
            held = [t for t in self._windows if start_s <= t < end_s]
        return latest_run(held, self._step_s, gap_s)

    def _joined(self, window: _HeadWindow) -> Columns:
        """Return all points of a window as one part, and keep that for the next reader."""
        with self._lock:
            parts = list(window.parts)
        if len(parts) == 1:
            return parts[0]
        merged = narrowed(merge(parts))
        with self._lock:
            if window.parts[: len(parts)] == parts:
                self._replace(window, merged, parts)
        return merged

    def _replace(self, window: _HeadWindow, merged: Columns, parts: Sequence[Columns]) -> None:
        """Replace the first parts by one; call with the lock held."""
        before = window.size_bytes
        window.parts = [merged, *window.parts[len(parts) :]]
        window.joined += len(parts) - 1
        if not window.gone:
            self._size_bytes += window.size_bytes - before

    def _summed(self, window: _HeadWindow, level: int) -> Columns:
        """Return the roll-up of a window at a level: the known sum plus what has come since."""
        with self._lock:
            parts, joined = list(window.parts), window.joined
            included, known = window.sums.get(level, (0, None))
        # After the parts: a series that came since the last time is in both.
        parents = window.dictionary.parents()[level]
        if known is None or included < joined:
            summed = narrowed(rolled_up(merge(parts), parents))
        elif included == joined + len(parts) - 1:
            return known
        else:
            later = merge(parts[included - joined + 1 :])
            summed = narrowed(merge([known, rolled_up(later, parents)]))
        with self._lock:
            before = window.size_bytes
            window.sums[level] = (joined + len(parts) - 1, summed)
            if not window.gone:
                self._size_bytes += window.size_bytes - before
        return summed

    def _advance(self) -> None:
        if self._span_s is None:
            return
        floor = int(self._clock()) - self._span_s
        floor -= floor % self._step_s
        if floor > self._floor_s:
            self._raise(floor)

    def _raise(self, floor_s: int) -> None:
        self._floor_s = floor_s
        for window_s in [t for t in self._windows if t < floor_s]:
            window = self._windows.pop(window_s)
            window.gone = True
            self._size_bytes -= window.size_bytes

    def _keys(self) -> list[Array]:
        """Return the keys of all points; call with the lock held."""
        return [part.key for window in self._windows.values() for part in window.parts]

    def _renumber(self, dictionary: Dictionary, numbers: Array) -> None:
        """Give the series other numbers; call with the lock held."""
        self._dictionary = dictionary
        self._size_bytes = 0
        for window_s, old in self._windows.items():
            old.gone = True
            parts = [
                replace(part, key=(numbers[series_of(part.key)] << 32) | times_of(part.key))
                for part in old.parts
            ]
            window = _HeadWindow(dictionary, parts, old.joined, names=old.names)
            self._windows[window_s] = window
            self._size_bytes += window.size_bytes


def used(heads: Sequence[Head]) -> Array:
    """Return the numbers of the series that heads hold points of."""
    keys: list[Array] = [_NONE]
    for head in heads:
        with head._lock:
            keys += head._keys()
    return _series(keys)


def move(heads: Sequence[Head], old: Dictionary, survivors: Survivors) -> int:
    """Give heads the dictionary of survivors; returns the number of series that they hold."""
    with ExitStack() as stack:
        for head in heads:
            stack.enter_context(head._lock)
        here = _series([_NONE, *(key for head in heads for key in head._keys())])
        numbers = survivors.renumber(old, here)
        for head in heads:
            head._renumber(survivors.dictionary, numbers)
    return len(here)


def _series(keys: Sequence[Array]) -> Array:
    found: Array = np.unique(np.concatenate([series_of(key) for key in keys]))
    return found
