"""Which parts of a range nobody watched: rates are not over those.

Before the first arrival of what is chosen, and while no agent reported, nothing is known; a rate
over such a time would be too low. A service that was idle, or down, while agents reported is
measured: its rate is truly low. Where no gauges are stored at all, nothing is left out.
"""

import threading
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Final

import numpy as np

from trimtab_collector.reads.presence import Heartbeats
from trimtab_collector.storage.columns import WINDOW_S, Array
from trimtab_collector.storage.store import Selection, Store

__all__ = ["Unwatched", "UnwatchedRanges"]

_OWNED: Final = ("environment", "service")
_DAY_S: Final = 86_400
#: what is shorter is a window that came late, not a time without an agent
_LEAST_S: Final = 60
#: the same between times that were watched
_GAP_S: Final = 600
#: steps in which it is looked: of ten minutes over a day, of an hour over a week. What is missing
#: of a step that has something is not found
_STEPS: Final = 168
#: what was found of a range is good for so long, in seconds, and of so many ranges: a gap is of
#: ten minutes, so that where none is none is missed by a minute; one that is there may go on, or
#: be filled by what comes late
_WHOLE_S: Final = 60
_GAPS_S: Final = 20
_KEPT: Final = 64
#: widths of steps that no window of a file is cut by: these are read quickly, again and again
_WIDTHS_S: Final = (10, 60, 600, 3600, 21_600, 86_400)


class Unwatched:
    """The unwatched parts of one range, found when they are first asked for; any thread."""

    def __init__(self, store: Store, where: Mapping[str, str], start_s: int, end_s: int) -> None:
        self._store = store
        self._where = {name: text for name, text in where.items() if name in _OWNED}
        self._start_s = start_s
        self._end_s = end_s
        self._missing: list[tuple[int, int]] | None = None

    def missing_s(self, from_s: float, to_s: float) -> float:
        """Return how many seconds between two times nobody watched; raises TooMuchError."""
        if self._missing is None:
            self._missing = self._found()
        return sum(max(0.0, min(end, to_s) - max(start, from_s)) for start, end in self._missing)

    @property
    def is_whole(self) -> bool:
        """Whether it is known that all of it was watched."""
        return self._missing == []

    def _found(self) -> list[tuple[int, int]]:
        if self._end_s - self._start_s <= _LEAST_S:
            return []
        edges_s = self._edges(WINDOW_S)
        beats = Heartbeats(self._store, edges_s, self._where)
        alive = beats.alive.copy()
        if beats.resolution_s > edges_s[1] - edges_s[0]:
            edges_s = self._edges(beats.resolution_s)
            beats = Heartbeats(self._store, edges_s, self._where)
            alive = beats.alive.copy()
        # The last step has just begun, and one that is late is no gap.
        if not _gaps(edges_s, ~alive):
            return []
        told = beats.heard()
        heard = beats.any_host if told is None else told
        if not (alive.any() or heard.any()):
            return []
        some = self._store.read(Selection(edges_s, (), self._where))
        alive[np.searchsorted(np.array(edges_s), some.t, "right") - 1] = True
        unknown = ~alive & ~heard
        if self._where and not alive[0] and not self._was_before():
            first = int(np.flatnonzero(alive)[0]) if alive.any() else len(alive)
            unknown[:first] = True
        return _gaps(edges_s, unknown)

    def _edges(self, least_s: int) -> tuple[int, ...]:
        needed_s = max(least_s, (self._end_s - self._start_s) / _STEPS)
        wide_s = next((each for each in _WIDTHS_S if each >= needed_s), _WIDTHS_S[-1])
        # A window that is wider than the steps counts for the one that it begins in.
        first_s = self._start_s - self._start_s % wide_s
        return (*range(first_s, self._end_s, wide_s), self._end_s)

    def _was_before(self) -> bool:
        """Tell whether what is chosen reported in the day before the range."""
        edges_s = (max(0, self._start_s - _DAY_S), self._start_s)
        if edges_s[0] == edges_s[1]:
            return False
        return bool(Heartbeats(self._store, edges_s, self._where).alive.any())


def _gaps(edges_s: Sequence[int], unknown: Array) -> list[tuple[int, int]]:
    """Return start and end of each run of steps that is long enough to be no late window."""
    turns = np.flatnonzero(np.diff(np.concatenate([[0], unknown, [0]])))
    runs = ((edges_s[begin], edges_s[end]) for begin, end in turns.reshape(-1, 2).tolist())
    return [
        (start, end)
        for start, end in runs
        if end - start >= (_LEAST_S if start == edges_s[0] else _GAP_S)
    ]


class UnwatchedRanges:
    """The unwatched parts of ranges that several answers of a page ask about; any thread."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._lock = threading.Lock()
        #: the latest last
        self._found: dict[Hashable, tuple[float, Unwatched]] = {}

    def of(self, where: Mapping[str, str], start_s: int, end_s: int) -> Unwatched:
        """Return them for a range, as they were found up to a minute ago, 20 s if any were.

        Longer ranges that move with the clock are for a minute one with what was looked at.
        """
        owned = tuple(sorted((name, text) for name, text in where.items() if name in _OWNED))
        grain_s = _WHOLE_S if end_s - start_s >= _GAP_S else WINDOW_S
        key = (owned, start_s // grain_s, end_s // grain_s)
        now_s = self._clock()
        with self._lock:
            since_s, found = self._found.get(key, (now_s, None))
            if found is None or now_s - since_s >= (_WHOLE_S if found.is_whole else _GAPS_S):
                found = Unwatched(self._store, where, start_s, end_s)
                self._found.pop(key, None)
                self._found = dict([*self._found.items()][1 - _KEPT :])
                self._found[key] = (now_s, found)
        return found
