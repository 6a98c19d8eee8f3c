"""Requests by time and duration: sketches joined to coarser buckets, exactly.

At scale s a doubling is cut into 2**s buckets. Halving the scale joins neighbouring buckets of the
sketch, as in OpenTelemetry's exponential histogram (data model, "Exponential Scale"), so that every
count is exact at every scale. The zero bucket stays one of its own.
"""

from typing import Final, NamedTuple

import numpy as np

from trimtab_collector.contract.heatmap import BUCKETS, COARSEST, FINEST, Heatmap
from trimtab_collector.contract.parameters import Parameters
from trimtab_collector.reads.reader import StoreReader
from trimtab_collector.storage.columns import Array, Columns
from trimtab_core.sketch import BUCKET_OFFSET, SCALE

__all__ = ["Heat", "heat", "heatmap"]

#: most columns of one answer
_COLUMNS: Final = 500


class Heat(NamedTuple):
    """Counts of n points in m buckets, from the shortest to the longest non-empty one."""

    scale: int
    #: float64 (m,), seconds: a bucket is (lower, upper]; both are 0 for the zero bucket
    lower: Array
    upper: Array
    #: int64 (n, m)
    counts: Array


def heat(columns: Columns, scale: int, most: int) -> Heat:
    """Return the buckets of points at the finest scale, up to `scale`, with at most `most` buckets.

    Scales are SCALE to COARSEST, and at that one there may be more. Buckets are contiguous but for
    the zero bucket, which stands first if it is non-empty.
    """
    owner = np.repeat(np.arange(len(columns.key)), columns.buckets)
    indexes = columns.indexes.astype(np.int64)
    zero = indexes == 0
    index = indexes[~zero] - BUCKET_OFFSET
    first = int(bool(zero.any()))
    low, high = (int(index.min()), int(index.max())) if len(index) else (0, -1)
    while True:
        shift = SCALE - scale
        base = low >> shift
        width = (high >> shift) - base + 1 if len(index) else 0
        if first + width <= most or scale <= COARSEST:
            break
        scale -= 1
    place = np.zeros(len(indexes), np.int64)
    place[~zero] = (index >> shift) - base + first
    counts = np.zeros((len(columns.key), first + width), np.int64)
    np.add.at(counts, (owner, place), columns.counts.astype(np.int64))
    edges = 2.0 ** (np.arange(base, base + width + 1) / 2.0**scale)
    nothing = np.zeros(first)
    return Heat(
        scale,
        np.concatenate([nothing, edges[:-1]]),
        np.concatenate([nothing, edges[1:]]),
        counts,
    )


def heatmap(reader: StoreReader, parameters: Parameters) -> Heatmap:
    """Return a column for each step with requests, and a row for each bucket."""
    time_range = reader.ranges.stepped(parameters, _COLUMNS)
    rows = reader.rows(time_range)
    found = heat(rows.columns, int(parameters[FINEST]), parameters[BUCKETS])
    filled = np.flatnonzero(found.counts.any(axis=1))
    edges = np.array(time_range.selection.edges_s)
    start = rows.t[filled]
    end = edges[np.searchsorted(edges, start, "right")]
    return Heatmap(
        **time_range.resolved(rows.resolution_s),
        step=time_range.step,
        scale=found.scale,
        requests=int(found.counts.sum()),
        lower=(1000 * found.lower).tolist(),
        upper=(1000 * found.upper).tolist(),
        times=[parameters.shown(t) for t in start.tolist()],
        ends=[parameters.shown(t) for t in end.tolist()],
        counts=found.counts[filled].tolist(),
    )
