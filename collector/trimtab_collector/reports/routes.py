"""Routes of a period beside the period before: where the time goes, what grew slow, what fails."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from trimtab_collector.contract.reports import ReportRoute
from trimtab_collector.reads.figures import FIGURES, Figures, group_of
from trimtab_collector.reads.ranges import TimeRange
from trimtab_collector.reads.reader import StoreReader

__all__ = ["FIELDS", "RouteLists", "route_lists"]

FIELDS: Final = ("environment", "service", "route", "method")
#: rows of each list
_SHOWN: Final = 10
#: with fewer requests on a side a change of p95 says little
_NEEDED: Final = 100
#: a rise that is worth a row
_SLOWER: Final = 0.1


class RouteLists(NamedTuple):
    """Three views of the same routes."""

    most_time: list[ReportRoute]
    left_out: int
    slower: list[ReportRoute]
    failing: list[ReportRoute]


def route_lists(reader: StoreReader, now: TimeRange, before: TimeRange) -> RouteLists:
    """Return the routes of a range beside those of the range before; raises TooMuchError."""
    found, earlier = _by_name(reader, now), _by_name(reader, before)
    whole = sum(row["total_time"] for row in found.values())
    rows = [_row(name, row, earlier.get(name), whole) for name, row in found.items()]
    rows.sort(key=lambda row: (-row.time_share, row.service, row.route, row.method))
    slower = [row for row in rows if row.change is not None and row.change >= _SLOWER]
    slower.sort(key=lambda row: -(row.change or 0.0))
    failing = sorted((row for row in rows if row.errors), key=lambda row: -row.errors)
    return RouteLists(rows[:_SHOWN], max(0, len(rows) - _SHOWN), slower[:_SHOWN], failing[:_SHOWN])


def _by_name(reader: StoreReader, time_range: TimeRange) -> dict[tuple[str, ...], dict[str, Any]]:
    figures: Figures = reader.figures(time_range, FIELDS)
    places = np.flatnonzero(figures["requests"] > 0).tolist()
    names = figures.names
    rows: Sequence[dict[str, Any]] = figures.dicts(names=(*FIGURES, "total_time"))
    return {names[place]: rows[place] for place in places}


def _row(
    name: tuple[str, ...], row: Mapping[str, Any], before: Mapping[str, Any] | None, whole: float
) -> ReportRoute:
    requests_before = before["requests"] if before else 0
    p95_before = before["p95"] if before else None
    enough = min(row["requests"], requests_before) >= _NEEDED
    shown = {field: row[field] for field in _TIMES}
    return ReportRoute(
        **group_of(FIELDS, name),
        **shown,
        errors=row["errors"],
        error_rate=row["error_rate"],
        time_share=row["total_time"] / whole if whole else 0.0,
        requests_before=requests_before,
        p95_before=p95_before,
        error_rate_before=before["error_rate"] if before else None,
        change=(row["p95"] - p95_before) / p95_before if enough and p95_before else None,
    )


_TIMES: Final = (
    "requests", "requests_per_second", "mean", "p50", "p90", "p95", "p99", "p999", "max",
)  # fmt: skip
