"""What figures were over earlier ranges, kept while those ranges stay the same.

The ranges beside a range that ends now move every five or ten minutes; until then they are read
once, whoever asks. What arrives late for them counts from the next move on.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from trimtab_collector.overview.usual import Baseline, FigureKind
from trimtab_collector.reads.ranges import TimeRange

__all__ = ["EarlierFigures", "EarlierRanges"]

_MOST: Final = 32
_KEPT_S: Final = 600.0


class EarlierFigures(NamedTuple):
    """What figures were over one earlier range."""

    #: owner -> kind -> what it was
    baselines: Mapping[tuple[str, ...], Mapping[FigureKind, Baseline]]
    #: steps that had requests
    steps: int


class EarlierRanges:
    """The figures of up to 32 earlier ranges; any thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: OrderedDict[object, tuple[float, EarlierFigures]] = OrderedDict()

    def get(self, time_range: TimeRange, read: Callable[[], EarlierFigures]) -> EarlierFigures:
        """Return the figures of a range, read now unless they are here; raises what read raises."""
        selection = time_range.selection
        key = (*sorted(selection.where.items()), time_range.threshold_us, selection.edges_s)
        with self._lock:
            found = self._kept.get(key)
        if found is not None and self._clock() - found[0] < _KEPT_S:
            return found[1]
        figures = read()
        with self._lock:
            self._kept[key] = (self._clock(), figures)
            self._kept.move_to_end(key)
            while len(self._kept) > _MOST:
                self._kept.popitem(last=False)
        return figures
