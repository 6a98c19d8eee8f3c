"""Measures of a range, added up by what an answer tells apart."""

from collections.abc import Callable, Iterable, Sequence
from math import inf
from typing import Any, Final, TypeVar

from trimtab_collector.contract.calls import Calls
from trimtab_collector.reads.ranges import TimeRange
from trimtab_collector.reads.reader import StoreReader
from trimtab_collector.storage.store import MeasurePart, MeasureSelection
from trimtab_core.measures import HISTOGRAM, Delta, quantile

__all__ = [
    "MeasureReads",
    "attribute",
    "calls_of",
    "errors_of",
    "grouped",
    "ordered",
    "share",
]

_K = TypeVar("_K")
_ERROR: Final = "error.type"
#: fields of a measure; a filter by another, such as the route, says nothing of measures
_FIELDS: Final = ("environment", "service", "instance")


class MeasureReads:
    """The measures of some names in a range, read once; a name that ends in `*` is a beginning.

    They are those of apps, or those that agents read of servers, which are nobody's and therefore
    match every filter by environment and service.
    """

    def __init__(
        self,
        reader: StoreReader,
        time_range: TimeRange,
        names: Sequence[str],
        *,
        of_servers: bool = False,
    ) -> None:
        edges_s = (time_range.selection.start_s, time_range.selection.end_s)
        where = time_range.selection.where
        chosen = {name: text for name, text in where.items() if name in _FIELDS}
        if of_servers:
            chosen |= {"environment": "", "service": ""}
        self.seconds = time_range.seconds
        self._parts = reader.store.read_measures(MeasureSelection(edges_s, tuple(names), chosen))

    def of(self, name: str = "") -> list[MeasurePart]:
        """Return the measures of a name, or all."""
        return [part for part in self._parts if not name or part.key.name == name]

    def total(self, name: str, **attributes: str) -> float:
        """Return the sum of a counter over what has these attributes (`_` stands for a dot)."""
        wanted = {key.replace("_", "."): value for key, value in attributes.items()}
        return sum(
            part.delta.sum
            for part in self.of(name)
            if all(attribute(part, key) == value for key, value in wanted.items())
        )


def attribute(part: MeasurePart, name: str) -> str:
    """Return an attribute of a measure, empty when it has no such attribute."""
    return next((value for key, value in part.key.attributes if key == name), "")


def grouped(
    parts: Iterable[MeasurePart], key: Callable[[MeasurePart], _K]
) -> dict[_K, list[MeasurePart]]:
    """Return the measures by what key returns."""
    found: dict[_K, list[MeasurePart]] = {}
    for part in parts:
        found.setdefault(key(part), []).append(part)
    return found


def calls_of(parts: Iterable[MeasurePart], seconds: float) -> Calls:
    """Return the figures of durations in seconds, in ms; errors are those with an error.type."""
    whole, errors = Delta(), 0
    for part in parts:
        if part.key.kind == HISTOGRAM:
            whole.merge(part.delta)
            errors += part.delta.count if attribute(part, _ERROR) else 0
    count = whole.count
    # Of statistics that a server counted itself there are sums, and no sketch.
    sketched = sum(whole.buckets.values()) == count > 0

    def at(q: float) -> float | None:
        return quantile(whole.buckets, q, whole.min, whole.max) * 1000 if sketched else None

    return Calls(
        count=count,
        errors=errors,
        error_rate=errors / count if count else None,
        per_second=count / seconds,
        total_time=whole.sum * 1000,
        mean=whole.sum / count * 1000 if count else None,
        p50=at(0.5),
        p90=at(0.9),
        p95=at(0.95),
        p99=at(0.99),
        max=whole.max * 1000 if count and whole.max > -inf else None,
    )


def errors_of(parts: Iterable[MeasurePart]) -> dict[str, int]:
    """Return how often each type of error occurred, the most frequent first."""
    found: dict[str, int] = {}
    for part in parts:
        error = attribute(part, _ERROR)
        if error:
            found[error] = found.get(error, 0) + part.delta.count
    return dict(sorted(found.items(), key=lambda pair: (-pair[1], pair[0])))


def ordered(rows: Iterable[Any], by: str = "total_time") -> list[Any]:
    """Return rows that have `calls`, the largest first; those without a figure last."""
    return sorted(rows, key=lambda row: -(getattr(row.calls, by) or 0.0))


def share(part: float, whole: float) -> float:
    """Return part / whole, 0 where the whole is 0."""
    return part / whole if whole else 0.0
