"""Figures step by step: of everything chosen, or of each group of it."""

from typing import Any, Final

import numpy as np

from trimtab_collector.contract.bodies import GroupedHistory, GroupHistory, History, HistoryRow
from trimtab_collector.contract.params import FIELDS, Params
from trimtab_collector.reads.figures import Figures
from trimtab_collector.reads.ranges import View
from trimtab_collector.reads.source import Source, frame_of
from trimtab_collector.reads.steps import MOST
from trimtab_collector.storage.columns import Array
from trimtab_collector.storage.store import TooMuchError

__all__ = ["PERIODS", "grouped", "history"]

#: period -> range and step in seconds
PERIODS: Final = {"hourly": (3600, 60), "daily": (86_400, 600), "weekly": (7 * 86_400, 3600)}
#: groups times steps that a read may come to, of which `MOST` are answered
_MOST_READ: Final = 200_000


def history(source: Source, view: View, period: str) -> History:
    """Return a row for each step that holds something."""
    figures = source.figures(view)
    return History(
        **frame_of(view, figures.rows.resolution_s),
        period=period,
        step=view.step,
        series=_rows(figures, np.arange(len(figures)), view.params),
    )


def grouped(
    source: Source, view: View, period: str, by: tuple[str, ...], limit: int
) -> GroupedHistory:
    """Return the steps of the groups with the most requests in the range, at most limit groups.

    by are fields of a series, as parameters name them. Raises TooMuchError for too many groups and
    steps, before it reads the steps.
    """
    fields = tuple(FIELDS[name] for name in by)
    whole = source.rows(view.whole(), fields)
    count = len(view.selection.edges_s) - 1
    _bound(count, len(whole.group), min(limit, len(whole.group)))
    requests = whole.columns.value("requests")
    names = [whole.groups[place] for place in whole.group]
    order = sorted(range(len(names)), key=lambda at: (-requests[at], names[at]))
    figures = source.figures(view, fields)
    places: dict[tuple[str, ...], list[int]] = {}
    for place, name in enumerate(figures.names):
        places.setdefault(name, []).append(place)
    return GroupedHistory(
        **frame_of(view, figures.rows.resolution_s),
        period=period,
        step=view.step,
        group_by=list(by),
        groups=[
            GroupHistory(
                group=dict(zip(by, names[at], strict=True)),
                requests=int(requests[at]),
                series=_rows(figures, np.array(places.get(names[at], []), np.int64), view.params),
            )
            for at in order[:limit]
        ],
        groups_left_out=max(0, len(order) - limit),
    )


def _rows(figures: Figures, places: Array, params: Params) -> list[HistoryRow]:
    times = figures.rows.t[places].tolist()
    seconds = figures.seconds[places].tolist()
    fields: list[dict[str, Any]] = figures.dicts(places)
    return [
        HistoryRow(t=params.shown(t), seconds=arrived, **row)
        for t, arrived, row in zip(times, seconds, fields, strict=True)
    ]


def _bound(steps: int, groups: int, shown: int) -> None:
    if steps * groups > _MOST_READ or steps * shown > MOST:
        raise TooMuchError(
            f"expected at most {_MOST_READ} steps of all groups together and {MOST} of those "
            f"shown, got {steps} steps of {groups} groups, {shown} shown: choose a longer step, a "
            "shorter range, a lower limit, or one service"
        )
