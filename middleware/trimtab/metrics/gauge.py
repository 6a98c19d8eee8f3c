"""Gauge: a value that goes up and down, such as a temperature or the jobs under way."""

from math import inf

from trimtab.metrics.metric import Metric
from trimtab.metrics.values import MOST_VALUE
from trimtab_core.measures import GAUGE

__all__ = ["Gauge"]


class Gauge(Metric):
    """A value that goes up and down. A value that is not a finite number is left out, counted."""

    __slots__ = ("_value",)
    kind = GAUGE
    measured = GAUGE
    _value: float

    def set(self, value: float, **labels: object) -> None:
        """Make it this value."""
        if labels:
            self.labels(**labels).set(value)
        elif -MOST_VALUE < value < MOST_VALUE:
            with self._lock:
                self._add(value)
                self._value = value
        else:
            self._add(value)  # which counts it, and leaves it out

    def inc(self, amount: float = 1, **labels: object) -> None:
        """Add an amount, exact between threads."""
        if labels:
            self.labels(**labels).inc(amount)
            return
        with self._lock:
            try:
                value = self._value + amount
            except OverflowError:  # a whole number too large for a float
                value = inf
            self._add(value)
            if -MOST_VALUE < value < MOST_VALUE:
                self._value = value

    def dec(self, amount: float = 1, **labels: object) -> None:
        """Take an amount away, exact between threads."""
        self.inc(-amount, **labels)

    def value(self, **labels: object) -> float:
        """Return the value in this process; 0 for labels that nobody used."""
        found = self._find(labels)
        return 0.0 if found is None else float(found._value)

    def _forget(self) -> None:
        super()._forget()
        self._value = 0.0

    def _exported(self) -> float:
        return float(self._value)
