"""The levels of roll-up: each series, routes over all instances, services over all routes.

A question is answered from the highest level that still has the fields which it names. Version,
environment and status class are kept at every level.
"""

from collections.abc import Iterator
from dataclasses import replace
from operator import itemgetter
from typing import Final

from trimtab_collector.storage.columns import Array, Columns, series_of, times_of
from trimtab_collector.storage.merging import merge
from trimtab_collector.storage.store import Selection
from trimtab_core.batches import SeriesKey

__all__ = ["LEVELS", "above", "dropped_at", "level_of", "parent_of", "rolled_up"]

LEVELS: Final = 3
#: fields that are dropped at a level and above it
_DROPPED: Final = ((), ("instance",), ("instance", "route", "method"))
#: for each level: takes the fields that stay from the texts of a series and one empty text
_STAYING: Final = tuple(
    itemgetter(*(-1 if name in dropped else at for at, name in enumerate(SeriesKey._fields)))
    for dropped in _DROPPED
)


def level_of(selection: Selection) -> int:
    """Return the highest level that can answer."""
    named = {*selection.group_by, *selection.where}
    return max(level for level in range(LEVELS) if not named & {*_DROPPED[level]})


def dropped_at(level: int) -> tuple[str, ...]:
    """Return the fields of SeriesKey that are empty at a level and above it."""
    return _DROPPED[level]


def parent_of(key: SeriesKey, level: int) -> SeriesKey:
    """Return the roll-up that a series is part of at a level."""
    return SeriesKey._make(_STAYING[level]((*key, "")))


def rolled_up(columns: Columns, parents: Array, width_s: int = 1) -> Columns:
    """Return points under other series (parents[series]) and in windows of width_s, merged."""
    t = times_of(columns.key)
    key = (parents[series_of(columns.key)] << 32) | (t - t % width_s)
    return merge([replace(columns, key=key)])


def above(columns: Columns, parents: tuple[Array, ...]) -> Iterator[Columns]:
    """Yield the merged points at each level; parents are those of a Dictionary."""
    for level in range(LEVELS):
        columns = rolled_up(columns, parents[level]) if level else columns
        yield columns
