"""What the history of gauges must answer, found by looking at every value that was sent."""

import math
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, replace

from trimtab_collector.storage.gaugepoints import GaugeKey
from trimtab_collector.storage.store import GaugeSelection, Store
from trimtab_core.batches import Batch

__all__ = ["Answer", "GaugeOracle", "GaugeRow", "ask", "check"]


@dataclass(frozen=True, slots=True)
class GaugeRow:
    """A row of an answer; last is None where it has several gauges."""

    count: int
    mean: float
    min: float
    max: float
    last: float | None
    total: float


Answer = dict[tuple[tuple[str, ...], int], GaugeRow]


class GaugeOracle:
    """Every gauge of the batches sent, each batch once."""

    def __init__(self) -> None:
        self._seen: set[tuple[str, bytes, int]] = set()
        #: gauge -> (window, time, value)
        self._gauges: dict[GaugeKey, list[tuple[int, int, float]]] = {}

    def add(self, *batches: Batch) -> None:
        """Take batches; a repeat adds nothing."""
        for batch in batches:
            name = (batch.agent, batch.boot, batch.seq)
            if name in self._seen:
                continue
            self._seen.add(name)
            window_s = batch.window_s - batch.window_s % 10
            for gauge in batch.gauges:
                if math.isfinite(gauge.value):
                    value = (window_s, batch.window_s + batch.step_s, gauge.value)
                    self._gauges.setdefault(GaugeKey(batch.agent, *gauge[:4]), []).append(value)

    def answer(self, selection: GaugeSelection) -> Answer:
        """Return what a store must answer, as if every window of 10 s were kept."""
        edges = selection.edges_s
        cells: dict[tuple[tuple[str, ...], int], list[list[tuple[int, float]]]] = {}
        for key, gauges in self._gauges.items():
            named = selection.names is None or key.name in selection.names
            if not named or any(getattr(key, f) != text for f, text in selection.where.items()):
                continue
            group = tuple(getattr(key, name) for name in selection.group_by)
            steps: dict[int, list[tuple[int, float]]] = {}
            for window_s, at, value in gauges:
                if edges[0] <= window_s < edges[-1]:
                    t = edges[bisect_right(edges, window_s) - 1]
                    steps.setdefault(t, []).append((at, value))
            for t, found in steps.items():
                cells.setdefault((group, t), []).append(found)
        return {cell: _row(gauges) for cell, gauges in cells.items()}


def _row(gauges: list[list[tuple[int, float]]]) -> GaugeRow:
    values = [value for gauges in gauges for _, value in gauges]
    return GaugeRow(
        len(values),
        sum(values) / len(values),
        min(values),
        max(values),
        max(gauges[0])[1] if len(gauges) == 1 else None,
        sum(_mean(value for _, value in gauges) for gauges in gauges),
    )


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return sum(found) / len(found)


def ask(store: Store, selection: GaugeSelection) -> Answer:
    """Return what a store answers, and fail if it is not of the form that was promised."""
    rows = store.read_gauges(selection)
    order = list(zip(rows.group.tolist(), rows.t.tolist(), strict=True))
    assert order == sorted(set(order)), "rows go by group and step, each once"
    assert len(set(rows.groups)) == len(rows.groups)
    columns = (rows.count, rows.mean, rows.min, rows.max, rows.last, rows.total)
    cells = zip(*(column.tolist() for column in columns), strict=True)
    answer: Answer = {}
    for (group, t), (count, mean, least, most, last, total) in zip(order, cells, strict=True):
        shown = None if math.isnan(last) else last
        answer[rows.groups[group], t] = GaugeRow(count, mean, least, most, shown, total)
    return answer


def check(answer: Answer, expected: Answer) -> None:
    """Fail unless an answer is the one expected; what is divided may differ in its last bits."""
    assert answer.keys() == expected.keys()
    for cell, row in answer.items():
        other = expected[cell]
        for name in ("mean", "total"):
            one, two = getattr(row, name), getattr(other, name)
            assert math.isclose(one, two, rel_tol=1e-12, abs_tol=1e-9), (cell, name, one, two)
        assert replace(row, mean=other.mean, total=other.total) == other, cell
