"""The latest points in memory: windows that no tier holds yet, and 1-second live summaries.

A ring holds every point whose window starts at or after its `floor`; what is older is read from
the store. Memory is bounded in bytes: over the bound the floor rises, and answers stay the same.
The sums of a window at a level are kept and grow with what arrives later.
"""

import threading
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Final

from trimtab_collector.storage.columns import Array, Columns, narrowed
from trimtab_collector.storage.levels import rolled_up
from trimtab_collector.storage.merging import merge

__all__ = ["LIVE_S", "RECENT_S", "Head"]

#: stored windows stay in memory so long at least; batches come this late without further ado
RECENT_S: Final = 300
#: span of live summaries kept
LIVE_S: Final = 120


@dataclass(slots=True, eq=False)
class _Window:
    """Points of one window; the first part stands for as many additions as `joined`."""

    parts: list[Columns] = field(default_factory=list)
    joined: int = 1
    #: level -> how many additions are in, and their sum
    sums: dict[int, tuple[int, Columns]] = field(default_factory=dict)
    names: set[Hashable] = field(default_factory=set)
    #: the ring has let go of it; a reader may still hold it
    gone: bool = False

    @property
    def size_bytes(self) -> int:
        """Bytes of its points and sums."""
        sums = sum(columns.size_bytes for _, columns in self.sums.values())
        return sums + sum(part.size_bytes for part in self.parts)


class Head:
    """Points by the start of their window; thread-safe.

    With a span_s the latest seconds are held, without one all that was not released. parents gives
    for each level the series that each series is part of.
    """

    def __init__(
        self,
        span_s: int | None,
        step_s: int,
        max_bytes: int,
        clock: Callable[[], float] = time.time,
        floor_s: int = 0,
        parents: Callable[[], Sequence[Array]] = tuple,
    ) -> None:
        self._span_s = span_s
        self._step_s = step_s
        self._max_bytes = max_bytes
        self._clock = clock
        self._parents = parents
        self._lock = threading.Lock()
        self._windows: dict[int, _Window] = {}
        self._floor_s = floor_s
        self._size_bytes = 0
        self._advance()

    @property
    def floor_s(self) -> int:
        """Every point at or after this second is in the ring; only ever rises."""
        with self._lock:
            self._advance()
            return self._floor_s

    @property
    def size_bytes(self) -> int:
        """Bytes held."""
        return self._size_bytes

    def release(self, before_s: int) -> None:
        """Let go of the windows before a second: the store answers for them from now on."""
        with self._lock:
            if before_s > self._floor_s:
                self._raise(before_s)

    def add(self, window_s: int, columns: Columns, name: Hashable = None) -> None:
        """Put in points of one window; those before the floor are left to the store.

        With a name, a repeat of it in the same window is left out.
        """
        with self._lock:
            self._advance()
            if window_s < self._floor_s:
                return
            window = self._windows.setdefault(window_s, _Window())
            if name is not None:
                if name in window.names:
                    return
                window.names.add(name)
            window.parts.append(columns)
            self._size_bytes += columns.size_bytes
            while self._size_bytes > self._max_bytes and self._windows:
                self._raise(min(self._windows) + self._step_s)

    def snapshot(self, start_s: int, end_s: int, level: int = 0) -> tuple[int, list[Columns]]:
        """Return the floor, and the points of windows in [start_s, end_s) that are here.

        At a level above 0 they are summed up to it.
        """
        with self._lock:
            self._advance()
            floor = self._floor_s
            found = [w for t, w in self._windows.items() if start_s <= t < end_s and w.parts]
        if level:
            return floor, [self._summed(window, level) for window in found]
        return floor, [self._joined(window) for window in found]

    def settle(self, before_s: int) -> None:
        """Join and sum up what is here of windows before before_s, for readers to find it done."""
        with self._lock:
            found = [w for t, w in self._windows.items() if t < before_s and w.parts]
        for window in found:
            for level in range(1, len(self._parents())):
                self._summed(window, level)
            self._joined(window)

    def span(self, start_s: int, end_s: int, gap_s: int) -> tuple[int, int] | None:
        """Return first and last window of the latest run in [start_s, end_s).

        A run has no hole wider than gap_s; None when nothing is held there.
        """
        with self._lock:
            self._advance()
            held = sorted((t for t in self._windows if start_s <= t < end_s), reverse=True)
        if not held:
            return None
        first = held[0]
        for window_s in held[1:]:
            if first - window_s - self._step_s > gap_s:
                break
            first = window_s
        return first, held[0]

    def _joined(self, window: _Window) -> Columns:
        """Return all points of a window as one part, kept for the next reader."""
        with self._lock:
            parts = list(window.parts)
        if len(parts) == 1:
            return parts[0]
        merged = narrowed(merge(parts))
        with self._lock:
            if window.parts[: len(parts)] == parts:
                self._replace(window, merged, parts)
        return merged

    def _replace(self, window: _Window, merged: Columns, parts: Sequence[Columns]) -> None:
        """Put one part in the place of others; call with the lock held."""
        before = window.size_bytes
        window.parts = [merged, *window.parts[len(parts) :]]
        window.joined += len(parts) - 1
        if not window.gone:
            self._size_bytes += window.size_bytes - before

    def _summed(self, window: _Window, level: int) -> Columns:
        """Return the sum of a window at a level: what is known and what has come since."""
        parents = self._parents()[level]
        with self._lock:
            parts, joined = list(window.parts), window.joined
            included, known = window.sums.get(level, (0, None))
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
