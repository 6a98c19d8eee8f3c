"""The gauges of the latest 15 minutes in memory, with 8 bytes per value.

The journal has them, too, among everything else in its batches. Reading 15 minutes of some
thousand gauges from there takes a second and more of unpacking, from here a few milliseconds.
Memory is bounded: beyond the bound the floor rises, and the journal answers.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from trimtab_collector.storage.columns import Array
from trimtab_collector.storage.gaugepoints import GaugeKey, Numbers, Taken, take
from trimtab_core.batches import Batch

__all__ = ["GAUGES_S", "GaugeHead"]

#: span of windows kept in memory; older ones are in tiers by then
GAUGES_S: Final = 900
#: approximate bytes of a gauge's name: it shares most of its texts with others
_NAME_BYTES: Final = 200
#: approximate bytes of a batch besides its values
_BATCH_BYTES: Final = 400
#: agents whose latest gauges are known
_AGENTS: Final = 1_000
#: unused names are dropped once they outnumber used ones by this many
_GONE: Final = 1_000
_WINDOW_S: Final = 10


@dataclass(slots=True, eq=False)
class _GaugeWindow:
    batches: list[Taken] = field(default_factory=list)
    size_bytes: int = 0


class GaugeHead:
    """Gauges by the start of their window, the latest span_s of them; thread-safe."""

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
        self._windows: dict[int, _GaugeWindow] = {}
        self._numbers: Numbers = {}
        #: the keys of `_numbers` in order, made on demand; never changed in place
        self._keys: list[GaugeKey] = []
        self._kept = 0
        #: agent -> the gauges of its latest batch: mostly those of the next one too
        self._latest: dict[str, Array] = {}
        self._bytes = 0

    @property
    def floor_s(self) -> int:
        """The time from which on every value is here; it only rises."""
        with self._lock:
            self._advance()
            return self._floor_s

    @property
    def size_bytes(self) -> int:
        """Bytes held, approximately."""
        return self._bytes + _NAME_BYTES * len(self._numbers)

    def add(self, batch: Batch, window_s: int) -> None:
        """Add the gauges of a batch; those before the floor are left to the journal."""
        if not batch.gauges:
            return
        with self._lock:
            self._advance()
            if window_s < self._floor_s:
                return
            taken = take(batch, window_s, self._numbers)
            size = _BATCH_BYTES + taken.value.nbytes
            before = self._latest.get(batch.agent)
            if before is not None and np.array_equal(before, taken.gauge):
                taken = taken._replace(gauge=before)
            else:
                if len(self._latest) >= _AGENTS:
                    self._latest.clear()
                self._latest[batch.agent] = taken.gauge
                size += taken.gauge.nbytes
            window = self._windows.setdefault(window_s, _GaugeWindow())
            window.batches.append(taken)
            window.size_bytes += size
            self._bytes += size
            while self.size_bytes > self._max_bytes and self._windows:
                self._raise(min(self._windows) + _WINDOW_S)

    def snapshot(self, start_s: int, end_s: int) -> tuple[int, list[GaugeKey], list[Taken]]:
        """Return the floor, the gauges by number, and the values of windows in [start_s, end_s)."""
        with self._lock:
            self._advance()
            if len(self._keys) != len(self._numbers):
                self._keys = self._names()
            found = [
                taken
                for window_s, window in self._windows.items()
                if start_s <= window_s < end_s
                for taken in window.batches
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
            self._bytes -= self._windows.pop(window_s).size_bytes
        if len(self._numbers) > 2 * self._kept + _GONE or not self._windows:
            self._renumber()

    def _renumber(self) -> None:
        """Drop the names that no window uses."""
        batches = [taken for window in self._windows.values() for taken in window.batches]
        arrays = {id(taken.gauge): taken.gauge for taken in batches}
        alive = np.zeros(len(self._numbers), bool)
        for gauge in arrays.values():
            alive[gauge] = True
        number = np.cumsum(alive, dtype=np.int32) - np.int32(1)
        arrays = {place: number[gauge] for place, gauge in arrays.items()}
        for window in self._windows.values():
            window.batches = [
                each._replace(gauge=arrays[id(each.gauge)]) for each in window.batches
            ]
        self._latest.clear()
        names = self._names()
        self._keys = [names[place] for place in np.flatnonzero(alive).tolist()]
        self._numbers = {key: place for place, key in enumerate(self._keys)}
        self._kept = len(self._keys)

    def _names(self) -> list[GaugeKey]:
        return [GaugeKey(*key) for key in self._numbers]
