"""Gauges over time: what processes and hosts measured of themselves, step by step."""

from collections.abc import Sequence
from dataclasses import replace
from math import isnan
from typing import Final

import numpy as np

from trimtab_collector.contract.errors import bad_parameter
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
from trimtab_collector.reads.utilization import USES
from trimtab_collector.storage.store import GaugeRows, GaugeSelection, TooMuchError
from trimtab_core.catalog import CATALOG

__all__ = ["gauges"]

#: most steps of a range
_STEPS: Final = 2_000
_COLUMNS: Final = ("t", "count", "mean", "min", "max", "last", "total")


def gauges(reader: StoreReader, parameters: Parameters) -> GaugeHistory:
    """Return the steps of gauges, name by name, of each name the largest first.

    Raises TooMuchError for too many series and steps.
    """
    time_range = reader.ranges.stepped(parameters, _STEPS)
    names, by, limit = parameters[NAMES], parameters[GROUP_BY], parameters[SERIES]
    if "instance" not in by and not USES.keys().isdisjoint(names):
        raise bad_parameter(
            GROUP_BY.name, f"instance among the fields, for {', '.join(USES)}", ",".join(by)
        )
    edges_s = time_range.selection.edges_s
    steps = len(edges_s) - 1
    if steps * limit > MOST:
        raise TooMuchError(
            f"expected at most {MOST} steps of all series together, got {steps} of up to {limit}: "
            "choose a longer step, a shorter range or a lower limit"
        )
    fields = tuple(GAUGE_FIELDS[name] for name in by)
    read = tuple(dict.fromkeys(each for name in names for each in USES.get(name, (name,))))
    rows = reader.store.read_gauges(
        GaugeSelection(edges_s, read, parameters.where, ("name", *fields))
    )
    rows = _judged(rows, names)
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
                unit=_unit(rows.groups[at][0]),
                group=dict(zip(by, rows.groups[at][1:], strict=True)),
                series=_steps(rows, at, parameters),
            )
            for at in order[:limit]
        ],
        gauges_left_out=max(0, len(order) - limit),
    )


def _unit(name: str) -> str:
    name = USES.get(name, (name,))[0]
    return CATALOG[name].unit if name in CATALOG else ""


def _judged(rows: GaugeRows, names: Sequence[str]) -> GaugeRows:
    """Return rows by the names asked for; what is judged has of each step the first of its gauges.

    That is how rules take it: a container may end while its host goes on.
    """
    if USES.keys().isdisjoint(names):
        return rows
    asked: dict[str, list[tuple[int, str]]] = {}
    for name in names:
        for rank, each in enumerate(USES.get(name, (name,))):
            asked.setdefault(each, []).append((rank, name))
    #: of each series its gauges, the first that counts first
    series: dict[tuple[str, ...], list[tuple[int, int]]] = {}
    for place, (gauge, *rest) in enumerate(rows.groups):
        for rank, name in asked[gauge]:
            series.setdefault((name, *rest), []).append((rank, place))
    bounds = np.searchsorted(rows.group, np.arange(len(rows.groups) + 1)).tolist()
    taken = []
    for gauges in series.values():
        found = np.concatenate(
            [np.arange(*bounds[place : place + 2]) for _, place in sorted(gauges)]
        )
        # Of rows of the same step the first is taken.
        taken.append(found[np.unique(rows.t[found], return_index=True)[1]])
    order = np.concatenate([np.zeros(0, np.int64), *taken])
    group = np.repeat(np.arange(len(taken)), [len(each) for each in taken])
    columns = {name: getattr(rows, name)[order] for name in _COLUMNS}
    return replace(rows, groups=list(series), group=group, **columns)


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
