"""Two sides beside each other: two ranges, or two values of a field over one range.

Sides of different length are compared by rates. Times are ordered by ratio, so that twice as slow
and twice as fast are changes of the same size; shares by difference. Routes with few requests come
last, whatever their change: the percentiles of few requests say little.
"""

from collections.abc import Mapping
from math import inf, log
from typing import Any, Final

import numpy as np

from trimtab_collector.contract.comparison import (
    BY,
    COMPARED,
    LEAST,
    Compared,
    ComparedRoute,
    Comparison,
    Side,
)
from trimtab_collector.contract.figures import Stats
from trimtab_collector.contract.parameters import LIMIT, Parameters
from trimtab_collector.reads.figures import Figures, group_of, no_requests
from trimtab_collector.reads.ranges import TimeRange
from trimtab_collector.reads.reader import StoreReader
from trimtab_collector.reads.routes import ROUTE_FIELDS
from trimtab_collector.reads.sides import check_groups, sides_of

__all__ = ["alike", "comparison", "side_of"]

_SHARES: Final = ("error_rate", "apdex")
#: sides whose time with data differs by a larger share are compared by rates
_ALIKE: Final = 0.05
#: with fewer requests than these a percentile is the slowest request itself
_NEEDED: Final = {"p90": 10, "p95": 20, "p99": 100, "p999": 1000}


def alike(a_s: float, b_s: float) -> bool:
    """Tell whether two lengths with data are alike, so that counts may be compared."""
    return abs(a_s - b_s) <= _ALIKE * max(a_s, b_s)


def comparison(reader: StoreReader, parameters: Parameters) -> Comparison:
    """Return both sides, and the routes with the largest change of a figure first."""
    sides = sides_of(reader.ranges, parameters)
    by, limit, least = parameters[BY], parameters[LIMIT], parameters[LEAST]
    figure = COMPARED[by]
    same = alike(sides.a.seconds, sides.b.seconds)
    all_a, a_resolution_s = reader.overall(sides.a)
    all_b, b_resolution_s = reader.overall(sides.b)
    found = [reader.figures(time_range, ROUTE_FIELDS) for time_range in (sides.a, sides.b)]
    check_groups(*map(len, found))
    a, b = map(_by_name, found)
    routes = [
        ComparedRoute(
            **group_of(ROUTE_FIELDS, name),
            **_compared(a.get(name), b.get(name), figure, least, same=same),
        )
        for name in sorted({*a, *b})
    ]
    routes.sort(key=lambda row: (not row.enough, -_size(row, figure)))
    side_a = side_of(sides.a, sides.a_where, all_a, a_resolution_s)
    side_b = side_of(sides.b, sides.b_where, all_b, b_resolution_s)
    return Comparison(
        by=by,
        min_requests=least,
        a=side_a,
        b=side_b,
        overall=Compared(**_compared(dict(all_a), dict(all_b), figure, least, same=same)),
        routes=routes[:limit],
        routes_left_out=max(0, len(routes) - limit),
        notes=_notes(side_a, side_b),
    )


def side_of(
    time_range: TimeRange, where: dict[str, str], figures: Mapping[str, Any], resolution_s: int
) -> Side:
    """Return what a side is of, and how much there is."""
    return Side(
        **time_range.resolved(resolution_s),
        where=where,
        seconds=time_range.seconds,
        requests=figures["requests"],
    )


def _by_name(figures: Figures) -> dict[tuple[str, ...], dict[str, Any]]:
    places = np.flatnonzero(figures["requests"] > 0)
    names = figures.names
    fields = figures.dicts(places)
    return {names[place]: row for place, row in zip(places.tolist(), fields, strict=True)}


def _compared(
    a: dict[str, Any] | None, b: dict[str, Any] | None, figure: str, least: int, *, same: bool
) -> dict[str, Any]:
    """Return the fields of Compared."""
    before, after = dict(a or no_requests()), dict(b or no_requests())
    difference: dict[str, float | None] = {}
    change: dict[str, float | None] = {}
    for name, key in (("requests", "requests"), *COMPARED.items()):
        old, new = before[key], after[key]
        known = old is not None and new is not None and (same or key != "requests")
        difference[name] = new - old if known else None
        change[name] = (new - old) / old if known and old else None
    counts = (before["requests"], after["requests"])
    # One side alone shows that a route came or went.
    enough = max(counts) if figure == "requests_per_second" else min(counts)
    return {
        "a": Stats(**a) if a else None,
        "b": Stats(**b) if b else None,
        "difference": difference,
        "change": change,
        "enough": enough >= least,
    }


def _size(row: Compared, figure: str) -> float:
    """Return how large a change is: of shares the difference, of others the ratio."""
    a, b = (getattr(side, figure) if side else None for side in (row.a, row.b))
    if figure == "requests_per_second":
        a, b = a or 0.0, b or 0.0
    if a is None or b is None:
        return -1.0
    if figure in _SHARES:
        return float(abs(b - a))
    if a == b:
        return 0.0
    return abs(log(b / a)) if a and b else inf


def _notes(a: Side, b: Side) -> list[str]:
    sizes = (f"{side.requests:,} requests in {side.seconds:,g} s" for side in (a, b))
    notes = ["a has {}, b has {}".format(*sizes)]
    if not alike(a.seconds, b.seconds):
        notes.append("the sides have data of different length: rates are compared, not requests")
    for name, side in (("a", a), ("b", b)):
        slowest = [text for text, least in _NEEDED.items() if side.requests < least]
        if not side.requests:
            notes.append(f"{name} has no requests: nothing is compared")
        elif slowest:
            notes.append(
                f"{name} has so few requests that its {', '.join(slowest)} is its slowest request"
            )
    if a.resolution != b.resolution:
        notes.append(
            f"a is read from windows of up to {a.resolution} s at its ends, b of {b.resolution} s"
        )
    return notes
