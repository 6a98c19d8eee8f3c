"""Adds up what a read finds: points and gauges, by group and step.

Shared by all engines, so that they answer the same: an engine finds points, these add them up.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

import numpy as np

from trimtab_collector.storage.columns import (
    Array,
    Columns,
    rekey,
    series_of,
    times_of,
    widened,
)
from trimtab_collector.storage.dictionary import Dictionary, Groups
from trimtab_collector.storage.gaugepoints import GaugeKey, GaugePoints
from trimtab_collector.storage.gaugepoints import merge as merge_gauges
from trimtab_collector.storage.merging import merge
from trimtab_collector.storage.store import (
    GaugeRows,
    GaugeSelection,
    Rows,
    Selection,
    TooMuchError,
)
from trimtab_core.gaugeowners import is_of_app

__all__ = ["GaugeSteps", "PointSteps"]

#: parts are merged once they hold this many buckets, or points of gauges
_GATHER: Final = 500_000
#: largest result of a read: buckets, and points of single gauges
_MOST_BUCKETS: Final = 20_000_000
_MOST_POINTS: Final = 5_000_000
_FIELDS: Final = GaugeKey._fields


class PointSteps:
    """The points that a selection wants, merged by group and step as they are added."""

    def __init__(self, selection: Selection) -> None:
        self.groups = Groups(selection.group_by, selection.where)
        self._edges = np.array(selection.edges_s)
        self._parts: list[Columns] = []
        self._size = 0

    def add_all(self, dictionary: Dictionary, parts: Iterable[Columns]) -> None:
        """Add points whose series numbers are those of a dictionary."""
        group = self.groups.of(dictionary)
        for part in parts:
            self.add(part, group)

    def add(self, part: Columns, group: Array) -> None:
        """Add the points of a part that are wanted, under their group and step.

        group has the group of each series of the part's dictionary, -1 for unwanted series.
        """
        if not len(group):
            return
        series = series_of(part.key)
        # Series that were added since group was made only have points that came later.
        places = np.where(series < len(group), group[np.minimum(series, len(group) - 1)], -1)
        t = times_of(part.key)
        keep = (places >= 0) & (t >= self._edges[0]) & (t < self._edges[-1])
        if not keep.any():
            return
        step = np.searchsorted(self._edges, t[keep], "right") - 1
        chosen = rekey(part, places[keep] * (len(self._edges) - 1) + step, keep)
        self._take(chosen)

    def add_rows(self, rows: Rows) -> None:
        """Add what another read of a part of the range came to, whose steps no edge here cuts."""
        numbers = np.array(self.groups.numbers(rows.groups), np.int64)
        step = np.searchsorted(self._edges, rows.t, "right") - 1
        self._take(replace(rows.columns, key=numbers[rows.group] * (len(self._edges) - 1) + step))

    def _take(self, chosen: Columns) -> None:
        self._parts.append(chosen)
        self._size += len(chosen.indexes)
        if self._size > _GATHER:
            self._parts = [merge(self._parts)]
            self._size = 0
            if len(self._parts[0].indexes) > _MOST_BUCKETS:
                raise TooMuchError(
                    f"the answer has over {_MOST_BUCKETS // 1_000_000} M buckets: ask for a "
                    "shorter range, longer steps, fewer groups or one service"
                )

    def rows(self, resolution_s: int) -> Rows:
        """Return what was added, by group and step."""
        columns = widened(merge(self._parts))
        steps = len(self._edges) - 1
        group = columns.key // steps
        t = self._edges[columns.key - group * steps]
        return Rows(self.groups.names(), group, t, columns, resolution_s)


class GaugeSteps:
    """The points of gauges that a selection wants, merged by gauge and step as they are added."""

    def __init__(self, selection: GaugeSelection) -> None:
        self._names = None if selection.names is None else frozenset(selection.names)
        self._where = [(_FIELDS.index(field), text) for field, text in selection.where.items()]
        self._by = [_FIELDS.index(field) for field in selection.group_by]
        self._edges = np.array(selection.edges_s, np.int64)
        self._numbers: dict[GaugeKey, int] = {}
        self._parts: list[GaugePoints] = []
        self._size = 0

    def numbers(self, keys: Iterable[tuple[int, GaugeKey]], size: int) -> Array:
        """Return for each number below size the gauge's number here, -1 for unwanted gauges."""
        numbers = np.full(size, -1, np.int64)
        for place, key in keys:
            if self._names is not None and key.name not in self._names:
                continue
            if key.service and not is_of_app(key.name):
                continue  # an earlier version stored what an app said of its host or agent
            if all(key[field] == text for field, text in self._where):
                numbers[place] = self._numbers.setdefault(key, len(self._numbers))
        return numbers

    def add(self, points: GaugePoints) -> None:
        """Add points of wanted gauges, under their step."""
        t = points.key & 0xFFFFFFFF
        keep = (t >= self._edges[0]) & (t < self._edges[-1])
        step = np.searchsorted(self._edges, t[keep], "right") - 1
        gauge = points.key[keep] >> 32
        self._parts.append(points.under(gauge * (len(self._edges) - 1) + step, keep))
        self._size += len(step)
        if self._size > _GATHER:
            self._parts = [merge_gauges(self._parts)]
            self._size = 0
            if len(self._parts[0].key) > _MOST_POINTS:
                raise TooMuchError(
                    f"the answer is made of over {_MOST_POINTS // 1_000_000} M points of single "
                    "gauges: ask for a shorter range, longer steps, fewer names or one service"
                )

    def rows(self, resolution_s: int) -> GaugeRows:
        """Return the points by group and step."""
        points = merge_gauges(self._parts)
        steps = len(self._edges) - 1
        number, step = points.key // steps, points.key % steps
        names = [tuple(key[field] for field in self._by) for key in self._numbers]
        used = {names[place] for place in np.unique(number).tolist()}
        groups = {name: place for place, name in enumerate(sorted(used))}
        group = np.array([groups.get(name, -1) for name in names], np.int64)
        cell = group[number] * steps + step
        order = np.argsort(cell, kind="stable")
        cell, points = cell[order], points.taken(order)
        first = np.flatnonzero(np.diff(cell, prepend=-1))
        if not len(first):
            none, whole = np.zeros(0), np.zeros(0, np.int64)
            return GaugeRows([], whole, whole, whole, none, none, none, none, none, resolution_s)
        count = np.add.reduceat(points.count, first)
        alone = np.diff(first, append=len(cell)) == 1
        return GaugeRows(
            list(groups),
            cell[first] // steps,
            self._edges[cell[first] % steps],
            count,
            np.add.reduceat(points.total, first) / count,
            np.minimum.reduceat(points.low, first),
            np.maximum.reduceat(points.high, first),
            np.where(alone, points.last[first], np.nan),
            np.add.reduceat(points.total / points.count, first),
            resolution_s,
        )
