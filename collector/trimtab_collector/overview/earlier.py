"""What figures were over earlier ranges, kept while those ranges stay the same.

The ranges beside a range that ends now move every five or ten minutes; until then they are read
once, whoever asks. What arrives late for them counts from the next move on.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, TypeVar

from trimtab_collector.overview.usual import (
    RATE_KIND,
    REQUEST_KINDS,
    Baseline,
    FigureKind,
    baseline_of,
)
from trimtab_collector.reads.figures import Figures
from trimtab_collector.reads.ranges import TimeRange
from trimtab_collector.storage.columns import Array

__all__ = ["EarlierFigures", "EarlierRanges", "StepFigures", "baselines"]

_T = TypeVar("_T")
_MOST: Final = 32
_KEPT_S: Final = 600.0


class EarlierFigures(NamedTuple):
    """What figures were over one earlier range."""

    #: owner -> kind -> what it was
    baselines: Mapping[tuple[str, ...], Mapping[FigureKind, Baseline]]
    #: steps that had requests
    steps: int


class StepFigures(NamedTuple):
    """Figures step by step, by the starts of steps; steps without requests are absent."""

    #: owner -> step -> p95, ms
    p95: dict[tuple[str, ...], dict[int, float]]
    #: kind -> step -> its value of everything
    together: dict[FigureKind, dict[int, float]]

    def with_later(self, later: "StepFigures") -> "StepFigures":
        """Return these and those of later steps."""
        p95 = {
            owner: {**self.p95.get(owner, {}), **later.p95.get(owner, {})}
            for owner in {**self.p95, **later.p95}
        }
        together = {kind: {**self.together[kind], **later.together[kind]} for kind in self.together}
        return StepFigures(p95, together)


class EarlierRanges:
    """The figures of up to 32 earlier ranges; any thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: OrderedDict[object, tuple[float, Any]] = OrderedDict()

    def get(self, what: str, time_range: TimeRange, read: Callable[[], _T]) -> _T:
        """Return what is read of a range, now unless it is here; raises what read raises.

        what says what is read: for each the type is the same.
        """
        selection = time_range.selection
        key = (what, *sorted(selection.where.items()), time_range.threshold_us, selection.edges_s)
        with self._lock:
            found = self._kept.get(key)
        if found is not None and self._clock() - found[0] < _KEPT_S:
            kept: _T = found[1]
            return kept
        figures = read()
        with self._lock:
            self._kept[key] = (self._clock(), figures)
            self._kept.move_to_end(key)
            while len(self._kept) > _MOST:
                self._kept.popitem(last=False)
        return figures


def baselines(
    figures: Figures, against: str, time_range: TimeRange, steps: int
) -> dict[tuple[str, ...], dict[FigureKind, Baseline]]:
    """Return what each group's figures were over an earlier range, in which steps have requests."""
    places: dict[tuple[str, ...], list[int]] = {}
    for place, name in enumerate(figures.names):
        places.setdefault(name, []).append(place)
    edges_s = time_range.selection.edges_s
    requests = figures["requests"]
    columns: dict[FigureKind, Array] = {kind: figures[kind.column] for kind in REQUEST_KINDS}
    found: dict[tuple[str, ...], dict[FigureKind, Baseline]] = {}
    for owner, mine in places.items():
        counts = requests[mine].tolist()
        if not sum(counts):
            continue
        kinds = found[owner] = {}
        for kind, values in columns.items():
            some, weights = values[mine].tolist(), counts
            if kind is RATE_KIND:
                # It had none in the other steps in which there were any.
                some += [0.0] * (steps - len(mine))
                weights = [float(edges_s[1] - edges_s[0])] * len(some)
            baseline = baseline_of(kind, against, some, weights)
            if baseline is not None:
                kinds[kind] = baseline
    return found
