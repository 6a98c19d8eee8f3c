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
#: of a step that has something is not found, but beside the first times that nobody watched
_STEPS: Final = 168
_REFINED: Final = 4
#: into how many parts a step beside them is divided, about, and the least width of one: an agent
#: may tell of a process only once a minute
_PARTS: Final = 60
_LEAST_PART_S: Final = 60
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
        return float(self.missing_of(np.array([from_s]), np.array([to_s]))[0])

    def missing_of(self, from_s: Array, to_s: Array) -> Array:
        """Return how many seconds of each stretch nobody watched; raises TooMuchError."""
        if self._missing is None:
            self._missing = self._found()
        found = np.zeros(len(from_s))
        for start, end in self._missing:
            found += np.maximum(0, np.minimum(end, to_s) - np.maximum(start, from_s))
        return found

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
        new_s = -1
        if self._where and not alive[0] and not self._was_before():
            first = int(np.flatnonzero(alive)[0]) if alive.any() else len(alive)
            unknown[:first] = True
            new_s = edges_s[0]
        gaps = _gaps(edges_s, unknown)
        wide_s = edges_s[1] - edges_s[0]
        refined = [self._refined(*gap, wide_s, is_new=gap[0] == new_s) for gap in gaps[:_REFINED]]
        return refined + gaps[_REFINED:]

    def _refined(self, start_s: int, end_s: int, wide_s: int, *, is_new: bool) -> tuple[int, int]:
        """Return a gap with what was not watched of the steps before and behind it."""
        if wide_s <= _LEAST_PART_S:
            return start_s, end_s
        before_s = max(self._start_s, start_s - wide_s)
        if before_s < start_s:
            edges_s, unknown = self._closer(before_s, start_s, wide_s, is_new=False)
            if not unknown.all():
                start_s = edges_s[len(unknown) - int(np.argmin(unknown[::-1]))]
        behind_s = min(self._end_s, end_s + wide_s)
        if behind_s > end_s:
            edges_s, unknown = self._closer(end_s, behind_s, wide_s, is_new=is_new)
            if not unknown.all():
                end_s = edges_s[int(np.argmin(unknown))]
        return start_s, end_s

    def _closer(
        self, start_s: int, end_s: int, wide_s: int, *, is_new: bool
    ) -> tuple[tuple[int, ...], Array]:
        """Return the edges of the parts of a step, and which of them nobody watched.

        Of what is new nobody knows anything before it was there, though others were heard.
        """
        least_s = max(_LEAST_PART_S, wide_s / _PARTS)
        while True:
            part_s = next((each for each in _WIDTHS_S if each >= least_s), wide_s)
            edges_s = (*range(start_s, end_s, min(part_s, wide_s)), end_s)
            beats = Heartbeats(self._store, edges_s, self._where)
            alive = beats.alive.copy()
            if part_s >= wide_s or beats.resolution_s <= part_s:
                break
            least_s = beats.resolution_s
        some = self._store.read(Selection(edges_s, (), self._where))
        alive[np.searchsorted(np.array(edges_s), some.t, "right") - 1] = True
        if is_new:
            return edges_s, ~alive
        told = beats.heard()
        return edges_s, ~alive & ~(beats.any_host if told is None else told)

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
