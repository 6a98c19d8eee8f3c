"""A chunk: some thousand merged points of one tier, as zstd over narrow columns.

What can be told from the rest is left out or stored as the difference from it, which is small:

- a series as the step from the one before, a window as the step from that series' window before;
- `max_us` as its distance from the end of the highest bucket;
- `sum_us` as its distance from the sum that sketch and `max_us` give, which is 0 of one request;
- `errors` as none, all, or a number;
- `ttfb_us` as its distance from the series' own share of `sum_us` in this chunk, every other sum as
  that from requests times the series' own rate;
- the first slot of a point as the step from the first slot of the point before, the others as the
  distance from the slot to their left; counts less one.

Integers travel as byte planes (`planes`).
"""

from typing import Final

import numpy as np

from trimtab_collector.storage.columns import MIDDLES_US, VALUES, Array, Columns
from trimtab_collector.storage.planes import (
    MALFORMED,
    ChunkError,
    PlaneReader,
    PlaneWriter,
    begins_of,
    steps_of,
    unsteps,
    unzigzag,
    zigzag,
)
from trimtab_core.sketch import UPPER_US

__all__ = ["ChunkError", "decode_chunk", "encode_chunk"]

_MIDDLES: Final[Array] = np.rint(MIDDLES_US).astype(np.int64)
_UPPERS: Final[Array] = np.array(UPPER_US, np.int64)
#: sums that are told from requests; a new one is put at the end, places are numbers on disk
_SUMS: Final = tuple(name for name in VALUES if name not in ("errors", "sum_us", "max_us"))
#: sums that are told from sum_us, by a share in units of 2**-16
_SHARED: Final = frozenset({"ttfb_us"})
_SHARE: Final = 16
#: columns of a chunk by their number; `+ 2 * place` and the next are rate and distance of a sum
_SERIES, _T, _BUCKETS, _FIRST, _SLOTS, _COUNTS, _SUM, _MAX, _ERRORS, _SOME = range(10)
_RATES: Final = 32


def encode_chunk(columns: Columns, width_s: int) -> bytes:
    """Return the bytes of points in windows that are multiples of width_s.

    Points of a series lie together, their windows ascending. Raises ValueError without a point.
    """
    points = len(columns.key)
    if not points:
        raise ValueError("a chunk has at least one point")
    writer = PlaneWriter()
    series, t = columns.key >> 32, (columns.key & 0xFFFFFFFF) // width_s
    new = begins_of(series)
    start = int(t.min())
    writer.put(_SERIES, zigzag(np.diff(series, prepend=0)))
    writer.put(_T, steps_of(t - start, new))
    buckets = columns.buckets.astype(np.int64)
    slots = columns.slots.astype(np.int64)
    counts = columns.counts.astype(np.int64)
    ends = np.cumsum(buckets)
    filled = np.flatnonzero(buckets)
    begins = (ends - buckets)[filled]
    writer.put(_BUCKETS, buckets)
    first = slots[begins]
    writer.put(_FIRST, zigzag(np.diff(first, prepend=0)))
    inner = np.ones(len(slots), bool)
    inner[begins] = False
    writer.put(_SLOTS, (np.diff(slots, prepend=0) - 1)[inner])
    writer.put(_COUNTS, counts - 1)
    requests, others, upper = _told(buckets, filled, ends, slots, counts)
    most, sums = (columns.value(name).astype(np.int64) for name in ("max_us", "sum_us"))
    writer.put(_MAX, zigzag(upper - most))
    writer.put(_SUM, zigzag(sums - others - most))
    errors = columns.value("errors").astype(np.int64)
    if errors.any():
        kind = np.where(errors == 0, 0, np.where(errors == requests, 1, 2))
        writer.put(_ERRORS, kind)
        writer.put(_SOME, errors[kind == 2])
    run, begin = np.cumsum(new) - 1, np.flatnonzero(new)
    for place, name in enumerate(_SUMS):
        column = columns.values.get(name)
        if column is None or not column.any():
            continue
        column = column.astype(np.int64)
        base, scale = (sums, _SHARE) if name in _SHARED else (requests, 0)
        total = np.maximum(1.0, np.add.reduceat(base.astype(np.float64), begin))
        parts = np.add.reduceat(column.astype(np.float64), begin) * (1 << scale) // total
        rate = np.minimum(parts, 2.0**40).astype(np.int64)
        writer.put(_RATES + 2 * place, rate)
        writer.put(_RATES + 2 * place + 1, zigzag(column - (rate[run] * base >> scale)))
    return writer.finish(width_s, points, len(slots), start)


