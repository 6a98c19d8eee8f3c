"""Two sides beside each other: two ranges, or two values of a field over one range.

Sides of different length are compared by rates. Times are ordered by ratio, so that twice as slow
and twice as fast are changes of the same size; shares by difference. Routes with few requests come
last, whatever their change: the percentiles of few requests say little.
"""

from dataclasses import dataclass, replace
from math import inf, log
from typing import Any, Final

from trimtab_collector.contract.comparison import (
    AGAINST,
    AGAINST_FROM,
    AGAINST_TO,
    BY,
    COMPARED,
    DAYS_BEFORE,
    FIELD,
    LEAST,
    A,
    B,
    Compared,
    ComparedRoute,
    Comparison,
    Side,
)
from trimtab_collector.contract.errors import bad_parameter
from trimtab_collector.contract.figures import Stats
from trimtab_collector.contract.kinds import Text
from trimtab_collector.contract.parameters import FIELDS, LIMIT, Parameters, check_range
from trimtab_collector.reads.figures import Figures, group_of, no_requests
from trimtab_collector.reads.ranges import Ranges, TimeRange
from trimtab_collector.reads.reader import StoreReader
from trimtab_collector.reads.routes import ROUTE_FIELDS

__all__ = ["comparison"]

_SHARES: Final = ("error_rate", "apdex")
#: with fewer requests than these a percentile is the slowest request itself
_NEEDED: Final = {"p90": 10, "p95": 20, "p99": 100, "p999": 1000}


@dataclass(frozen=True, slots=True)
class _Sides:
    """What is compared: b against a, and what tells them apart besides their ranges."""

    a: TimeRange
    b: TimeRange
    a_where: dict[str, str]
    b_where: dict[str, str]


def comparison(reader: StoreReader, parameters: Parameters) -> Comparison:
    """Return both sides, and the routes with the largest change of a figure first."""
    sides = _sides(reader.ranges, parameters)
    by, limit, least = parameters[BY], parameters[LIMIT], parameters[LEAST]
    figure = COMPARED[by]
    same = sides.a.seconds == sides.b.seconds
    all_a, a_resolution_s = reader.overall(sides.a)
    all_b, b_resolution_s = reader.overall(sides.b)
    a, b = (_by_name(reader.figures(time_range, ROUTE_FIELDS)) for time_range in (sides.a, sides.b))
    routes = [
        ComparedRoute(
            **group_of(ROUTE_FIELDS, name),
            **_compared(a.get(name), b.get(name), figure, least, same=same),
        )
        for name in sorted({*a, *b})
    ]
    routes.sort(key=lambda row: (not row.enough, -_size(row, figure)))
    side_a = Side(
        **sides.a.resolved(a_resolution_s),
        where=sides.a_where,
        seconds=sides.a.seconds,
        requests=all_a["requests"],
    )
    side_b = Side(
        **sides.b.resolved(b_resolution_s),
        where=sides.b_where,
        seconds=sides.b.seconds,
        requests=all_b["requests"],
    )
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


def _sides(ranges: Ranges, parameters: Parameters) -> _Sides:
    """Return the sides that parameters ask for; raises ApiError 422 for contradictions."""
    field, given = parameters[FIELD], parameters.given
    b = ranges.stored(parameters)
    if field is None:
        for name in (A.name, B.name):
            if name in given:
                raise bad_parameter(name, "field beside it, such as field=version", given[name])
        return _Sides(_earlier(ranges, parameters, b), b, {}, {})
    for name in (AGAINST.name, AGAINST_FROM.name, AGAINST_TO.name):
        if name in given:
            raise bad_parameter(name, "either two ranges or two values of a field", given[name])
    if field not in FIELDS:
        raise bad_parameter(FIELD.name, f"one of {', '.join(FIELDS)}", field)
    if FIELDS[field] in parameters.where:
        raise bad_parameter(field, "no filter by what is compared", given[field])
    a_text, b_text = _value(parameters, A, field), _value(parameters, B, field)
    if a_text == b_text:
        raise bad_parameter(B.name, f"another {field} than a", b_text)
    return _Sides(
        _with(b, FIELDS[field], a_text),
        _with(b, FIELDS[field], b_text),
        {field: a_text},
        {field: b_text},
    )


def _value(parameters: Parameters, side: Text, field: str) -> str:
    text = parameters[side]
    if text is None:
        raise bad_parameter(side.name, f"a {field} on each side, a and b", "none")
    return text


def _earlier(ranges: Ranges, parameters: Parameters, b: TimeRange) -> TimeRange:
    """Return the range to compare with: the one that is named, else the one before."""
    given = parameters.given
    if AGAINST_FROM.name not in given and AGAINST_TO.name not in given:
        days = DAYS_BEFORE[parameters[AGAINST]]
        start_s, end_s = b.selection.start_s, b.selection.end_s
        if not days:
            # It ends where the other starts, so that no window is on both sides.
            return ranges.stored(parameters, max(0, 2 * start_s - end_s), start_s)
        from_s, to_s = (parameters.days_before(t, days) for t in (parameters.from_s,
                                                                  parameters.to_s))  # fmt: skip
        if from_s < 0:
            raise bad_parameter(AGAINST.name, "a range after 1970", parameters[AGAINST])
        return ranges.stored(parameters, from_s, to_s)
    if AGAINST.name in given:
        expected = "either against or againstFrom and againstTo"
        raise bad_parameter(AGAINST.name, expected, given[AGAINST.name])
    begin, end = parameters[AGAINST_FROM], parameters[AGAINST_TO]
    if begin is None or end is None:
        name = AGAINST_FROM.name if begin is None else AGAINST_TO.name
        raise bad_parameter(name, "a time for each end", "none")
    check_range(begin, end, AGAINST_FROM.name, AGAINST_TO.name)
    return ranges.stored(parameters, begin, end)


def _with(time_range: TimeRange, field: str, text: str) -> TimeRange:
    where = {**time_range.selection.where, field: text}
    return replace(time_range, selection=replace(time_range.selection, where=where))


def _by_name(figures: Figures) -> dict[tuple[str, ...], dict[str, Any]]:
    places = figures.filled()
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
        old, new = (_known(row, key) for row in (before, after))
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


def _known(row: dict[str, Any], key: str) -> Any:
    """Return a figure; without requests there is no share of errors."""
    return None if key == "error_rate" and not row["requests"] else row[key]


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
    if a.seconds != b.seconds:
        notes.append("the sides are of different length: rates are compared, not requests")
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
