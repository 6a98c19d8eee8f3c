"""Measures of a range, added up by what a question tells apart."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from math import inf
from typing import Any, Final, TypeVar

from trimtab_collector.contract.params import OWNERS
from trimtab_collector.contract.readbodies import Calls, Target
from trimtab_collector.reads.ranges import View
from trimtab_collector.reads.source import Source
from trimtab_collector.storage.store import (
    EventSelection,
    LatestGauge,
    MeasurePart,
    MeasureSelection,
)
from trimtab_core.measures import HISTOGRAM, Delta, quantile
from trimtab_core.rows import EventRow

__all__ = [
    "MeasureReads",
    "attribute",
    "calls_of",
    "errors_of",
    "events",
    "grouped",
    "ordered",
    "share",
    "targets_of",
]

_K = TypeVar("_K")
_ERROR: Final = "error.type"
_FIELDS: Final = (*OWNERS, "route")


class MeasureReads:
    """The measures of some names in a range, read once; a name that ends in `*` is a beginning."""

    def __init__(self, source: Source, view: View, names: Sequence[str]) -> None:
        edges = (view.selection.start_s, view.selection.end_s)
        where = {name: text for name, text in view.params.where.items() if name in OWNERS}
        self.seconds = view.seconds
        self._parts = source.store.read_measures(MeasureSelection(edges, tuple(names), where))

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
    """Return an attribute of a measure, empty when it has none of the name."""
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
    """Return what durations in seconds came to, in ms; errors are those with an error.type."""
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
        error_rate=share(errors, count),
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
    """Return how often each type of error came, the most frequent first."""
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
    """Return part of whole, 0 of nothing."""
    return part / whole if whole else 0.0


def targets_of(gauges: Iterable[LatestGauge], *kinds: str) -> list[Target]:
    """Return what agents read of servers of these kinds: redis, postgresql, http, queue."""
    found: dict[tuple[str, str], dict[str, float]] = {}
    for row in gauges:
        if not row.service and row.instance.partition(":")[0] in kinds:
            found.setdefault((row.instance, row.agent), {})[row.name] = row.value
    return [
        Target(target=target, agent=agent, gauges=dict(sorted(values.items())))
        for (target, agent), values in sorted(found.items())
    ]


def events(
    source: Source, view: View, kind: str, limit: int
) -> Iterator[tuple[EventRow, Mapping[str, Any]]]:
    """Yield the latest events of a kind in the range, the latest first, with their map."""
    where = {name: text for name, text in view.params.where.items() if name in _FIELDS}
    selection = EventSelection(view.selection.start_s, view.selection.end_s, kind, where, limit)
    for row in source.store.read_events(selection):
        yield row, row.event
