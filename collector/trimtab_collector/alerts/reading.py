"""Reads what rules judge: one read of the store for all rules that can share it."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from math import inf
from typing import Final, NamedTuple

import numpy as np

from trimtab_collector.alerts.judge import Judged
from trimtab_collector.alerts.metrics import GAUGE_FIGURES, JudgedMetric, metric_of
from trimtab_collector.alerts.rules import Rule
from trimtab_collector.alerts.stretch import ValueTable
from trimtab_collector.alerts.values import FIELDS, Values
from trimtab_collector.storage.columns import WINDOW_S, Array, quantiles_us
from trimtab_collector.storage.rolls import row_width_s
from trimtab_collector.storage.store import (
    GaugeRows,
    GaugeSelection,
    MeasurePart,
    MeasureSelection,
    Rows,
    Selection,
    Store,
    TooMuchError,
)
from trimtab_core.measures import COUNTER, HISTOGRAM, Delta, quantile

__all__ = ["MetricReader", "Signal"]

_QUANTILES: Final = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p999": 0.999}
#: what is read at a time of a long range
_SLICE_S: Final = 86_400
nan: Final = float("nan")


class Signal(NamedTuple):
    """One figure of trimtab itself, or of what is computed elsewhere."""

    metric: str
    labels: Mapping[str, str]
    value: float


class MetricReader:
    """Reads values of metrics from a store; from one thread at a time."""

    def __init__(
        self, store: Store, signals: Callable[[float], Iterable[Signal]] = lambda now_s: ()
    ) -> None:
        """Ask signals for what is no measurement, by the time of the step."""
        self._store = store
        self._signals = signals

    def at(self, rules: Sequence[Rule], t_s: int) -> list[Judged]:
        """Return rules with the values that they judge, over what each says, up to t_s."""
        reads = _Reads(self._store, self._signals, _gauges_of(rules))
        shared = Counter((rule.over_s, _fields(rule)) for rule in rules)
        kept: dict[object, Values] = {}
        judged = []
        for rule in rules:
            fields, edges_s = _fields(rule), (t_s - rule.over_s, t_s)
            # What is read for one rule is there for the next one: then it is not filtered.
            where = rule.where if shared[rule.over_s, fields] == 1 else {}
            metric = metric_of(rule.metric, rule.figure)
            key = (metric, fields, edges_s, tuple(where.items()))
            if key not in kept:
                kept[key] = reads.table(metric, fields, where, edges_s).at(0)
            judged.append(Judged(rule, kept[key]))
        return judged

    def width_s(self, rule: Rule, t: float, now_s: float) -> int:
        """Return how wide the windows around a time are that a rule is read from, in seconds."""
        metric, fields = metric_of(rule.metric, rule.figure), _fields(rule)
        # These edges cut every window that is wider than the finest, and a read says how wide.
        begin_s = int(t) // 60 * 60 + WINDOW_S
        edges_s, widths = (begin_s, begin_s + WINDOW_S), [WINDOW_S]
        if metric.kind == "requests":
            widths.append(self._store.read(Selection(edges_s, fields, rule.where)).resolution_s)
        if metric.kind in ("gauge", "either"):
            selection = GaugeSelection(edges_s, metric.names, rule.where, ("name", *fields))
            widths.append(self._store.read_gauges(selection).resolution_s)
        if metric.kind in ("measure", "either"):
            widths.append(row_width_s(t, now_s))
        return max(widths)

    def tables(
        self, rule: Rule, edges_s: tuple[int, ...]
    ) -> Iterator[tuple[tuple[int, ...], ValueTable]]:
        """Yield the ends of steps and the values within them, of a metric that is stored.

        A day is read at a time, or less where a day is too much, so that only the time that a
        long range takes grows with it. Raises TooMuchError.
        """
        metric = metric_of(rule.metric, rule.figure)
        begin, width = 0, max(1, _SLICE_S // (edges_s[1] - edges_s[0]))
        while begin < len(edges_s) - 1:
            part = edges_s[begin : begin + width + 1]
            try:
                reads = _Reads(self._store, self._signals)
                table = reads.table(metric, _fields(rule), rule.where, part)
            except TooMuchError:
                if width == 1:
                    raise
                width = max(1, width // 4)
                continue
            yield part[1:], table
            begin += len(part) - 1


class _Reads:
    """What one evaluation has read so far."""

    def __init__(
        self,
        store: Store,
        signals: Callable[[float], Iterable[Signal]],
        together: Mapping[tuple[str, ...], tuple[str, ...]] | None = None,
    ) -> None:
        """Read gauges of the same fields together: a read looks at every gauge there is."""
        self._store = store
        self._ask = signals
        self._together = together or {}
        self._gauges: dict[object, GaugeRows] = {}
        self._rows: dict[object, Rows] = {}
        self._signals: list[Signal] | None = None

    def table(
        self,
        metric: JudgedMetric,
        fields: tuple[str, ...],
        where: Mapping[str, str],
        edges_s: tuple[int, ...],
    ) -> ValueTable:
        """Return the values of a metric."""
        if metric.kind == "requests":
            key = (fields, edges_s, tuple(where.items()))
            if key not in self._rows:
                self._rows[key] = self._store.read(Selection(edges_s, fields, where))
            return _of_requests(self._rows[key], metric, fields, edges_s)
        if metric.kind == "signal":
            if self._signals is None:
                self._signals = list(self._ask(edges_s[-1]))
            return _of_signals(self._signals, metric.name, fields)
        # Of what may be either, a figure of measures alone says which.
        if metric.kind == "gauge" or (
            metric.kind == "either" and metric.figure in ("", *GAUGE_FIGURES)
        ):
            rows = _named(self._read_gauges(metric, fields, where, edges_s), metric.names)
            if metric.kind == "gauge" or len(rows.group):
                return _of_gauges(rows, metric, fields, edges_s)
        selected = MeasureSelection(edges_s, metric.names, where, fields, ())
        return _of_measures(self._store.read_measures(selected), metric, fields, edges_s)

    def _read_gauges(
        self,
        metric: JudgedMetric,
        fields: tuple[str, ...],
        where: Mapping[str, str],
        edges_s: tuple[int, ...],
    ) -> GaugeRows:
        names = metric.names if where else self._together.get(fields, metric.names)
        key = (names, fields, edges_s, tuple(where.items()))
        if key not in self._gauges:
            selection = GaugeSelection(edges_s, names, where, ("name", *fields))
            self._gauges[key] = self._store.read_gauges(selection)
        return self._gauges[key]


def _gauges_of(rules: Sequence[Rule]) -> dict[tuple[str, ...], tuple[str, ...]]:
    """Return the names of gauges that rules may judge, by the fields that they are read by."""
    found: dict[tuple[str, ...], dict[str, None]] = {}
    for rule in rules:
        metric = metric_of(rule.metric, rule.figure)
        if metric.kind in ("gauge", "either"):
            found.setdefault(_fields(rule), {}).update(dict.fromkeys(metric.names))
    return {fields: tuple(names) for fields, names in found.items()}


def _named(rows: GaugeRows, names: tuple[str, ...]) -> GaugeRows:
    """Return the rows of gauges with these names."""
    wanted = np.array([group[0] in names for group in rows.groups], bool)
    if wanted.all():
        return rows
    keep = wanted[rows.group]
    columns = ("group", "t", "count", "mean", "min", "max", "last", "total")
    return replace(rows, **{name: getattr(rows, name)[keep] for name in columns})


def _fields(rule: Rule) -> tuple[str, ...]:
    """Return the fields of a rule in the order of all, those of signals behind."""
    known = tuple(name for name in FIELDS if name in rule.fields)
    return (*known, *(name for name in rule.fields if name not in FIELDS))


def _steps_of(t: Array, edges_s: tuple[int, ...]) -> Array:
    steps: Array = np.searchsorted(np.array(edges_s), t, "right") - 1
    return steps


def _of_requests(
    rows: Rows, metric: JudgedMetric, fields: tuple[str, ...], edges_s: tuple[int, ...]
) -> ValueTable:
    columns = rows.columns
    requests = columns.value("requests").astype(np.float64)
    step = _steps_of(rows.t, edges_s)
    figure = metric.figure
    value: Array
    if figure in _QUANTILES:
        value = quantiles_us(columns, (_QUANTILES[figure],))[:, 0] / 1000
    elif figure == "rate":
        value = requests / np.diff(np.array(edges_s))[step]
    elif figure == "max":
        value = columns.value("max_us") / 1000
    else:
        part, whole, scale = {
            "mean": ("sum_us", "requests", 1000),
            "ttfb": ("ttfb_us", "requests", 1000),
            "queue": ("queue_us", "queued", 1000),
            "errors": ("errors", "requests", 1),
        }[figure]
        below = columns.value(whole).astype(np.float64)
        value = np.full(len(below), nan)
        np.divide(columns.value(part), below * scale, out=value, where=below > 0)
    value = np.where(requests > 0, value, nan)
    weight = requests if metric.has_floor else None
    return ValueTable(fields, rows.groups, rows.group, step, value, weight)


def _of_gauges(
    rows: GaugeRows, metric: JudgedMetric, fields: tuple[str, ...], edges_s: tuple[int, ...]
) -> ValueTable:
    value: Array = getattr(rows, metric.figure or "mean") * metric.scale
    step = _steps_of(rows.t, edges_s)
    if len(metric.names) == 1:
        return ValueTable(fields, [name[1:] for name in rows.groups], rows.group, step, value, None)
    # Of several names, a series has the value of the first that it has.
    best: dict[tuple[tuple[str, ...], int], tuple[int, float]] = {}
    for place, at, one in zip(rows.group.tolist(), step.tolist(), value.tolist(), strict=True):
        name = rows.groups[place]
        rank = metric.names.index(name[0])
        if best.get((name[1:], at), (len(metric.names), 0.0))[0] > rank:
            best[name[1:], at] = (rank, one)
    return _of_cells(fields, {cell: (one, inf) for cell, (_, one) in best.items()})


def _of_signals(signals: Sequence[Signal], name: str, fields: tuple[str, ...]) -> ValueTable:
    cells = {
        (tuple(signal.labels.get(field, "") for field in fields), 0): (signal.value, inf)
        for signal in signals
        if signal.metric == name
    }
    return _of_cells(fields, cells)


def _of_measures(
    parts: Sequence[MeasurePart],
    metric: JudgedMetric,
    fields: tuple[str, ...],
    edges_s: tuple[int, ...],
) -> ValueTable:
    # The same series may come under several units; they are not added up: the last one counts.
    found: dict[tuple[tuple[str, ...], int], dict[str, MeasurePart]] = {}
    for part in parts:
        cell = (tuple(str(getattr(part, name)) for name in fields), part.step)
        found.setdefault(cell, {})[part.key.name] = part
    cells = {}
    for cell, by_name in found.items():
        if metric.kind == "ratio":
            hits, misses = (
                by_name[name].delta.sum if name in by_name else 0.0 for name in metric.names
            )
            total = hits + misses
            cells[cell] = (hits / total if total else nan, total)
        else:
            (part,) = by_name.values()
            seconds = edges_s[cell[1] + 1] - edges_s[cell[1]]
            value = _figure(part.key.kind, part.delta, metric.figure, seconds)
            floor = metric.has_floor or metric.figure in _QUANTILES
            cells[cell] = (value * metric.scale, part.delta.count if floor else inf)
    return _of_cells(fields, cells)


def _figure(kind: str, delta: Delta, figure: str, seconds: float) -> float:
    """Return a figure of a measure; nan where it has no such figure."""
    figure = figure or ("rate" if kind == COUNTER else "p95" if kind == HISTOGRAM else "last")
    if figure in _QUANTILES:
        if kind != HISTOGRAM or sum(delta.buckets.values()) != delta.count or not delta.count:
            return nan
        return quantile(delta.buckets, _QUANTILES[figure], delta.min, delta.max)
    if figure == "rate":
        return (delta.sum if kind == COUNTER else delta.count) / seconds
    if figure in ("sum", "total"):
        return delta.sum
    if figure == "count":
        return float(delta.count)
    if figure == "mean":
        return delta.sum / delta.count if delta.count else nan
    known = {"max": delta.max, "min": delta.min, "last": delta.last}[figure]
    return known if abs(known) < inf else nan


def _of_cells(
    fields: tuple[str, ...], cells: Mapping[tuple[tuple[str, ...], int], tuple[float, float]]
) -> ValueTable:
    groups: dict[tuple[str, ...], int] = {}
    group = [groups.setdefault(name, len(groups)) for name, _ in cells]
    step = [at for _, at in cells]
    values = np.array([value for value, _ in cells.values()], np.float64)
    weight = np.array([weight for _, weight in cells.values()], np.float64)
    whole = np.array(group, np.int64)
    return ValueTable(fields, list(groups), whole, np.array(step, np.int64), values, weight)
