"""Gauges over time: what processes and hosts measured of themselves, step by step."""

from collections.abc import Mapping
from math import isnan
from typing import Final

import numpy as np

from trimtab_collector.contract.bodies import GaugeHistory, GaugeSeries, GaugeStep
from trimtab_collector.contract.params import OWNERS, Params, bad
from trimtab_collector.reads.ranges import View
from trimtab_collector.reads.source import frame_of
from trimtab_collector.reads.steps import MOST
from trimtab_collector.storage.store import GaugeRows, GaugeSelection, Store, TooMuchError

__all__ = ["FIELDS", "STEPS", "gauges", "groups_of", "names_of"]

#: parameter -> field of a gauge, for all that may be filtered and grouped by
FIELDS: Final[Mapping[str, str]] = {**OWNERS, "agent": "agent"}
#: most steps of a range
STEPS: Final = 2_000
_NAMES: Final = 20


def names_of(params: Params) -> tuple[str, ...]:
    """Return the gauges asked for; raises ApiError 422 for none or too many."""
    text = params.own.get("name", "")
    names = tuple(dict.fromkeys(name for name in text.split(",") if name))
    if not 0 < len(names) <= _NAMES:
        raise bad("name", f"1 to {_NAMES} names of gauges, with commas between", text)
    return names


def groups_of(params: Params) -> tuple[str, ...]:
    """Return the parameters whose values are told apart; raises ApiError 422 for another."""
    text = params.own.get("groupBy", ",".join(OWNERS))
    parts = tuple(text.split(",")) if text else ()
    if set(parts) - set(FIELDS) or len(set(parts)) < len(parts):
        raise bad("groupBy", f"some of {', '.join(FIELDS)}, each once, or nothing", text)
    return parts


def gauges(
    store: Store, view: View, names: tuple[str, ...], by: tuple[str, ...], limit: int
) -> GaugeHistory:
    """Return the steps of gauges, name by name, of each the largest first; at most limit series.

    by has parameters of FIELDS. Raises TooMuchError for too many series and steps.
    """
    steps = len(view.selection.edges_s) - 1
    if steps * limit > MOST:
        raise TooMuchError(
            f"expected at most {MOST} steps of all series together, got {steps} of up to {limit}: "
            "choose a longer step, a shorter range or a lower limit"
        )
    fields = tuple(FIELDS[name] for name in by)
    rows = store.read_gauges(
        GaugeSelection(view.selection.edges_s, names, view.params.where, ("name", *fields))
    )
    sums = np.bincount(rows.group, rows.mean * rows.count, len(rows.groups))
    means = sums / np.bincount(rows.group, rows.count, len(rows.groups))
    order = sorted(
        range(len(rows.groups)),
        key=lambda at: (names.index(rows.groups[at][0]), -means[at], rows.groups[at]),
    )
    return GaugeHistory(
        **frame_of(view, rows.resolution_s),
        step=view.step,
        group_by=list(by),
        gauges=[
            GaugeSeries(
                name=rows.groups[at][0],
                group=dict(zip(by, rows.groups[at][1:], strict=True)),
                series=_steps(rows, at, view.params),
            )
            for at in order[:limit]
        ],
        gauges_left_out=max(0, len(order) - limit),
    )


def _steps(rows: GaugeRows, group: int, params: Params) -> list[GaugeStep]:
    begin, end = np.searchsorted(rows.group, [group, group + 1]).tolist()
    columns = (rows.t, rows.count, rows.mean, rows.min, rows.max, rows.last, rows.total)
    return [
        GaugeStep(
            t=params.shown(t),
            count=count,
            mean=mean,
            min=least,
            max=most,
            last=None if isnan(last) else last,
            total=total,
        )
        for t, count, mean, least, most, last, total in zip(
            *(column[begin:end].tolist() for column in columns), strict=True
        )
    ]
