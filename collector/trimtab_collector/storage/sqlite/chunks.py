"""A chunk: up to some thousand merged points of one tier, as compressed byte planes (`planes`).

A value that follows from others is left out; one that nearly does is stored as the difference from
what they predict, which is small:

- a series number as the difference from the one before, a window as the difference from the window
  before of the same series;
- `max_us` as its distance from the upper bound of the highest bucket;
- `sum_us` as its distance from the sum that sketch and `max_us` predict (0 for a single request);
- `errors` as none, all, or a number;
- `ttfb_us` as its distance from the share of `sum_us` that the series has in this chunk, every
  other sum as its distance from requests times the rate of the series;
- the first bucket of a point as the difference from the first bucket of the point before, each
  further bucket as the distance from the bucket before; counts minus one;
- a status code as the difference from the one before it; in place of the last count of a point, the
  requests whose code is unknown, which are few or none.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from trimtab_collector.storage.columns import MIDDLES_US, VALUES, Array, Columns
from trimtab_collector.storage.sqlite.planes import (
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
from trimtab_collector.storage.statuses import Statuses
from trimtab_core.sketch import UPPER_US

__all__ = ["ChunkError", "decode_chunk", "decode_chunks", "encode_chunk"]

_MIDDLES: Final[Array] = np.rint(MIDDLES_US).astype(np.int64)
_UPPERS: Final[Array] = np.array(UPPER_US, np.int64)
#: sums predicted from requests; add a new one at the end, because places are numbers on disk
_SUMS: Final = tuple(name for name in VALUES if name not in ("errors", "sum_us", "max_us"))
#: sums predicted from sum_us, by a share in units of 2**-16
_SHARED: Final = frozenset({"ttfb_us"})
_SHARE: Final = 16
#: columns of a chunk by their number; a sum has its rate in `_RATES + 2 * place`, its distance next
_SERIES, _T, _BUCKETS, _FIRST, _INDEXES, _COUNTS, _SUM, _MAX, _ERRORS, _SOME = range(10)
#: they stand behind all others, where earlier versions do not look
_STATUSES, _CODES, _CODE_COUNTS = range(10, 13)
_RATES: Final = 32


def encode_chunk(columns: Columns, width_s: int) -> bytes:
    """Return points as a chunk; their windows must be multiples of width_s.

    The points of a series must be adjacent, in ascending order of window. Raises ValueError if
    there are none.
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
    indexes = columns.indexes.astype(np.int64)
    counts = columns.counts.astype(np.int64)
    ends = np.cumsum(buckets)
    filled = np.flatnonzero(buckets)
    begins = (ends - buckets)[filled]
    writer.put(_BUCKETS, buckets)
    first = indexes[begins]
    writer.put(_FIRST, zigzag(np.diff(first, prepend=0)))
    inner = np.ones(len(indexes), bool)
    inner[begins] = False
    writer.put(_INDEXES, (np.diff(indexes, prepend=0) - 1)[inner])
    writer.put(_COUNTS, counts - 1)
    requests, others, upper = _told(buckets, filled, ends, indexes, counts)
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
    if columns.statuses is not None:
        _put_statuses(writer, columns.statuses, requests)
    return writer.finish(width_s, points, len(indexes), start)


def _put_statuses(writer: PlaneWriter, statuses: Statuses, requests: Array) -> None:
    sizes, counts = (array.astype(np.int64) for array in (statuses.sizes, statuses.counts))
    if not len(counts):
        return
    writer.put(_STATUSES, sizes)
    writer.put(_CODES, zigzag(np.diff(statuses.codes.astype(np.int64), prepend=0)))
    last, filled = _last_of(sizes)
    unknown = requests[filled] - np.add.reduceat(counts, last - sizes[filled] + 1)
    counts[last] = unknown
    writer.put(_CODE_COUNTS, counts)


def _last_of(sizes: Array) -> tuple[Array, Array]:
    """Return the place of the last code of each point with codes, and the places of these."""
    filled = np.flatnonzero(sizes)
    return np.cumsum(sizes)[filled] - 1, filled


def decode_chunk(data: bytes) -> Columns:
    """Return the points of a chunk; raises ChunkError when it is damaged."""
    return decode_chunks([data])


def decode_chunks(chunks: Sequence[bytes]) -> Columns:
    """Return the points of chunks, chunk by chunk; raises ChunkError if one is damaged.

    Decoding many chunks at once is faster, as the fixed cost of a chunk exceeds that of its points.
    """
    try:
        return _decode([PlaneReader(data) for data in chunks])
    except MALFORMED as error:
        raise ChunkError(f"expected a chunk, got {type(error).__name__}: {error!s:.100}") from error


