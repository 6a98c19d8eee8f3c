"""Steps of one rule that follow each other, held against its lines all at once.

What a preview needs to know before it judges them: where a line is crossed, and where any series
comes to stand differently to the lines than in the step before.
"""

from bisect import bisect_left
from collections.abc import Collection, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from trimtab_collector.alerts.rules import Rule
from trimtab_collector.alerts.values import RuleValues, Values
from trimtab_collector.storage.columns import Array

__all__ = ["Stretch", "ValueTable"]


class ValueTable(NamedTuple):
    """Values by group and step; groups are the texts of fields."""

    fields: tuple[str, ...]
    groups: list[tuple[str, ...]]
    #: row by row: the place of its group, its step, its value (nan where there is none), and how
    #: many requests that is made of; without weights, no floor applies
    group: Array
    step: Array
    value: Array
    weight: Array | None

    def at(self, step: int) -> Values:
        """Return the values of one step, for any rule."""
        places = np.flatnonzero(self.step == step)
        groups = [self.groups[place] for place in self.group[places].tolist()]
        weight = None if self.weight is None else self.weight[places]
        return Values(self.fields, groups, self.value[places], weight)


class _Rows(NamedTuple):
    """Values that may be judged, by step."""

    group: Array
    step: Array
    value: Array
    #: how each stands to the lines of the rule: the same number, the same side of all of them
    standing: Array
    crossed: Array


class Stretch:
    """The steps that end at ends_s; places are those of ends_s.

    watched: series that have an alert by now. Others that cross no line here are left out, unless
    the rule wants to know of their absence.
    """

    def __init__(
        self,
        rule: Rule,
        table: ValueTable,
        ends_s: Sequence[int],
        watched: Collection[tuple[str, ...]] = (),
    ) -> None:
        """Take what was read for this rule: all of it is of series that its filter matches."""
        self.ends_s = ends_s
        within = (table.step >= 0) & (table.step < len(ends_s))
        self.series = {table.groups[place] for place in np.unique(table.group[within]).tolist()}
        #: how many steps have data, be it too little to be judged
        self.with_data = len(np.unique(table.step[within]))
        positions = [table.fields.index(name) for name in rule.group_by]
        labels = [tuple(group[at] for at in positions) for group in table.groups]
        rows = _rows(rule, table, within)
        wanted = np.array([rule.no_data == "alert" or each in watched for each in labels], bool)
        wanted[rows.group[rows.crossed]] = True
        kept = wanted[rows.group]
        self._rows = rows = _Rows(*(column[kept] for column in rows))
        self._labels = [labels[place] for place in rows.group.tolist()]
        self._values: list[float] = rows.value.tolist()
        self._crossed: list[bool] = rows.crossed.tolist()
        self._begins = np.searchsorted(rows.step, np.arange(len(ends_s) + 1)).tolist()
        self._crossings = np.unique(rows.step[rows.crossed]).tolist()
        self._by_series = np.argsort(rows.group, kind="stable")
        self._moves = self._moved()
        begins = np.searchsorted(rows.group[self._by_series], np.arange(len(labels) + 1)).tolist()
        self._runs = dict(zip(labels, pairwise(begins), strict=True))

    def at(self, place: int) -> RuleValues:
        """Return the values of one step."""
        low, high = self._begins[place : place + 2]
        labels, values = self._labels[low:high], self._values[low:high]
        found = zip(labels, values, self._crossed[low:high], strict=True)
        crossing = [(name, value) for name, value, crossed in found if crossed]
        return RuleValues(dict(zip(labels, values, strict=True)), crossing)

    def values_of(self, labels: tuple[str, ...], low: int, high: int) -> list[float]:
        """Return the values of a series that has an alert, from one place up to another."""
        places = self._by_series[slice(*self._runs.get(labels, (0, 0)))]
        begin, end = np.searchsorted(self._rows.step[places], (low, high))
        values: list[float] = self._rows.value[places[begin:end]].tolist()
        return values

    def crossing_from(self, place: int) -> int:
        """Return the first place from this one on where a line is crossed, else the end."""
        return self._first(self._crossings, place)

    def moved_from(self, place: int) -> int:
        """Return the first place from this one on that differs from the one before, else the end.

        It differs when a series has a value there and had none before, or the other way round, or
        is on another side of a line.
        """
        return self._first(self._moves, place)

    def _first(self, places: Sequence[int], place: int) -> int:
        at = bisect_left(places, place)
        return places[at] if at < len(places) else len(self.ends_s)

    def _moved(self) -> list[int]:
        group, step, standing = (
            column[self._by_series]
            for column in (self._rows.group, self._rows.step, self._rows.standing)
        )
        same = (np.diff(group) == 0) & (np.diff(step) == 1) & (np.diff(standing) == 0)
        begins, ends = np.ones(len(step), bool), np.ones(len(step), bool)
        begins[1:], ends[:-1] = ~same, ~same
        moved: list[int] = np.unique(np.concatenate([step[begins], step[ends] + 1])).tolist()
        return moved


def _rows(rule: Rule, table: ValueTable, within: Array) -> _Rows:
    """Return what may be judged, step by step in the order of the table."""
    value = table.value
    known = within & ~np.isnan(value)
    if table.weight is not None:
        known &= table.weight >= rule.min_requests
    order = np.flatnonzero(known)
    order = order[np.argsort(table.step[order], kind="stable")]
    value = value[order].astype(np.float64, copy=False)
    standing = rule.lasting(value).astype(np.int64)
    for level in rule.levels:
        standing |= rule.crossed(value, level).astype(np.int64) << level
    crossed = rule.crossed(value, rule.lowest)
    return _Rows(table.group[order], table.step[order], value, standing, crossed)
