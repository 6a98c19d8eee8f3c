"""The readings of the latest 15 minutes in memory: 12 bytes each.

They lie in the journal as well, among all else that batches hold: reading 15 minutes of some
thousand gauges from there takes a second and more of unpacking, from here a few milliseconds.
Memory is bounded in bytes: over the bound the floor rises, and the journal answers.
"""

import threading
import time
from collections.abc import Callable
from typing import Final

import numpy as np

from trimtab_collector.storage.readings import GaugeKey, Numbers, Taken, take
from trimtab_core.batches import Batch

__all__ = ["ReadingRing"]

#: bytes of a gauge's name, near enough
_NAME_BYTES: Final = 300
#: names of gauges that have gone are let go when they are more than the others and so many
_GONE: Final = 1_000
_WINDOW_S: Final = 10


class ReadingRing:
    """Readings by the start of their window, the latest span_s of them; thread-safe."""

    def __init__(
        self,
        span_s: int,
        max_bytes: int,
        clock: Callable[[], float] = time.time,
        floor_s: int = 0,
    ) -> None:
        self._span_s = span_s
        self._max_bytes = max_bytes
        self._clock = clock
        self._floor_s = floor_s
        self._lock = threading.Lock()
        self._windows: dict[int, list[Taken]] = {}
        self._numbers: Numbers = {}
        #: the keys of `_numbers` in order, made when they are asked for; never changed in place
        self._keys: list[GaugeKey] = []
        self._kept = 0
        self._bytes = 0

    @property
    def size_bytes(self) -> int:
        """Bytes held, near enough."""
        return self._bytes + _NAME_BYTES * len(self._numbers)

    def add(self, batch: Batch, window_s: int) -> None:
        """Put in the readings of a batch; those before the floor are left to the store."""
        if not batch.gauges:
            return
        with self._lock:
            self._advance()
            if window_s < self._floor_s:
                return
            taken = take(batch, window_s, self._numbers)
            self._windows.setdefault(window_s, []).append(taken)
            self._bytes += taken.size_bytes
            while self.size_bytes > self._max_bytes and self._windows:
                self._raise(min(self._windows) + _WINDOW_S)

    def snapshot(self, start_s: int, end_s: int) -> tuple[int, list[GaugeKey], list[Taken]]:
        """Return the floor, the gauges by number, and readings of windows in [start_s, end_s)."""
        with self._lock:
            self._advance()
            if len(self._keys) != len(self._numbers):
                self._keys = self._names()
            found = [
                taken
                for window_s, batches in self._windows.items()
                if start_s <= window_s < end_s
                for taken in batches
            ]
            return self._floor_s, self._keys, found

    def _advance(self) -> None:
        floor_s = int(self._clock()) - self._span_s
        floor_s -= floor_s % _WINDOW_S
        if floor_s > self._floor_s:
            self._raise(floor_s)

    def _raise(self, floor_s: int) -> None:
        self._floor_s = floor_s
        for window_s in [t for t in self._windows if t < floor_s]:
            self._bytes -= sum(taken.size_bytes for taken in self._windows.pop(window_s))
        if len(self._numbers) > 2 * self._kept + _GONE or not self._windows:
            self._renumber()

    def _renumber(self) -> None:
        """Forget the names that no window has."""
        alive = np.zeros(len(self._numbers), bool)
        for batches in self._windows.values():
            for taken in batches:
                alive[taken.gauge] = True
        number = np.cumsum(alive, dtype=np.int32) - np.int32(1)
        for batches in self._windows.values():
            batches[:] = [taken._replace(gauge=number[taken.gauge]) for taken in batches]
        names = self._names()
        self._keys = [names[place] for place in np.flatnonzero(alive).tolist()]
        self._numbers = {key: place for place, key in enumerate(self._keys)}
        self._kept = len(self._keys)

    def _names(self) -> list[GaugeKey]:
        return [GaugeKey(*key) for key in self._numbers]