def decode_chunk(data: bytes) -> Columns:
    """Return the points of a chunk; raises ChunkError when it is damaged."""
    try:
        return _decode(data)
    except MALFORMED as error:
        raise ChunkError(f"expected a chunk, got {type(error).__name__}: {error!s:.100}") from error


def _decode(data: bytes) -> Columns:
    reader = PlaneReader(data)
    points, width_s = reader.points, reader.width_s
    series = np.cumsum(unzigzag(reader.take(_SERIES, points)))
    new = begins_of(series)
    steps = reader.take(_T, points)
    t = (unsteps(steps, new) + reader.start) * width_s
    buckets = reader.take(_BUCKETS, points)
    ends = np.cumsum(buckets)
    if int(ends[-1]) != reader.buckets:
        raise ChunkError(f"expected {reader.buckets} buckets, got {int(ends[-1])}")
    filled = np.flatnonzero(buckets)
    begins = (ends - buckets)[filled]
    first = np.cumsum(unzigzag(reader.take(_FIRST, len(filled))))
    slots = np.ones(reader.buckets, np.int64)
    inner = np.ones(reader.buckets, bool)
    inner[begins] = False
    slots[inner] += reader.take(_SLOTS, reader.buckets - len(filled))
    # Each point's first slot as the step from the last slot before it: one running sum for all.
    slots[begins] = 0
    running = np.cumsum(slots)
    slots = running + np.repeat(first - running[begins], buckets[filled])
    counts = reader.take(_COUNTS, reader.buckets) + 1
    requests, others, upper = _told(buckets, filled, ends, slots, counts)
    most = upper - unzigzag(reader.take(_MAX, points))
    sums = unzigzag(reader.take(_SUM, points)) + others + most
    values: dict[str, Array] = {"requests": requests, "sum_us": sums, "max_us": most}
    if reader.has(_ERRORS):
        kind = reader.take(_ERRORS, points)
        errors = np.where(kind == 1, requests, 0)
        some = kind == 2
        errors[some] = reader.take(_SOME, int(np.count_nonzero(some)))
        values["errors"] = errors
    run = np.cumsum(new) - 1
    for place, name in enumerate(_SUMS):
        if reader.has(_RATES + 2 * place):
            rate = reader.take(_RATES + 2 * place, int(run[-1]) + 1)
            distance = unzigzag(reader.take(_RATES + 2 * place + 1, points))
            base, scale = (sums, _SHARE) if name in _SHARED else (requests, 0)
            values[name] = distance + (rate[run] * base >> scale)
    return Columns((series << 32) | t, values, buckets, slots.astype(np.uint16), counts)


def _told(
    buckets: Array, filled: Array, ends: Array, slots: Array, counts: Array
) -> tuple[Array, Array, Array]:
    """Return what sketches tell of each point.

    Its requests, the sum of all but the longest of them, the end of the bucket of that one.
    """
    requests, others, upper = (np.zeros(len(buckets), np.int64) for _ in range(3))
    if len(filled):
        begins, top = (ends - buckets)[filled], slots[ends[filled] - 1]
        requests[filled] = np.add.reduceat(counts, begins)
        others[filled] = np.add.reduceat(counts * _MIDDLES[slots], begins) - _MIDDLES[top]
        upper[filled] = _UPPERS[top]
    return requests, others, upper
