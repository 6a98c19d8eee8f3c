"""Which ranges an overview looks at: lately, the steps of the range, and earlier ones beside it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

from trimtab_collector.contract.parameters import Parameters
from trimtab_collector.reads.ranges import Ranges, TimeRange
from trimtab_collector.reads.steps import auto_s, edges_of
from trimtab_collector.storage.columns import WINDOW_S

__all__ = ["EARLIER", "Spans", "spans_of", "stepped"]

#: what figures of a range that ends now are of
_LATELY_S: Final = 300
_HOUR_S: Final = 3600
_DAYS: Final = {"yesterday": 1, "lastWeek": 7}
_DAY_S: Final = 86_400
#: a range that ends less than this ago ends now
_NOW_S: Final = 60
#: what is usual for something that began less than two hours ago
EARLIER: Final = "earlier"
_SERIES_STEPS: Final = 60
_BASELINE_STEPS: Final = 24
#: roll-ups have windows of this width: steps of it are read quickly
_ROLLED_S: Final = 600


@dataclass(frozen=True, slots=True)
class Spans:
    """The ranges of one overview."""

    #: one step: what its figures are of
    lately: TimeRange
    #: the range in steps
    series: TimeRange
    #: hourBefore, yesterday, lastWeek -> steps of it
    before: Mapping[str, TimeRange]
    #: steps of the last hour but its end: for what has no earlier ones yet; None for a past range
    recent: TimeRange | None
    #: whether the range ends now
    is_now: bool

    @property
    def start_s(self) -> int:
        """Start of what its figures are of."""
        return self.lately.selection.start_s

    @property
    def end_s(self) -> int:
        """End of what its figures are of."""
        return self.lately.selection.end_s


def spans_of(ranges: Ranges, parameters: Parameters) -> Spans:
    """Return the ranges to look at; raises TooMuchError for none that can be cut into steps."""
    whole = ranges.stored(parameters)
    is_now = parameters.to_s >= parameters.now_s - _NOW_S
    start_s = whole.selection.start_s
    arrived_s = int(min(whole.selection.end_s, whole.arrived_s))
    end_s = max(start_s + WINDOW_S, arrived_s - arrived_s % WINDOW_S)
    step_s = auto_s(end_s - start_s, _SERIES_STEPS)
    edges_s = edges_of(start_s, end_s, step_s, parameters.tz, 10 * _SERIES_STEPS)
    series = replace(_with(whole, edges_s), step=step_s)
    if is_now:
        lately = stepped(ranges, parameters, max(start_s, end_s - _LATELY_S), end_s)
        last_s = end_s - end_s % _LATELY_S
        recent = stepped(ranges, parameters, last_s - _HOUR_S, last_s - 2 * _LATELY_S, _LATELY_S)
        return Spans(lately, series, _before_now(ranges, parameters, end_s), recent, is_now)
    lately = stepped(ranges, parameters, start_s, end_s)
    return Spans(lately, series, _before_then(ranges, parameters, start_s, end_s), None, is_now)


def stepped(
    ranges: Ranges, parameters: Parameters, start_s: int, end_s: int, step_s: int = 0
) -> TimeRange:
    """Return a range in steps of a width, 0 for one step; edges are multiples of 10 seconds."""
    whole = ranges.stored(parameters, start_s, end_s)
    if not step_s:
        return whole
    edges_s = (*range(start_s, end_s, step_s), end_s)
    return _with(whole, edges_s)


def _with(time_range: TimeRange, edges_s: tuple[int, ...]) -> TimeRange:
    edges_s = tuple(dict.fromkeys(max(0, edge) for edge in edges_s))
    if len(edges_s) < 2 or not all(low < high for low, high in pairwise(edges_s)):
        edges_s = (0, WINDOW_S)
    return replace(time_range, selection=replace(time_range.selection, edges_s=edges_s))


def _before_now(ranges: Ranges, parameters: Parameters, end_s: int) -> dict[str, TimeRange]:
    """Return the hour before the last one, and two hours around now a day and a week ago."""
    last_s = end_s - end_s % _LATELY_S
    found = {
        "hourBefore": stepped(ranges, parameters, last_s - 2 * _HOUR_S, last_s - _HOUR_S, _LATELY_S)
    }
    for against, days in _DAYS.items():
        then_s = int(parameters.days_before(end_s, days))
        then_s -= then_s % _ROLLED_S
        found[against] = stepped(ranges, parameters, then_s - _HOUR_S, then_s + _HOUR_S, _ROLLED_S)
    return found


def _before_then(
    ranges: Ranges, parameters: Parameters, start_s: int, end_s: int
) -> dict[str, TimeRange]:
    """Return earlier ranges of the same length, those that do not overlap the range."""
    length_s = end_s - start_s
    found = {}
    if length_s <= _HOUR_S:
        found["hourBefore"] = stepped(ranges, parameters, start_s - _HOUR_S, start_s, _LATELY_S)
    for against, days in _DAYS.items():
        if length_s <= days * _DAY_S + _HOUR_S:
            then_s = int(parameters.days_before(start_s, days))
            then_s -= then_s % WINDOW_S
            step_s = auto_s(length_s, _BASELINE_STEPS)
            found[against] = stepped(ranges, parameters, then_s, then_s + length_s, step_s)
    return found
