"""The latest points in memory: stored windows of 15 minutes, and 1-second live summaries.

A ring holds every point whose window starts at or after its `floor`; what is older is read from
the store. Memory is bounded in bytes: over the bound the floor rises, and answers stay the same.
"""

import threading
import time
from collections.abc import Callable, Hashable
from typing import Final

from trimtab_collector.storage.columns import Columns
from trimtab_collector.storage.merging import merge

__all__ = ["LIVE_S", "RECENT_S", "Ring"]

#: span of stored windows kept in memory
RECENT_S: Final = 900
#: span of live summaries kept
LIVE_S: Final = 120


class Ring:
    """Points by the start of their window, the latest span_s of them; thread-safe."""

    def __init__(
        self,
        span_s: int,
        step_s: int,
        max_bytes: int,
        clock: Callable[[], float] = time.time,
        floor_s: int = 0,
    ) -> None:
        self._span_s = span_s
        self._step_s = step_s
        self._max_bytes = max_bytes
        self._clock = clock
        self._lock = threading.Lock()
        self._slots: dict[int, list[Columns]] = {}
        self._names: dict[int, set[Hashable]] = {}
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

    def add(self, window_s: int, columns: Columns, name: Hashable = None) -> None:
        """Put in points of one window; those before the floor are left to the store.

        With a name, a repeat of it in the same window is left out.
        """
        with self._lock:
            self._advance()
            if window_s < self._floor_s:
                return
            if name is not None:
                names = self._names.setdefault(window_s, set())
                if name in names:
                    return
                names.add(name)
            self._slots.setdefault(window_s, []).append(columns)
            self._size_bytes += columns.size_bytes
            while self._size_bytes > self._max_bytes and self._slots:
                self._raise(min(self._slots) + self._step_s)

    def snapshot(self, start_s: int, end_s: int) -> tuple[int, list[Columns]]:
        """Return the floor, and the points of windows in [start_s, end_s) that are here."""
        with self._lock:
            self._advance()
            floor = self._floor_s
            found = {t: list(p) for t, p in self._slots.items() if start_s <= t < end_s}
        answer = []
        for window_s, parts in found.items():
            if len(parts) > 1:
                # Merged once and kept: the next reader finds one part instead of many.
                parts = [self._joined(window_s, parts)]
            answer += parts
        return floor, answer

    def span(self, start_s: int, end_s: int, gap_s: int) -> tuple[int, int] | None:
        """Return first and last window of the latest run in [start_s, end_s).

        A run has no hole wider than gap_s; None when nothing is held there.
        """
        with self._lock:
            self._advance()
            held = sorted((t for t in self._slots if start_s <= t < end_s), reverse=True)
        if not held:
            return None
        first = held[0]
        for window_s in held[1:]:
            if first - window_s - self._step_s > gap_s:
                break
            first = window_s
        return first, held[0]

    def _joined(self, window_s: int, parts: list[Columns]) -> Columns:
        merged = merge(parts)
        with self._lock:
            present = self._slots.get(window_s)
            if present is not None and present[: len(parts)] == parts:
                self._slots[window_s] = [merged, *present[len(parts) :]]
                self._size_bytes += merged.size_bytes - sum(part.size_bytes for part in parts)
        return merged

    def _advance(self) -> None:
        floor = int(self._clock()) - self._span_s
        floor -= floor % self._step_s
        if floor > self._floor_s:
            self._raise(floor)

    def _raise(self, floor_s: int) -> None:
        self._floor_s = floor_s
        for window_s in [t for t in self._slots if t < floor_s]:
            self._size_bytes -= sum(part.size_bytes for part in self._slots.pop(window_s))
        for window_s in [t for t in self._names if t < floor_s]:
            del self._names[window_s]
