"""Since when a figure is out of the ordinary, found step by step.

It begins with the first step of the latest run of steps that lie beyond half way between what is
usual and what is now; a run may be broken for two steps, not for more. The steps are minutes of the
last two hours; a run that began before them is followed back by ten minutes for a day. So the
moment is true to a step, and where the run is longer than that no moment is named.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from math import nan, sqrt
from typing import Final

from trimtab_collector.contract.parameters import Parameters
from trimtab_collector.overview.spans import Spans, stepped
from trimtab_collector.overview.usual import RATE_KIND, BesideUsual, FigureKind
from trimtab_collector.reads.presence import Heartbeats
from trimtab_collector.reads.ranges import TimeRange
from trimtab_collector.reads.reader import StoreReader

__all__ = ["Onset", "begun"]

_MINUTE_S: Final = 60
_COARSE_S: Final = 300
_ROLLED_S: Final = 600
_BACK_S: Final = 2 * 3600
_DAY_S: Final = 86_400
#: requests of a step that say something
_FEWEST: Final = 5
#: with fewer requests in a minute, steps are five minutes
_BUSY: Final = 10
_BREAK: Final = 2
#: of so many last minutes, two must be beyond: a single one is no news
_LAST: Final = 3


@dataclass(frozen=True, slots=True)
class Onset:
    """When something began, and when it was over; epoch seconds."""

    #: None where that lies further back than was looked, or before the range
    since_s: float | None
    #: None while it goes on
    until_s: float | None = None
    #: whether it lies in the last minute alone, which may be a moment only
    is_moment: bool = False


def begun(
    reader: StoreReader,
    parameters: Parameters,
    spans: Spans,
    where: Mapping[str, str],
    kind: FigureKind,
    found: BesideUsual,
    now: Mapping[str, float],
) -> Onset | None:
    """Return since when a figure is out of the ordinary; None where it was a moment only.

    where are fields of series, now the figures lately. One or two reads; raises TooMuchError.
    """
    line = _half_way(kind, found.usual, now[kind.column])
    parameters = replace(parameters, where={**parameters.where, **where})
    if not spans.is_now:
        edges_s = spans.series.selection.edges_s
        length_s = edges_s[1] - edges_s[0]
        steps = stepped(reader.ranges, parameters, spans.start_s, spans.end_s, length_s)
        beyond = _beyond(reader, steps, kind, line)
        return _longest(beyond, steps.selection.edges_s)
    minutes = spans.lately.seconds / _MINUTE_S
    expected = found.usual * spans.lately.seconds if kind is RATE_KIND else now["requests"]
    step_s = _MINUTE_S if expected >= _BUSY * minutes else _COARSE_S
    end_s = spans.end_s
    start_s = max(0, end_s - _BACK_S)
    steps = stepped(reader.ranges, parameters, start_s, end_s, step_s)
    beyond = _beyond(reader, steps, kind, line)
    known = [each for each in beyond if each is not None]
    if step_s == _MINUTE_S and sum(known[-_LAST:]) < 2:
        return Onset(steps.selection.edges_s[-2], is_moment=True) if known[-1:] == [True] else None
    first = _run_of(beyond)
    if first is None:
        return None
    if first:
        return Onset(steps.selection.edges_s[first])
    edge_s = end_s - end_s % _ROLLED_S
    steps = stepped(reader.ranges, parameters, max(0, edge_s - _DAY_S), edge_s, _ROLLED_S)
    first = _run_of(_beyond(reader, steps, kind, line))
    return Onset(steps.selection.edges_s[first] if first else None)


def _run_of(beyond: Sequence[bool | None]) -> int | None:
    """Return the first step of the run that reaches the end; None where there is none.

    None among the steps are those of which nothing is known: they neither lengthen nor break a run,
    but more of them in a row than a run may be broken for end it.
    """
    first = None
    broken = unknown = 0
    for place in range(len(beyond) - 1, -1, -1):
        if beyond[place]:
            first, broken, unknown = place, 0, 0
            continue
        if beyond[place] is None:
            unknown += 1
        else:
            broken += 1
        if broken > _BREAK or unknown > 3 * _BREAK:
            break
    return None if first is None else _settled(beyond, first)


def _settled(beyond: Sequence[bool | None], first: int) -> int:
    """Return the first step of a run that another one beyond follows: one alone may be chance."""
    alone: int | None = None
    for place in range(first, len(beyond)):
        if beyond[place] is None:
            continue
        if beyond[place] and alone is not None:
            return alone
        alone = place if beyond[place] else None
    return first


def _half_way(kind: FigureKind, usual: float, now: float) -> float:
    if kind.by_ratio and usual > 0 and now > 0:
        return sqrt(usual * now)
    return (usual + now) / 2


def _beyond(
    reader: StoreReader, steps: TimeRange, kind: FigureKind, line: float
) -> list[bool | None]:
    """Return for each step whether its figure lies beyond a line, None where nothing is known."""
    figures = reader.figures(steps)
    edges_s = steps.selection.edges_s
    places = {t: place for place, t in enumerate(figures.rows.t.tolist())}
    values, requests = figures[kind.column].tolist(), figures["requests"].tolist()
    unknown = _unknown(reader, steps, places) if kind is RATE_KIND else ()
    found: list[bool | None] = []
    for t in edges_s[:-1]:
        place = places.get(t)
        value = nan if place is None else values[place]
        if kind is RATE_KIND:
            if t in unknown:
                found.append(None)
                continue
            value = 0.0 if place is None else value
        elif place is None or requests[place] < _FEWEST or value != value:
            found.append(None)
            continue
        found.append(value > line if kind.worse > 0 else value < line)
    return found


def _unknown(reader: StoreReader, steps: TimeRange, places: Collection[int]) -> Collection[int]:
    """Return the steps without requests of which it is not known that there were none.

    Nobody was heard in them, or they are before the first process. Where no gauges are stored,
    nothing is left out.
    """
    edges_s, where = steps.selection.edges_s, steps.parameters.where
    owned = {name: where[name] for name in ("environment", "service") if name in where}
    beats = Heartbeats(reader.store, edges_s, owned)
    alive = beats.alive
    if not alive.any():
        return ()
    told = beats.heard()
    heard = alive if told is None else alive | told
    first_s = edges_s[int(alive.argmax())]
    return {
        t
        for t, each in zip(edges_s, heard.tolist(), strict=False)
        if t not in places and (t < first_s or not each)
    }


def _longest(beyond: Sequence[bool | None], edges_s: Sequence[int]) -> Onset:
    """Return the longest run of a range that is past."""
    best = (0, 0)
    first: int | None = None
    for place, each in enumerate([*beyond, False]):
        if each and first is None:
            first = place
        if each is False and first is not None:
            best = max(best, (place - first, -first))
            first = None
    length, start = best[0], -best[1]
    if not length or length == len(beyond):
        return Onset(None)
    return Onset(edges_s[start], edges_s[start + length])
