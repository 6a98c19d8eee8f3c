"""Two sides beside each other: two ranges, or two values of a field over one range.

Sides of different length are compared by rates. Times are ordered by ratio, so that twice as slow
and twice as fast are changes of the same size; shares by difference. Routes with few requests come
last, whatever their change: their percentiles are those of a handful.
"""

from dataclasses import dataclass, replace
from math import inf, log
from typing import Any, Final

from trimtab_collector.contract.bodies import Compared, ComparedRoute, Comparison, Side, Stats
from trimtab_collector.contract.params import FIELDS, Params, bad, check_range, choice
from trimtab_collector.reads.figures import TIMES, Figures, no_requests
from trimtab_collector.reads.lists import ROUTE
from trimtab_collector.reads.ranges import Ranges, View
from trimtab_collector.reads.source import Source, frame_of, group_of

__all__ = ["COMPARED", "Sides", "comparison", "sides_of"]

#: what routes may be ordered by -> figure
COMPARED: Final = {
    **{name: name for name in TIMES},
    "requestsPerSecond": "requests_per_second",
    "errorRate": "error_rate",
    "apdex": "apdex",
}
_SHARES: Final = ("error_rate", "apdex")
_AGAINST: Final = {"previous": 0, "day": 1, "week": 7}
#: a percentile is the slowest request itself below so many
_NEEDED: Final = {"p90": 10, "p95": 20, "p99": 100, "p999": 1000}


@dataclass(frozen=True, slots=True)
class Sides:
    """What is compared: b against a, and what tells them apart beside their ranges."""

    a: View
    b: View
    a_where: dict[str, str]
    b_where: dict[str, str]


def sides_of(ranges: Ranges, params: Params) -> Sides:
    """Return the sides that parameters ask for; loop only. Raises ApiError 422."""
    field = params.own.get("field")
    b = ranges.stored(params, params.from_s, params.to_s)
    if field is None:
        for name in ("a", "b"):
            if name in params.own:
                raise bad(name, "field beside it, such as field=version", params.own[name])
        return Sides(_earlier(ranges, params, b), b, {}, {})
    for name in ("against", "againstFrom", "againstTo"):
        if name in params.own:
            raise bad(name, "either two ranges or two values of a field", params.own[name])
    if field not in FIELDS:
        raise bad("field", f"one of {', '.join(FIELDS)}", field)
    if FIELDS[field] in params.where:
        raise bad(field, "no filter by what is compared", params.where[FIELDS[field]])
    texts = [params.own.get(name) for name in ("a", "b")]
    for name, text in zip(("a", "b"), texts, strict=True):
        if text is None:
            raise bad(name, f"a {field} on each side, a and b", "none")
    a_text, b_text = map(str, texts)
    if a_text == b_text:
        raise bad("b", f"another {field} than a", b_text)
    return Sides(
        _with(b, FIELDS[field], a_text),
        _with(b, FIELDS[field], b_text),
        {field: a_text},
        {field: b_text},
    )


def comparison(source: Source, sides: Sides, by: str, limit: int, least: int) -> Comparison:
    """Return both sides, the routes with the largest change of a figure first, at most limit.

    least is how many requests a side needs to be ordered among the first.
    """
    figure = COMPARED[by]
    same = sides.a.seconds == sides.b.seconds
    all_a, a_resolution_s = source.overall(sides.a)
    all_b, b_resolution_s = source.overall(sides.b)
    a, b = (_by_name(source.figures(view, ROUTE)) for view in (sides.a, sides.b))
    routes = [
        ComparedRoute(
            **group_of(ROUTE, name),
            **_compared(a.get(name), b.get(name), figure, least, same=same),
        )
        for name in sorted({*a, *b})
    ]
    routes.sort(key=lambda row: (not row.enough, -_size(row, figure)))
    side_a = Side(
        **frame_of(sides.a, a_resolution_s),
        where=sides.a_where,
        seconds=sides.a.seconds,
        requests=all_a["requests"],
    )
    side_b = Side(
        **frame_of(sides.b, b_resolution_s),
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


def _earlier(ranges: Ranges, params: Params, b: View) -> View:
    """Return the range to compare with: the one that is named, else the one before."""
    if "againstFrom" not in params.own and "againstTo" not in params.own:
        days = _AGAINST[choice(params, "against", _AGAINST, "previous")]
        start_s, end_s = b.selection.start_s, b.selection.end_s
        if not days:
            # Right up to the other, so that no window is on both sides.
            return ranges.stored(params, max(0, 2 * start_s - end_s), start_s)
        from_s, to_s = (params.days_before(t, days) for t in (params.from_s, params.to_s))
        if from_s < 0:
            raise bad("against", "a range after 1970", params.own["against"])
        return ranges.stored(params, from_s, to_s)
    if "against" in params.own:
        raise bad("against", "either against or againstFrom and againstTo", params.own["against"])
    begin, end = params.instant("againstFrom"), params.instant("againstTo")
    if begin is None or end is None:
        raise bad("againstFrom" if begin is None else "againstTo", "a time for each end", "none")
    check_range(begin, end, "againstFrom", "againstTo")
    return ranges.stored(params, begin, end)


def _with(view: View, field: str, text: str) -> View:
    where = {**view.selection.where, field: text}
    return replace(view, selection=replace(view.selection, where=where))


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
    # That a route came or went is told by one side alone.
    enough = max(counts) if figure == "requests_per_second" else min(counts)
    return {
        "a": Stats(**a) if a else None,
        "b": Stats(**b) if b else None,
        "difference": difference,
        "change": change,
        "enough": enough >= least,
    }


def _known(row: dict[str, Any], key: str) -> Any:
    """Return a figure; nobody knows the share of errors of no requests."""
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
