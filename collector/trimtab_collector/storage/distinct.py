"""Batches in which each series has one point: they cost readers by their series, whoever sent them.

A few kB can repeat one series thousands of times, each time with a full sketch. Agents send a
series once, but several may become one: those over a quota are all the route `other`, and names
that differ in what is cleaned are one name. So points of one series are added up, and the batch is
packed again, before anything of it is kept.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from trimtab_collector.storage.catalogue import names_of, rows_of
from trimtab_collector.storage.columns import (
    VALUES,
    Array,
    Columns,
    columns_of_batch,
    series_index,
    series_of,
)
from trimtab_collector.storage.merging import merge
from trimtab_core.batches import Batch, SeriesKey, pack_series
from trimtab_core.columns import BUCKET_COLUMNS, ITEM_SIZES, STATUS_COLUMNS, Column

__all__ = ["DistinctSeries"]

#: series binaries, and those with the places of points, that are known to have each series once
_KNOWN: Final = 8192


class DistinctSeries:
    """Adds up the points of a series that a batch repeats; any thread.

    A batch like one before costs a hash of its series and of the places of its points.
    """

    def __init__(self) -> None:
        self._known: set[int] = set()

    def once(self, batch: Batch) -> Batch:
        """Return a batch with one point for each series, the same object if it was one.

        Raises BatchError as `columns_of_batch` does, also for points that add up to more than one
        point may hold.
        """
        if batch.points < 2:
            return batch
        whole = hash((batch.series, batch.columns.get("series")))
        if whole in self._known:
            return batch
        index = series_index(batch)
        is_ascending = bool((index[1:] > index[:-1]).all())
        mark = hash(batch.series)
        if is_ascending and (mark in self._known or names_of(batch.series).are_distinct):
            self._know(mark)
            self._know(whole)
            return batch
        rows = rows_of(batch.series)
        numbers: dict[tuple[str, ...], int] = {}
        ids = np.array([numbers.setdefault(row, len(numbers)) for row in rows], np.int64)
        if len(numbers) == len(rows):
            self._know(mark)
        columns = columns_of_batch(batch, ids, 0)
        merged = merge([columns])
        return batch if len(merged.key) == len(columns.key) else _packed(batch, merged, [*numbers])

    def _know(self, mark: int) -> None:
        if len(self._known) >= _KNOWN:
            self._known.clear()
        self._known.add(mark)


def _packed(batch: Batch, points: Columns, rows: Sequence[tuple[str, ...]]) -> Batch:
    """Return a batch with other points; their series numbers are places in rows."""
    statuses = points.statuses
    arrays = {
        "series": series_of(points.key),
        **{name: points.values[name] for name in VALUES if name in points.values},
        "buckets": points.buckets,
        **dict(zip(BUCKET_COLUMNS, (_steps(points), points.counts), strict=True)),
        **(dict(zip(STATUS_COLUMNS, statuses, strict=True)) if statuses is not None else {}),
    }
    return replace(
        batch,
        series=pack_series(SeriesKey(*row) for row in rows),
        points=len(points.key),
        columns={name: _column(array) for name, array in arrays.items() if array.any()},
    )


def _steps(points: Columns) -> Array:
    """Return bucket indexes as they travel: the first of a point, then distances."""
    steps = points.indexes.astype(np.int64)
    steps[1:] -= points.indexes[:-1]
    begins = (np.cumsum(points.buckets) - points.buckets)[points.buckets > 0]
    steps[begins] = points.indexes[begins]
    return steps


def _column(array: Array) -> Column:
    most = int(array.max())
    kind = next(kind for kind, size in ITEM_SIZES.items() if most < 1 << 8 * size)
    return Column(kind, array.astype(f"<u{ITEM_SIZES[kind]}").tobytes())
