"""Measures over time: what was added to them, step by step, by fields and attributes."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from math import isfinite
from typing import Final, NamedTuple

import numpy as np

from trimtab_collector.contract.measures import (
    ATTRIBUTES,
    MEASURE_GROUPS,
    MEASURE_SERIES,
    MEASURES,
    MEASURES_BY,
    MeasureFigures,
    MeasureHistory,
    MeasureSeries,
    MeasureStep,
)
from trimtab_collector.contract.parameters import STEP, Parameters
from trimtab_collector.reads.ranges import TimeRange
from trimtab_collector.reads.reader import StoreReader
from trimtab_collector.reads.steps import MOST
from trimtab_collector.storage.rolls import row_width_s
from trimtab_collector.storage.store import MeasurePart, MeasureSelection, TooMuchError
from trimtab_core.measures import COUNTER, GAUGE, HISTOGRAM, Delta, MeasureKey, quantile

__all__ = ["measures"]

_OWNERS: Final = ("environment", "service", "instance")
_QUANTILES: Final = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}
#: most steps of a range, and of all groups together that a read may take
_STEPS: Final = 2_000
_MOST_READ: Final = 40_000


class _Series(NamedTuple):
    """What a series is of: name, kind and unit, and the values of groupBy that there are."""

    name: str
    kind: str
    unit: str
    group: tuple[tuple[str, str], ...]


class _Added(NamedTuple):
    """What was added within one step, and the last value that each process then had."""

    delta: Delta
    last: dict[tuple[str, str, str, MeasureKey], float]


def measures(reader: StoreReader, parameters: Parameters) -> MeasureHistory:
    """Return the steps of measures, name by name, of each name the largest first.

    Raises TooMuchError for too many series and steps.
    """
    time_range = _range(reader, parameters)
    steps, limit = len(time_range.selection.edges_s) - 1, parameters[MEASURE_SERIES]
    if steps * limit > MOST:
        raise TooMuchError(
            f"expected at most {MOST} steps of all series together, got {steps} of up to {limit}: "
            "choose a longer step, a shorter range or a lower limit"
        )
    whole = _added(reader, time_range.whole())
    # Of gauges each process is read by itself.
    count = sum(len(added.last) for steps_of in whole.values() for added in steps_of.values())
    if steps * count > _MOST_READ:
        raise TooMuchError(
            f"expected at most {_MOST_READ} steps of all measures together, got {steps} steps of "
            f"{count} measures: choose a longer step, fewer names, or one service or instance"
        )
    by_step = _added(reader, time_range) if whole else {}
    edges = np.array(time_range.selection.edges_s)
    seconds = time_range.seconds_of(edges[:-1]).tolist()
    totals = {
        series: _figures(series.kind, found[0], time_range.seconds)
        for series, found in whole.items()
    }
    order = sorted(totals, key=_order(parameters, totals))
    return MeasureHistory(
        **time_range.resolved(_resolution(time_range)),
        step=time_range.step,
        group_by=list(parameters[MEASURE_GROUPS]),
        measures=[
            MeasureSeries(
                name=series.name,
                kind=series.kind,
                unit=series.unit,
                group=dict(series.group),
                total=totals[series],
                series=[
                    _step(parameters, series.kind, int(edges[at]), seconds[at], added)
                    for at, added in sorted(by_step.get(series, {}).items())
                ],
            )
            for series in order[:limit]
        ],
        measures_left_out=max(0, len(order) - limit),
    )


def _range(reader: StoreReader, parameters: Parameters) -> TimeRange:
    """Return the range in steps that are at least as wide as the windows that measures are in."""
    time_range = reader.ranges.stepped(parameters, _STEPS)
    step = time_range.step
    width_s = row_width_s(time_range.selection.start_s, parameters.now_s)
    if isinstance(step, str) or step % width_s == 0:
        return time_range
    wider_s = -(-step // width_s) * width_s
    values = {**parameters.values, STEP.name: wider_s}
    return reader.ranges.stepped(replace(parameters, values=values), _STEPS)


def _resolution(time_range: TimeRange) -> int:
    """Return the width of the widest windows that an edge cuts, seconds."""
    now_s = time_range.parameters.now_s
    widths = ((edge_s, row_width_s(edge_s, now_s)) for edge_s in time_range.selection.edges_s)
    return max((width_s for edge_s, width_s in widths if edge_s % width_s), default=10)


def _added(reader: StoreReader, time_range: TimeRange) -> dict[_Series, dict[int, _Added]]:
    """Return what was added to each series, by the place of its step."""
    parameters = time_range.parameters
    by, wanted = parameters[MEASURE_GROUPS], parameters[ATTRIBUTES]
    fields = tuple(name for name in by if name in _OWNERS)
    where = {name: text for name, text in parameters.where.items() if name in _OWNERS}
    selection = MeasureSelection(
        time_range.selection.edges_s,
        parameters[MEASURES],
        where,
        fields,
        (*(name for name in by if name not in _OWNERS), *wanted),
    )
    found = _by_series(reader.store.read_measures(selection), by, wanted)
    gauges = tuple({series.name for series in found if series.kind == GAUGE})
    if gauges:
        # Gauges of several processes together are the sum of their last values: each is needed.
        each = replace(selection, names=gauges, group_by=_OWNERS, attributes=None)
        own = _by_series(reader.store.read_measures(each), by, wanted)
        found.update({series: added for series, added in own.items() if series.kind == GAUGE})
    return found


def _by_series(
    parts: Iterable[MeasurePart], by: Sequence[str], wanted: Mapping[str, str]
) -> dict[_Series, dict[int, _Added]]:
    found: dict[_Series, dict[int, _Added]] = {}
    for part in parts:
        attributes = dict(part.key.attributes)
        if any(attributes.get(name) != text for name, text in wanted.items()):
            continue
        values = {**attributes, **dict(zip(_OWNERS, part[:3], strict=True))}
        group = tuple((name, values[name]) for name in by if name in values)
        series = _Series(part.key.name, part.key.kind, part.key.unit, group)
        added = found.setdefault(series, {}).setdefault(part.step, _Added(Delta(), {}))
        added.delta.merge(part.delta)
        added.last[part[:4]] = part.delta.last
    return found


def _order(
    parameters: Parameters, totals: Mapping[_Series, MeasureFigures]
) -> Callable[[_Series], tuple[object, ...]]:
    """Return the key by which series are sorted: by name as asked for, the largest first."""
    names, by = parameters[MEASURES], parameters[MEASURES_BY]
    field = "per_second" if by == "perSecond" else by

    def place(name: str) -> int:
        return next(
            at
            for at, each in enumerate(names)
            if name == each or (each.endswith("*") and name.startswith(each[:-1]))
        )

    def key(series: _Series) -> tuple[object, ...]:
        total = totals[series]
        size = getattr(total, field)
        size = total.last if size is None else size
        return place(series.name), series.name, size is None, -(size or 0.0), series

    return key


def _step(parameters: Parameters, kind: str, t: int, seconds: float, added: _Added) -> MeasureStep:
    figures = _figures(kind, added, seconds)
    return MeasureStep(
        t=parameters.shown(t),
        seconds=seconds,
        **{name: getattr(figures, name) for name in MeasureFigures.__struct_fields__},
    )


def _figures(kind: str, added: _Added, seconds: float) -> MeasureFigures:
    delta, counts = added.delta, kind == COUNTER
    # Of statistics that a server counted itself there are sums, and neither sketch nor bounds.
    sketched = kind == HISTOGRAM and bool(delta.buckets)
    quantiles = {
        name: quantile(delta.buckets, q, delta.min, delta.max) if sketched else None
        for name, q in _QUANTILES.items()
    }
    rate = {COUNTER: delta.sum / seconds, HISTOGRAM: delta.count / seconds}
    return MeasureFigures(
        count=delta.count,
        sum=None if kind == GAUGE else delta.sum,
        per_second=rate.get(kind),
        mean=None if counts else delta.sum / delta.count,
        min=delta.min if not counts and isfinite(delta.min) else None,
        max=delta.max if not counts and isfinite(delta.max) else None,
        last=sum(added.last.values()) if kind == GAUGE else None,
        **quantiles,
    )
