"""Summary: the latest values, exactly.

    recent = Summary("shop.basket.size", "Items in a basket.", "{item}")
    recent.observe(3)
    recent.quantile(0.95)

The agent gets every value, as from a histogram; exact figures can be read in this process.
"""

from collections import deque
from collections.abc import Sequence
from math import ceil, fsum
from time import monotonic
from typing import Final, Self

from trimtab.metrics.histogram import QUANTILES, Histogram, Statistics
from trimtab.metrics.metric import CAP, Distribution
from trimtab.metrics.values import MOST_VALUE

__all__ = ["Summary"]

#: A summary covers its latest values, none older than this.
MAX_AGE_S: Final = 600.0
MAX_SAMPLES: Final = 10_000


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
        """Add a value; one that is not a finite number is left out."""
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
        """Return the values that are not too old, ascending; forget the others."""
        oldest = monotonic() - MAX_AGE_S
        with self._lock:
            while self._latest and self._latest[0][0] < oldest:
                self._latest.popleft()
        return sorted(float(value) for _, value in self._latest.copy())

    def _forget(self) -> None:
        super()._forget()
        self._latest = deque(maxlen=MAX_SAMPLES)

    def _exported(self) -> Distribution:
        values = self._young()
        quantiles = tuple((q, _rank(values, q)) for q in QUANTILES if values)
        return Distribution(len(values), fsum(values), quantiles)


def _rank(ascending: list[float], q: float) -> float:
    return ascending[max(1, ceil(q * len(ascending))) - 1] if ascending else 0.0
