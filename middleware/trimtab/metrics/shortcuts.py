"""Calls that count, set and observe by name, without an object to keep.

    count("shop.orders", country="se")

They look the metric up each time: about 1 us, 0.5 us more than with the object.
"""

from collections.abc import Mapping
from typing import Any, TypeVar

from trimtab.metrics.counter import Counter
from trimtab.metrics.gauge import Gauge
from trimtab.metrics.histogram import Histogram
from trimtab.metrics.metric import Metric
from trimtab.runtime import PROCESS

__all__ = ["count", "gauge", "observe"]

_M = TypeVar("_M", bound=Metric)


def _named(kind: type[_M], name: str, labels: Mapping[str, Any]) -> _M | None:
    found = PROCESS.registry.metrics.get(name)
    if isinstance(found, kind):
        return found
    if found is None and PROCESS.registry.is_full:
        PROCESS.registry.over_cap += 1
        return None
    return kind(name, labels=tuple(labels))


def count(name: str, amount: float = 1, /, **labels: object) -> None:
    """Add to the counter of a name; it is made with these labels at the first call.

    Raises ValueError as Counter does; beyond 2,000 names the call is counted and left out.
    """
    found = _named(Counter, name, labels)
    if found is not None:
        found.inc(amount, **labels)


def gauge(name: str, value: float, /, **labels: object) -> None:
    """Set the gauge of a name; as `count`."""
    found = _named(Gauge, name, labels)
    if found is not None:
        found.set(value, **labels)


def observe(name: str, value: float, /, **labels: object) -> None:
    """Add to the histogram, or summary, of a name; as `count`."""
    found = _named(Histogram, name, labels)
    if found is not None:
        found.observe(value, **labels)
