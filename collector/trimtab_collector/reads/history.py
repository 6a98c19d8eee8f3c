"""Figures step by step: of everything chosen, or of each group of it."""

from math import ceil
from typing import Any

import numpy as np

from trimtab_collector.contract.errors import bad_parameter
from trimtab_collector.contract.figures import Stats
from trimtab_collector.contract.history import (
    EMPTY,
    GROUP_BY,
    GROUPS,
    PERIOD,
    PERIODS,
    GroupedHistory,
    GroupHistory,
    History,
    HistoryRow,
)
from trimtab_collector.contract.marks import MarkBody
from trimtab_collector.contract.parameters import FIELDS, Parameters
from trimtab_collector.reads.figures import FIGURES, Figures, as_one_step, no_requests
from trimtab_collector.reads.presence import GAP, presence
from trimtab_collector.reads.ranges import TimeRange
from trimtab_collector.reads.reader import StoreReader
from trimtab_collector.reads.steps import MOST, bound_groups
from trimtab_collector.storage.columns import Array

__all__ = ["filled", "history"]


def history(reader: StoreReader, parameters: Parameters) -> History | GroupedHistory:
    """Return a row for each step that holds something, of everything or of each group.

    Raises TooMuchError for too many groups and steps.
    """
    _, step_s = PERIODS[parameters[PERIOD]]
    time_range = reader.ranges.stepped(parameters, MOST, step_s)
    if parameters[GROUP_BY]:
        if parameters[EMPTY] != EMPTY.default:
            raise bad_parameter(EMPTY.name, "rows of empty steps without groupBy", "both")
        return _grouped(reader, time_range)
    figures = reader.figures(time_range)
    series = _rows(figures, np.arange(len(figures)), parameters)
    if parameters[EMPTY] == "rows":
        series = filled(reader, time_range, figures.rows.t, series)
    return History(
        **time_range.resolved(figures.rows.resolution_s),
        period=parameters[PERIOD],
        step=time_range.step,
        series=series,
        marks=_marks(reader, time_range),
    )


def filled(
    reader: StoreReader, time_range: TimeRange, t: Array, rows: list[HistoryRow]
) -> list[HistoryRow]:
    """Return rows for every step that has arrived, also of those without requests.

    t are the starts of the steps that have rows. Raises TooMuchError.
    """
    edges_s = [edge for edge in time_range.selection.edges_s if edge < time_range.arrived_s]
    if not edges_s:
        return rows
    last = min(time_range.selection.end_s, ceil(time_range.arrived_s))
    edges_s.append(max(last, edges_s[-1] + 1))
    starts = np.array(edges_s[:-1])
    had = dict(zip(t.tolist(), rows, strict=True))
    measured = np.array([bool(start in had and had[start].requests) for start in edges_s[:-1]])
    where, parameters = time_range.selection.where, time_range.parameters
    seconds = time_range.seconds_of(starts).tolist()
    answer = []
    for start, long, state in zip(
        starts.tolist(), seconds, presence(reader.store, edges_s, where, measured), strict=True
    ):
        row = had.get(start)
        if row is None:
            nothing = dict.fromkeys(FIGURES) if state == GAP else dict(no_requests())
            row = HistoryRow(t=parameters.shown(start), seconds=long, **nothing)
        row.state = state
        answer.append(row)
    return answer


def _grouped(reader: StoreReader, time_range: TimeRange) -> GroupedHistory:
    """Return the steps of the groups with the most requests in the range.

    Figures of the whole range are of its steps' sketches, added up.
    """
    parameters = time_range.parameters
    by, limit = parameters[GROUP_BY], parameters[GROUPS]
    fields = tuple(FIELDS[name] for name in by)
    rows = reader.rows(time_range, (*fields, "status_class"))
    named = len({rows.groups[place][:-1] for place in np.unique(rows.group).tolist()})
    bound_groups(len(time_range.selection.edges_s) - 1, named, min(limit, named))
    figures = reader.shown(time_range, rows)
    whole = reader.shown(time_range.whole(), as_one_step(rows, time_range.selection.start_s))
    requests, names = whole["requests"], whole.names
    order = sorted(range(len(names)), key=lambda at: (-requests[at], names[at]))
    overall = whole.dicts(np.array(order[:limit], np.int64))
    places: dict[tuple[str, ...], list[int]] = {}
    for place, name in enumerate(figures.names):
        places.setdefault(name, []).append(place)
    return GroupedHistory(
        **time_range.resolved(figures.rows.resolution_s),
        period=parameters[PERIOD],
        step=time_range.step,
        group_by=list(by),
        groups=[
            GroupHistory(
                group=dict(zip(by, names[at], strict=True)),
                requests=int(requests[at]),
                overall=Stats(**every),
                series=_rows(figures, np.array(places.get(names[at], []), np.int64), parameters),
            )
            for at, every in zip(order[:limit], overall, strict=True)
        ],
        groups_left_out=max(0, len(order) - limit),
        marks=_marks(reader, time_range),
    )


def _rows(figures: Figures, places: Array, parameters: Parameters) -> list[HistoryRow]:
    times = figures.rows.t[places].tolist()
    seconds = figures.seconds[places].tolist()
    fields: list[dict[str, Any]] = figures.dicts(places)
    return [
        HistoryRow(t=parameters.shown(t), seconds=arrived, **row)
        for t, arrived, row in zip(times, seconds, fields, strict=True)
    ]


def _marks(reader: StoreReader, time_range: TimeRange) -> list[MarkBody]:
    selection = time_range.selection
    return reader.marks(time_range.parameters, selection.start_s, selection.end_s)
