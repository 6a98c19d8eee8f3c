"""Metrics of how values are distributed: Histogram over all time, Summary over the last minutes.

    sizes = Histogram("shop.basket.size", "Items in a basket.", "{item}")
    sizes.observe(3)
    sizes.quantile(0.95)

Both reach the agent as sketches, which add up over processes. Adding to one without labels, or to
what `labels` returned, costs about 0.3 us.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import ceil, fsum, inf
from time import monotonic
from typing import Final, Self

from trimtab.metrics.metric import CAP, MOST_VALUE, REGISTRY, Definition, Distribution, Metric
from trimtab_core import measures, names
from trimtab_core.measures import HISTOGRAM, Delta

__all__ = ["Histogram", "Statistics", "Summary"]

#: Quantiles that are exported.
QUANTILES: Final = (0.5, 0.9, 0.95, 0.99)
#: What a summary speaks of: its latest values, none older than this.
MAX_AGE_S: Final = 600.0
MAX_SAMPLES: Final = 10_000
_MOST_WAITING: Final = 4096


@dataclass(frozen=True, slots=True)
class Statistics:
    """Of the values of a histogram or summary; all 0 when there are none."""

    count: int = 0
    sum: float = 0.0
    mean: float = 0.0
    min: float = 0.0
    max: float = 0.0
    p50: float = 0.0
    p95: float = 0.0
    p99: float = 0.0


class Histogram(Metric):
    """How values are distributed: a sketch, exact to 1.1 % from 1e-6 up, or buckets of one's own.

    Buckets are upper bounds; values are counted in them besides the sketch. The sketch does not
    tell values of 0 and below apart.
    """

    __slots__ = ("_counts", "_waiting")
    kind = HISTOGRAM
    _measured = HISTOGRAM
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
        return REGISTRY.get(cls, definition)

    def observe(self, value: float, **labels: object) -> None:
        """Add a value; what is no finite number is left out."""
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
        buckets = self._definition.buckets if self._bound else ()
        self._counts = [0] * (len(buckets) + 1) if buckets else []
        self._waiting = []

    def _settle(self) -> tuple[int, ...]:
        """Count what waits; return how many values there are up to each bound, and in all."""
        with self._lock:
            bounds, waiting = self._definition.buckets, self._waiting
            taken = waiting.copy()
            del waiting[: len(taken)]
            for value in taken:
                if -MOST_VALUE < value < MOST_VALUE:
                    self._counts[bisect_left(bounds, value)] += 1
            return tuple(accumulate(self._counts))

    def _exported(self) -> Distribution:
        delta = self._read()
        if not self._counts:
            quantiles = tuple((q, _quantile(delta, q)) for q in QUANTILES if delta.count)
            return Distribution(delta.count, delta.sum, quantiles)
        upto = self._settle()
        bounds = (*self._definition.buckets, inf)
        return Distribution(upto[-1], delta.sum, (), tuple(zip(bounds, upto, strict=True)))


def _quantile(delta: Delta, q: float) -> float:
    return measures.quantile(delta.buckets, q, delta.min, delta.max)


class Summary(Histogram):
    """The latest values, exactly: at most 10,000, none older than 600 s.

    `statistics` and `quantile` speak of these; the agent gets every value, as of a histogram.
    """

    __slots__ = ("_latest",)
    kind = "summary"
    #: (monotonic seconds, value), the oldest first
    _latest: deque[tuple[float, float]]

    def __new__(
        cls,
        name: str,
        description: str = "",
        unit: str = "1",
        labels: Sequence[str] = (),
        *,
        cap: int = CAP,
    ) -> Self:
        """Return the summary of a name; as Metric."""
        return super().__new__(cls, name, description, unit, labels, cap=cap)

    def observe(self, value: float, **labels: object) -> None:
        """Add a value; what is no finite number is left out."""
        if labels:
            self.labels(**labels).observe(value)
            return
        self._add(value)
        if -MOST_VALUE < value < MOST_VALUE:
            self._latest.append((monotonic(), value))

    def quantile(self, q: float, **labels: object) -> float:
        """Return the q-quantile (0 to 1, nearest rank); 0 without values."""
        if not 0 <= q <= 1:
            raise ValueError(f"expected a quantile from 0 to 1, got {q!r}: 0.95 is the 95th")
        found = self._find(labels)
        return 0.0 if found is None else _rank(found._young(), q)

    def statistics(self, **labels: object) -> Statistics:
        """Return count, sum and the rest."""
        found = self._find(labels)
        values = [] if found is None else found._young()
        if not values:
            return Statistics()
        total = fsum(values)
        p50, p95, p99 = (_rank(values, q) for q in (0.5, 0.95, 0.99))
        mean = total / len(values)
        return Statistics(len(values), total, mean, values[0], values[-1], p50, p95, p99)

    def _young(self) -> list[float]:
        """Return the values that are young enough, ascending; forget the others."""
        oldest = monotonic() - MAX_AGE_S
        with self._lock:
            while self._latest and self._latest[0][0] < oldest:
                self._latest.popleft()
        return sorted(value for _, value in self._latest.copy())

    def _forget(self) -> None:
        super()._forget()
        self._latest = deque(maxlen=MAX_SAMPLES)

    def _exported(self) -> Distribution:
        values = self._young()
        quantiles = tuple((q, _rank(values, q)) for q in QUANTILES if values)
        return Distribution(len(values), fsum(values), quantiles)


def _rank(ascending: list[float], q: float) -> float:
    return ascending[max(1, ceil(q * len(ascending))) - 1] if ascending else 0.0
