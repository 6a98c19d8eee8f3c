"""Histogram: how values are distributed, over all time.

    sizes = Histogram("shop.basket.size", "Items in a basket.", "{item}")
    sizes.observe(3)
    sizes.quantile(0.95)

It reaches the agent as a sketch, and sketches add up over processes. Adding to one without labels,
or to what `labels` returned, costs about 0.3 us.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import inf
from typing import Final, Self

from trimtab.metrics.metric import CAP, Distribution, Metric
from trimtab.metrics.registry import Definition
from trimtab.metrics.values import finite
from trimtab.runtime import PROCESS
from trimtab_core import measures, names
from trimtab_core.measures import HISTOGRAM, Delta

__all__ = ["QUANTILES", "Histogram", "Statistics"]

#: Quantiles that are exported.
QUANTILES: Final = (0.5, 0.9, 0.95, 0.99)
_MOST_WAITING: Final = 4096


@dataclass(frozen=True, slots=True)
class Statistics:
    """Figures of the values of a histogram or summary; all 0 without any."""

    count: int = 0
    sum: float = 0.0
    mean: float = 0.0
    min: float = 0.0
    max: float = 0.0
    p50: float = 0.0
    p95: float = 0.0
    p99: float = 0.0


class Histogram(Metric):
    """How values are distributed: a sketch, exact to 1.1 % from 1e-6 up, and buckets if given.

    Buckets are upper bounds; values are counted in them besides the sketch. The sketch does not
    tell values of 0 and below apart.
    """

    __slots__ = ("_counts", "_waiting")
    kind = HISTOGRAM
    measured = HISTOGRAM
    #: of each bucket and of what is above; none without buckets
    _counts: list[int]
    #: values that are not in _counts yet: an append needs no lock
    _waiting: list[float]

    def __new__(
        cls,
        name: str,
        description: str = "",
        unit: str = "1",
        labels: Sequence[str] = (),
        *,
        buckets: Sequence[float] = (),
        cap: int = CAP,
    ) -> Self:
        """Return the histogram of a name; raises ValueError for buckets that do not ascend."""
        names.check_labels(labels)
        bounds = tuple(float(each) for each in buckets if each != inf)
        if any(not low < high for low, high in zip((-inf, *bounds), bounds, strict=False)):
            raise ValueError(f"expected buckets that ascend, got {buckets!r}: sort them")
        definition = Definition(name, description, unit, tuple(labels), bounds, cap)
        return PROCESS.registry.get(cls, definition)

    def observe(self, value: float, **labels: object) -> None:
        """Add a value; one that is not a finite number is left out."""
        if labels:
            self.labels(**labels).observe(value)
            return
        self._add(value)
        if self._counts:
            self._waiting.append(value)
            if len(self._waiting) >= _MOST_WAITING:
                self._settle()

    def quantile(self, q: float, **labels: object) -> float:
        """Return the q-quantile (0 to 1) of the values in this process; 0 without any."""
        found = self._find(labels)
        return 0.0 if found is None else _quantile(found._read(), q)

    def statistics(self, **labels: object) -> Statistics:
        """Return count, sum and the rest of the values in this process."""
        found = self._find(labels)
        delta = Delta() if found is None else found._read()
        if not delta.count:
            return Statistics()
        p50, p95, p99 = (_quantile(delta, q) for q in (0.5, 0.95, 0.99))
        mean = delta.sum / delta.count
        return Statistics(delta.count, delta.sum, mean, delta.min, delta.max, p50, p95, p99)

    def _forget(self) -> None:
        super()._forget()
        buckets = self.definition.buckets if self._bound else ()
        self._counts = [0] * (len(buckets) + 1) if buckets else []
        self._waiting = []

    def _settle(self) -> tuple[int, ...]:
        """Count what waits; return how many values there are up to each bound, and in all."""
        with self._lock:
            bounds, waiting = self.definition.buckets, self._waiting
            taken = waiting.copy()
            del waiting[: len(taken)]
            for value in finite(taken):
                self._counts[bisect_left(bounds, value)] += 1
            return tuple(accumulate(self._counts))

    def _exported(self) -> Distribution:
        delta = self._read()
        if not self._counts:
            quantiles = tuple((q, _quantile(delta, q)) for q in QUANTILES if delta.count)
            return Distribution(delta.count, delta.sum, quantiles)
        upto = self._settle()
        bounds = (*self.definition.buckets, inf)
        return Distribution(upto[-1], delta.sum, (), tuple(zip(bounds, upto, strict=True)))


def _quantile(delta: Delta, q: float) -> float:
    return measures.quantile(delta.buckets, q, delta.min, delta.max)
