"""A chunk of gauges: up to some thousand points of gauges of one tier, as compressed byte planes.

A float is stored as the integer that has the same order, so that close values are close integers:

- a gauge as the difference from the one before, a window as the difference from the window before
  of the same gauge;
- `last` as the difference from the point before: 0 for a gauge that does not change;
- `low` and `high` as their distance from `last`, `total` as its distance from count times `last`;
  none of the three for a window with one value, where all are the same;
- the time of the last value as its distance from the end of the window.
"""

from typing import Final

import numpy as np

from trimtab_collector.storage.columns import Array
from trimtab_collector.storage.gaugepoints import GaugePoints
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

__all__ = ["decode_gauges", "encode_gauges"]

#: columns by their number; chunks of requests use other numbers
_GAUGE, _T, _COUNT, _AT, _LAST, _LOW, _HIGH, _TOTAL = range(16, 24)


def encode_gauges(points: GaugePoints, width_s: int) -> bytes:
    """Return points as a chunk; their windows must be multiples of width_s.

    The points of a gauge must be adjacent, in ascending order of window. Raises ValueError if there
    are none.
    """
    if not len(points.key):
        raise ValueError("a chunk has at least one point")
    writer = PlaneWriter()
    gauge, t = points.key >> 32, (points.key & 0xFFFFFFFF) // width_s
    start = int(t.min())
    many = points.count > 1
    last = _whole(points.last)
    writer.put(_GAUGE, zigzag(np.diff(gauge, prepend=0)))
    writer.put(_T, steps_of(t - start, begins_of(gauge)))
    writer.put(_COUNT, points.count - 1)
    writer.put(_AT, zigzag((t + 1) * width_s - points.at))
    writer.put(_LAST, zigzag(np.diff(last, prepend=0)))
    if many.any():
        writer.put(_LOW, (last - _whole(points.low))[many])
        writer.put(_HIGH, (_whole(points.high) - last)[many])
        told = _whole(points.count * points.last)
        writer.put(_TOTAL, zigzag(_whole(points.total) - told)[many])
    return writer.finish(width_s, len(gauge), int(np.count_nonzero(many)), start)


def decode_gauges(data: bytes) -> GaugePoints:
    """Return the points of a chunk; raises ChunkError if it is damaged."""
    try:
        return _decode(PlaneReader(data))
    except MALFORMED as error:
        raise ChunkError(f"expected a chunk, got {type(error).__name__}: {error!s:.100}") from error


def _decode(reader: PlaneReader) -> GaugePoints:
    points, width_s = reader.points, reader.width_s
    gauge = np.cumsum(unzigzag(reader.take(_GAUGE, points)))
    t = unsteps(reader.take(_T, points), begins_of(gauge)) + reader.start
    count = reader.take(_COUNT, points) + 1
    at = (t + 1) * width_s - unzigzag(reader.take(_AT, points))
    whole = np.cumsum(unzigzag(reader.take(_LAST, points)))
    last = _float(whole)
    low, high, total = last, last, last
    if reader.buckets:
        many = count > 1
        low, high, total = last.copy(), last.copy(), last.copy()
        low[many] = _float(whole[many] - reader.take(_LOW, reader.buckets))
        high[many] = _float(whole[many] + reader.take(_HIGH, reader.buckets))
        told = _whole(count * last)[many]
        total[many] = _float(told + unzigzag(reader.take(_TOTAL, reader.buckets)))
    return GaugePoints((gauge << 32) | (t * width_s), count, low, high, total, last, at)


_SMALLEST: Final = np.int64(-(2**63))


def _whole(values: Array) -> Array:
    """Return for each float the int64 that has the same order; zero becomes zero."""
    bits = np.ascontiguousarray(values, np.float64).view(np.int64)
    whole: Array = np.where(bits < 0, _SMALLEST - bits, bits)
    return whole


def _float(whole: Array) -> Array:
    """Return the floats of `_whole`."""
    bits = np.where(whole < 0, _SMALLEST - whole, whole)
    return bits.view(np.float64)
