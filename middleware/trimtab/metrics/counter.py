"""Counter: what only grows, such as orders placed or bytes sent."""

from trimtab.metrics.metric import Metric
from trimtab_core.measures import COUNTER

__all__ = ["Counter"]


class Counter(Metric):
    """Counts what only grows."""

    __slots__ = ()
    kind = COUNTER
    measured = COUNTER

    def inc(self, amount: float = 1, **labels: object) -> None:
        """Add an amount; raises ValueError for one below 0, or when labels are missing."""
        if labels:
            self.labels(**labels).inc(amount)
            return
        if amount < 0:
            raise ValueError(f"expected {self.name} to grow, got {amount!r}: use a Gauge")
        self._add(amount)

    def value(self, **labels: object) -> float:
        """Return what this process has counted; 0 for labels that nobody used."""
        found = self._find(labels)
        return 0.0 if found is None else found._read().sum

    def _exported(self) -> float:
        return self._read().sum
