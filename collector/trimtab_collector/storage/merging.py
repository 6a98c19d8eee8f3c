"""Adds up points of many parts: one point per key.

Everything that is read, rolled up or compacted passes through `merge`. It sorts points, never
buckets. Each key has a run of cells from its lowest bucket to its highest, and all runs are in one
array, so that adding is one pass over the buckets (`bincount`), and reading back one pass over the
cells. A key usually has about a hundred cells, and at most `BUCKETS`.
"""

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from trimtab_collector.storage.columns import VALUES, Array, Columns, nothing, part_of
from trimtab_collector.storage.statuses import added, joined
from trimtab_core.sketch import BUCKETS

__all__ = ["merge", "merged_in_parts"]

_NAMES: Final = ("requests", *VALUES)
_MOST: Final = 2**63 - 1
#: sums are capped here, far enough below 2**63 that none wraps around
_CAP: Final = 2.0**62


def merge(parts: Sequence[Columns]) -> Columns:
    """Return the sum of parts: one point per key, keys in ascending order.

    Exact in any order: counts and sums are added as integers (a sum beyond 2**62 is capped), and
    max_us is the largest.
    """
    parts = [part for part in parts if len(part.key)]
    if not parts:
        return nothing()
    key = _joined([part.key for part in parts])
    steps = np.diff(key)
    if len(parts) == 1 and (steps > 0).all():
        return parts[0]
    order = None if (steps >= 0).all() else _order(key)
    key = key if order is None else key[order]
    new = np.empty(len(key), bool)
    new[0] = True
    np.not_equal(key[1:], key[:-1], out=new[1:])
    first = np.flatnonzero(new)
    values = {
        name: _added(name, parts, order, first)
        for name in _NAMES
        if any(name in part.values for part in parts)
    }
    buckets = _joined([part.buckets for part in parts]).astype(np.int64)
    indexes = _joined([part.indexes for part in parts])
    counts = _joined([part.counts for part in parts])
    statuses = joined([(part.statuses, len(part.key)) for part in parts])
    if len(first) == len(key):
        if order is not None:
            buckets, indexes, counts = _reordered(order, buckets, indexes, counts)
            statuses = None if statuses is None else statuses.taken(order)
        return Columns(key, values, buckets, indexes, counts, statuses)
    row = np.cumsum(new) - 1
    if order is not None:
        place = np.empty(len(key), np.int64)
        place[order] = row
        row = place
    sketches = _sketches(row, order, first, buckets, indexes, counts)
    statuses = None if statuses is None else added(statuses, row, len(first))
    return Columns(key[first], values, *sketches, statuses)


def merged_in_parts(parts: Sequence[Columns], buckets: int) -> Iterator[Columns]:
    """Yield the result of merge in runs of keys with about `buckets` input buckets each.

    Each part must have its keys in order. Only one range at a time is in memory.
    """
    parts = [part for part in parts if len(part.key)]
    if not parts:
        return
    stretches = 1 + sum(len(part.indexes) for part in parts) // buckets
    largest = max(parts, key=lambda part: len(part.key)).key
    borders = largest[np.arange(1, stretches) * len(largest) // stretches]
    ends = [np.cumsum(part.buckets, dtype=np.int64) for part in parts]
    places = [np.searchsorted(part.key, borders) for part in parts]
    begins = [0] * len(parts)
    for stretch in range(stretches):
        some = []
        for number, part in enumerate(parts):
            last = stretch + 1 == stretches
            end = len(part.key) if last else int(places[number][stretch])
            if end > begins[number]:
                some.append(part_of(part, ends[number], begins[number], end))
                begins[number] = end
        if some:
            yield merge(some)


def _order(key: Array) -> Array:
    least = int(key.min())
    if int(key.max()) - least < 1 << 16:
        # With 16 bits this is a radix sort, which takes a quarter of the time.
        return np.argsort((key - least).astype(np.uint16), kind="stable")
    # Each part is sorted already: a stable sort only merges them.
    return np.argsort(key, kind="stable")


def _joined(arrays: Sequence[Array]) -> Array:
    return np.concatenate(arrays) if len(arrays) > 1 else arrays[0]


def _added(name: str, parts: Sequence[Columns], order: Array | None, first: Array) -> Array:
    """Return a column with the values of equal keys added; first is where each key begins."""
    column = _joined([part.value(name) for part in parts])
    if column.dtype == np.uint64:
        column = column.astype(np.int64)  # at most 2**53
    if order is not None:
        column = column[order]
    if len(first) == len(column):
        return column
    if name == "max_us":
        return np.maximum.reduceat(column, first)
    if column.dtype == np.int64 and int(column.max()) > _MOST // len(column):
        about = np.add.reduceat(column.astype(np.float64), first)
        if about.max() >= _CAP:
            return np.minimum(about, _CAP).astype(np.int64)
    return np.add.reduceat(column, first, dtype=np.int64)


def _reordered(
    order: Array, buckets: Array, indexes: Array, counts: Array
) -> tuple[Array, Array, Array]:
    """Return the buckets of points in another order of points."""
    begins = np.cumsum(buckets) - buckets
    buckets, begins = buckets[order], begins[order]
    place = np.repeat(begins - (np.cumsum(buckets) - buckets), buckets)
    place += np.arange(len(indexes))
    return buckets, indexes[place], counts[place]


def _sketches(
    row: Array, order: Array | None, first: Array, buckets: Array, indexes: Array, counts: Array
) -> tuple[Array, Array, Array]:
    """Return the buckets of rows; row is the row of each point, first its place in order."""
    rows = len(first)
    ends = np.cumsum(buckets)
    filled = np.flatnonzero(buckets)
    low = np.full(len(buckets), BUCKETS, np.int64)
    high = np.full(len(buckets), -1, np.int64)
    low[filled] = indexes[ends[filled] - buckets[filled]]
    high[filled] = indexes[ends[filled] - 1]
    if order is not None:
        low, high = low[order], high[order]
    low, high = np.minimum.reduceat(low, first), np.maximum.reduceat(high, first)
    span = np.maximum(high - low + 1, 0)
    base = np.cumsum(span) - span - low
    cell = np.repeat(base[row], buckets)
    cell += indexes
    # float64 within, exact to 2**53
    dense = np.bincount(cell, counts, minlength=int(span.sum()))
    cell = np.flatnonzero(dense != 0)
    owner = np.repeat(np.arange(rows), span)[cell]
    return (
        np.bincount(owner, minlength=rows),
        (cell - base[owner]).astype(np.uint16),
        dense[cell].astype(np.int64),
    )
