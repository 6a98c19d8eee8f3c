"""The two sides of a comparison: two ranges of equal length, or two values of a field."""

from dataclasses import dataclass, replace
from typing import Final

from trimtab_collector.contract.comparison import (
    AGAINST,
    AGAINST_FROM,
    AGAINST_TO,
    DAYS_BEFORE,
    FIELD,
    A,
    B,
)
from trimtab_collector.contract.errors import bad_parameter
from trimtab_collector.contract.kinds import Text
from trimtab_collector.contract.parameters import FIELDS, Parameters, check_range
from trimtab_collector.reads.ranges import Ranges, TimeRange
from trimtab_collector.storage.columns import WINDOW_S
from trimtab_collector.storage.store import TooMuchError

__all__ = ["Sides", "check_groups", "earlier", "sides_of"]

#: routes, instances or versions of one side, each of which takes a tenth of a millisecond
_MOST_GROUPS: Final = 20_000


@dataclass(frozen=True, slots=True)
class Sides:
    """What is compared: b with a, and what the requests of each have in common."""

    a: TimeRange
    b: TimeRange
    #: parameter -> text: filters of both, and the field that tells the sides apart
    a_where: dict[str, str]
    b_where: dict[str, str]
    #: parameter that tells the sides apart, None for two ranges
    field: str | None = None


def sides_of(ranges: Ranges, parameters: Parameters) -> Sides:
    """Return the sides that parameters ask for; raises ApiError 422 for contradictions."""
    field, given = parameters[FIELD], parameters.given
    b = _arrived(ranges.stored(parameters))
    filters = {name: b.selection.where[key] for name, key in FIELDS.items()
               if key in b.selection.where}  # fmt: skip
    if field is None:
        for name in (A.name, B.name):
            if name in given:
                raise bad_parameter(name, "field beside it, such as field=version", given[name])
        return Sides(_against(ranges, parameters, b), b, filters, filters)
    for name in (AGAINST.name, AGAINST_FROM.name, AGAINST_TO.name):
        if name in given:
            raise bad_parameter(name, "either two ranges or two values of a field", given[name])
    if field not in FIELDS:
        raise bad_parameter(FIELD.name, f"one of {', '.join(FIELDS)}", field)
    if field in filters:
        raise bad_parameter(field, "no filter by what is compared", given[field])
    a_text, b_text = _value(parameters, A, field), _value(parameters, B, field)
    if a_text == b_text:
        raise bad_parameter(B.name, f"another {field} than a", b_text)
    return Sides(
        _with(b, FIELDS[field], a_text),
        _with(b, FIELDS[field], b_text),
        {**filters, field: a_text},
        {**filters, field: b_text},
        field,
    )


def earlier(ranges: Ranges, b: TimeRange, days: int = 0) -> TimeRange:
    """Return the range of the same length right before b, or some days before it.

    A day before is the same time of day in the zone asked for. Raises ApiError 422 for a range
    before 1970.
    """
    start_s, end_s = b.selection.start_s, b.selection.end_s
    # It ends where the other starts, so that no window is on both sides.
    from_s = b.parameters.days_before(start_s, days) if days else max(0, 2 * start_s - end_s)
    if from_s < 0:
        raise bad_parameter(AGAINST.name, "a range after 1970", f"{days} days before {b.from_text}")
    return ranges.stored(b.parameters, from_s, from_s + end_s - start_s)


def _against(ranges: Ranges, parameters: Parameters, b: TimeRange) -> TimeRange:
    """Return the range to compare with: the one that is named, else an earlier one."""
    given = parameters.given
    if AGAINST_FROM.name not in given and AGAINST_TO.name not in given:
        return earlier(ranges, b, DAYS_BEFORE[parameters[AGAINST]])
    if AGAINST.name in given:
        expected = "either against or againstFrom and againstTo"
        raise bad_parameter(AGAINST.name, expected, given[AGAINST.name])
    begin, end = parameters[AGAINST_FROM], parameters[AGAINST_TO]
    if begin is None or end is None:
        name = AGAINST_FROM.name if begin is None else AGAINST_TO.name
        raise bad_parameter(name, "a time for each end", "none")
    check_range(begin, end, parameters.tz, parameters.given, AGAINST_FROM.name, AGAINST_TO.name)
    return ranges.stored(parameters, begin, end)


def _arrived(time_range: TimeRange) -> TimeRange:
    """Return a range without the windows that are still on their way, at least one window long.

    An earlier range of its length then has as many windows.
    """
    start_s = time_range.selection.start_s
    arrived_s = int(min(time_range.arrived_s, time_range.selection.end_s))
    end_s = max(start_s + WINDOW_S, arrived_s - arrived_s % WINDOW_S)
    selection = replace(time_range.selection, edges_s=(start_s, end_s))
    return replace(time_range, selection=selection, arrived_s=end_s)


def _value(parameters: Parameters, side: Text, field: str) -> str:
    text = parameters[side]
    if text is None:
        raise bad_parameter(side.name, f"a {field} on each side, a and b", "none")
    return text


def _with(time_range: TimeRange, field: str, text: str) -> TimeRange:
    where = {**time_range.selection.where, field: text}
    return replace(time_range, selection=replace(time_range.selection, where=where))


def check_groups(*counts: int) -> None:
    """Raise TooMuchError for a side with more routes or instances than are set side by side."""
    if max(counts) > _MOST_GROUPS:
        raise TooMuchError(
            f"expected at most {_MOST_GROUPS} routes or instances on a side, got {max(counts)}: "
            "choose one service or environment"
        )