def _decode(readers: Sequence[PlaneReader]) -> Columns:
    points = np.array([reader.points for reader in readers])
    starts = np.cumsum(points) - points
    sizes = points.tolist()
    series = _restarted(unzigzag(_take(readers, _SERIES, sizes)), starts, points)
    new = begins_of(series)
    new[starts] = True
    t = unsteps(_take(readers, _T, sizes), new)
    t += np.repeat([reader.start for reader in readers], points)
    t *= np.repeat([reader.width_s for reader in readers], points)
    buckets = _take(readers, _BUCKETS, sizes)
    ends = np.cumsum(buckets)
    totals = np.add.reduceat(buckets, starts)
    if totals.tolist() != [reader.buckets for reader in readers]:
        raise ChunkError("expected as many buckets as a chunk says, got others")
    filled = np.flatnonzero(buckets)
    filled_in = np.add.reduceat(buckets > 0, starts, dtype=np.int64)
    begins = (ends - buckets)[filled]
    first = unzigzag(_take(readers, _FIRST, filled_in.tolist()))
    some = np.flatnonzero(filled_in)
    first_starts = (np.cumsum(filled_in) - filled_in)[some]
    first = _restarted(first, first_starts, filled_in[some])
    steps = _take(readers, _INDEXES, (totals - filled_in).tolist())
    indexes = _indexes(steps, first, begins, buckets[filled], int(ends[-1]))
    counts = _take(readers, _COUNTS, totals.tolist()) + 1
    requests, others, upper = _told(buckets, filled, ends, indexes, counts)
    most = upper - unzigzag(_take(readers, _MAX, sizes))
    sums = unzigzag(_take(readers, _SUM, sizes)) + others + most
    values: dict[str, Array] = {"requests": requests, "sum_us": sums, "max_us": most}
    if any(reader.has(_ERRORS) for reader in readers):
        kind = _take(readers, _ERRORS, sizes)
        errors = np.where(kind == 1, requests, 0)
        explicit = np.add.reduceat(kind == 2, starts, dtype=np.int64)
        errors[kind == 2] = _take(readers, _SOME, explicit.tolist())
        values["errors"] = errors
    run = np.cumsum(new) - 1
    runs = np.add.reduceat(new, starts, dtype=np.int64).tolist()
    for place, name in enumerate(_SUMS):
        if any(reader.has(_RATES + 2 * place) for reader in readers):
            rate = _take(readers, _RATES + 2 * place, runs)
            distance = unzigzag(_take(readers, _RATES + 2 * place + 1, sizes))
            base, scale = (sums, _SHARE) if name in _SHARED else (requests, 0)
            values[name] = distance + (rate[run] * base >> scale)
    statuses = _statuses(readers, sizes, starts, requests)
    key, indexes = (series << 32) | t, indexes.astype(np.uint16)
    return Columns(key, values, buckets, indexes, counts, statuses)


def _statuses(
    readers: Sequence[PlaneReader], points: Sequence[int], starts: Array, requests: Array
) -> Statuses | None:
    if not any(reader.has(_STATUSES) for reader in readers):
        return None
    sizes = _take(readers, _STATUSES, points)
    totals = np.add.reduceat(sizes, starts)
    codes = unzigzag(_take(readers, _CODES, totals.tolist()))
    some = np.flatnonzero(totals)
    codes = _restarted(codes, (np.cumsum(totals) - totals)[some], totals[some])
    counts = _take(readers, _CODE_COUNTS, totals.tolist())
    if len(counts) == len(sizes) and (sizes == 1).all():
        counts = requests - counts
    else:
        last, filled = _last_of(sizes)
        sums = np.add.reduceat(counts, last - sizes[filled] + 1)
        counts = counts.copy()
        counts[last] = requests[filled] - sums
    return Statuses(sizes, codes.astype(np.uint16), counts)


def _take(readers: Sequence[PlaneReader], column: int, sizes: Sequence[int]) -> Array:
    """Return a column of all chunks as int64, with zeros for chunks that do not have it."""
    arrays = [reader.raw(column, size) for reader, size in zip(readers, sizes, strict=True)]
    joined = np.concatenate(arrays) if len(arrays) > 1 else arrays[0]
    return joined.astype(np.int64, copy=False)


def _restarted(steps: Array, starts: Array, sizes: Array) -> Array:
    """Return running sums that start again at each of starts."""
    running = np.cumsum(steps)
    running -= np.repeat(running[starts] - steps[starts], sizes)
    return running


def _indexes(steps: Array, first: Array, begins: Array, buckets: Array, total: int) -> Array:
    """Return bucket indexes, from the first of each point and the steps between them, minus one."""
    indexes = np.ones(total, np.int64)
    inner = np.ones(total, bool)
    inner[begins] = False
    indexes[inner] += steps
    indexes[begins] = 0
    indexes = np.cumsum(indexes)
    indexes += np.repeat(first - indexes[begins], buckets)
    return indexes


def _told(
    buckets: Array, filled: Array, ends: Array, indexes: Array, counts: Array
) -> tuple[Array, Array, Array]:
    """Return what the sketch of each point says about it.

    That is its number of requests, the sum of all but the longest one, and the upper bound of the
    longest one's bucket.
    """
    requests, others, upper = (np.zeros(len(buckets), np.int64) for _ in range(3))
    if len(filled):
        begins, top = (ends - buckets)[filled], indexes[ends[filled] - 1]
        requests[filled] = np.add.reduceat(counts, begins)
        others[filled] = np.add.reduceat(counts * _MIDDLES[indexes], begins) - _MIDDLES[top]
        upper[filled] = _UPPERS[top]
    return requests, others, upper
