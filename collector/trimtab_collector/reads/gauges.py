"""Gauges over time: what processes and hosts measured of themselves, step by step."""

from math import isnan
from typing import Final

import numpy as np

from trimtab_collector.contract.gauges import (
    GAUGE_FIELDS,
    GROUP_BY,
    NAMES,
    SERIES,
    GaugeHistory,
    GaugeSeries,
    GaugeStep,
)
from trimtab_collector.contract.parameters import Parameters
from trimtab_collector.reads.reader import StoreReader
from trimtab_collector.reads.steps import MOST
from trimtab_collector.storage.store import GaugeRows, GaugeSelection, TooMuchError
from trimtab_core.catalog import CATALOG

__all__ = ["gauges"]

#: most steps of a range
_STEPS: Final = 2_000


def gauges(reader: StoreReader, parameters: Parameters) -> GaugeHistory:
    """Return the steps of gauges, name by name, of each name the largest first.

    Raises TooMuchError for too many series and steps.
    """
    time_range = reader.ranges.stepped(parameters, _STEPS)
    names, by, limit = parameters[NAMES], parameters[GROUP_BY], parameters[SERIES]
    edges_s = time_range.selection.edges_s
    steps = len(edges_s) - 1
    if steps * limit > MOST:
        raise TooMuchError(
            f"expected at most {MOST} steps of all series together, got {steps} of up to {limit}: "
            "choose a longer step, a shorter range or a lower limit"
        )
    fields = tuple(GAUGE_FIELDS[name] for name in by)
    rows = reader.store.read_gauges(
        GaugeSelection(edges_s, names, parameters.where, ("name", *fields))
    )
    sums = np.bincount(rows.group, rows.mean * rows.count, len(rows.groups))
    means = sums / np.bincount(rows.group, rows.count, len(rows.groups))
    order = sorted(
        range(len(rows.groups)),
        key=lambda at: (names.index(rows.groups[at][0]), -means[at], rows.groups[at]),
    )
    return GaugeHistory(
        **time_range.resolved(rows.resolution_s),
        step=time_range.step,
        group_by=list(by),
        gauges=[
            GaugeSeries(
                name=rows.groups[at][0],
                unit=CATALOG[rows.groups[at][0]].unit if rows.groups[at][0] in CATALOG else "",
                group=dict(zip(by, rows.groups[at][1:], strict=True)),
                series=_steps(rows, at, parameters),
            )
            for at in order[:limit]
        ],
        gauges_left_out=max(0, len(order) - limit),
    )


def _steps(rows: GaugeRows, group: int, parameters: Parameters) -> list[GaugeStep]:
    begin, end = np.searchsorted(rows.group, [group, group + 1]).tolist()
    columns = (rows.t, rows.count, rows.mean, rows.min, rows.max, rows.last, rows.total)
    return [
        GaugeStep(
            t=parameters.shown(t),
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
