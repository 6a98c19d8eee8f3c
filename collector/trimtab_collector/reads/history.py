"""Figures step by step: of everything chosen, or of each group of it."""

from typing import Any

import numpy as np

from trimtab_collector.contract.history import (
    GROUP_BY,
    GROUPS,
    PERIOD,
    PERIODS,
    GroupedHistory,
    GroupHistory,
    History,
    HistoryRow,
)
from trimtab_collector.contract.parameters import FIELDS, Parameters
from trimtab_collector.reads.figures import Figures
from trimtab_collector.reads.ranges import TimeRange
from trimtab_collector.reads.reader import StoreReader
from trimtab_collector.reads.steps import MOST, bound_groups
from trimtab_collector.storage.columns import Array

__all__ = ["history"]


def history(reader: StoreReader, parameters: Parameters) -> History | GroupedHistory:
    """Return a row for each step that holds something, of everything or of each group.

    Raises TooMuchError for too many groups and steps.
    """
    _, step_s = PERIODS[parameters[PERIOD]]
    time_range = reader.ranges.stepped(parameters, MOST, step_s)
    if parameters[GROUP_BY]:
        return _grouped(reader, time_range)
    figures = reader.figures(time_range)
    return History(
        **time_range.resolved(figures.rows.resolution_s),
        period=parameters[PERIOD],
        step=time_range.step,
        series=_rows(figures, np.arange(len(figures)), parameters),
    )


def _grouped(reader: StoreReader, time_range: TimeRange) -> GroupedHistory:
    """Return the steps of the groups with the most requests in the range.

    It counts groups and steps before it reads the steps.
    """
    parameters = time_range.parameters
    by, limit = parameters[GROUP_BY], parameters[GROUPS]
    fields = tuple(FIELDS[name] for name in by)
    whole = reader.rows(time_range.whole(), fields)
    count = len(time_range.selection.edges_s) - 1
    bound_groups(count, len(whole.group), min(limit, len(whole.group)))
    requests = whole.columns.value("requests")
    names = [whole.groups[place] for place in whole.group]
    order = sorted(range(len(names)), key=lambda at: (-requests[at], names[at]))
    figures = reader.figures(time_range, fields)
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
                series=_rows(figures, np.array(places.get(names[at], []), np.int64), parameters),
            )
            for at in order[:limit]
        ],
        groups_left_out=max(0, len(order) - limit),
    )


def _rows(figures: Figures, places: Array, parameters: Parameters) -> list[HistoryRow]:
    times = figures.rows.t[places].tolist()
    seconds = figures.seconds[places].tolist()
    fields: list[dict[str, Any]] = figures.dicts(places)
    return [
        HistoryRow(t=parameters.shown(t), seconds=arrived, **row)
        for t, arrived, row in zip(times, seconds, fields, strict=True)
    ]
