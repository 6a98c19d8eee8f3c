"""A chunk: some thousand merged points of one tier, as zstd over narrow columns.

What can be told from the rest is left out or stored as the difference from it, which is small:

- a series as the step from the one before, a window as the step from that series' window before;
- `sum_us` as its distance from the sum that the sketch alone would give;
- `max_us` as its distance from the end of its bucket, or from `sum_us` of a single request;
- `errors` as none, all, or a number;
- every other sum as its distance from requests times the series' own rate in this chunk;
- the first slot of a point as the step from the first slot of the point before, the others as the
  distance from the slot to their left; counts less one.

Integers travel as byte planes: first the low bytes of all, then the next, as many as the largest
needs, so that one large value costs its own bytes and not everybody's. A block of zstd ends with
each plane and so has statistics of its own. Arithmetic is that of 64 bits and wraps around on both
sides: what comes out is what went in, for any values.

Layout: `_HEAD`, then a byte pair (column, planes) for each column, then the zstd frame.
"""

import struct
import zlib
from typing import Final

import numpy as np
import zstandard

from trimtab_collector.storage.columns import MIDDLES_US, VALUES, Array, Columns
from trimtab_core.errors import TrimtabError
from trimtab_core.sketch import UPPER_US

__all__ = ["ChunkError", "decode_chunk", "encode_chunk"]

_VERSION: Final = 1
#: CRC-32 of what follows, version, columns, width and number of the first window, points, buckets
_HEAD: Final = struct.Struct("<IBBHqII")
_LEVEL: Final = 3
_MIDDLES: Final[Array] = np.rint(MIDDLES_US).astype(np.int64)
_UPPERS: Final[Array] = np.array(UPPER_US, np.int64)
#: sums that are told from requests; a new one is put at the end, places are numbers on disk
_SUMS: Final = tuple(name for name in VALUES if name not in ("errors", "sum_us", "max_us"))
#: columns of a chunk by their number; `+ 2 * place` and the next are rate and distance of a sum
_SERIES, _T, _BUCKETS, _FIRST, _SLOTS, _COUNTS, _SUM, _MAX, _ERRORS, _SOME = range(10)
_RATES: Final = 32
_MOST_POINTS: Final = 1 << 24


class ChunkError(TrimtabError):
    """A chunk of the store cannot be read."""


def encode_chunk(columns: Columns, width_s: int) -> bytes:
    """Return the bytes of points in windows that are multiples of width_s.

    Points of a series lie together, their windows ascending. Raises ValueError without a point.
    """
    points = len(columns.key)
    if not points:
        raise ValueError("a chunk has at least one point")
    writer = _Writer()
    series, t = columns.key >> 32, (columns.key & 0xFFFFFFFF) // width_s
    new = _begins(series)
    start = int(t.min())
    writer.put(_SERIES, _zigzag(np.diff(series, prepend=0)))
    writer.put(_T, _steps(t - start, new))
    buckets = columns.buckets.astype(np.int64)
    slots = columns.slots.astype(np.int64)
    counts = columns.counts.astype(np.int64)
    ends = np.cumsum(buckets)
    filled = np.flatnonzero(buckets)
    begins = (ends - buckets)[filled]
    writer.put(_BUCKETS, buckets)
    first = slots[begins]
    writer.put(_FIRST, _zigzag(np.diff(first, prepend=0)))
    inner = np.ones(len(slots), bool)
    inner[begins] = False
    writer.put(_SLOTS, (np.diff(slots, prepend=0) - 1)[inner])
    writer.put(_COUNTS, counts - 1)
    requests, middle, upper = _told(buckets, filled, ends, slots, counts)
    sums = columns.value("sum_us").astype(np.int64)
    writer.put(_SUM, _zigzag(sums - middle))
    upper = np.where(requests == 1, sums, upper)
    writer.put(_MAX, _zigzag(upper - columns.value("max_us").astype(np.int64)))
    errors = columns.value("errors").astype(np.int64)
    if errors.any():
        kind = np.where(errors == 0, 0, np.where(errors == requests, 1, 2))
        writer.put(_ERRORS, kind)
        writer.put(_SOME, errors[kind == 2])
    run = np.cumsum(new) - 1
    per_run = np.maximum(1, np.add.reduceat(requests, np.flatnonzero(new)))
    for place, name in enumerate(_SUMS):
        column = columns.values.get(name)
        if column is None or not column.any():
            continue
        column = column.astype(np.int64)
        rate = np.add.reduceat(column, np.flatnonzero(new)) // per_run
        writer.put(_RATES + 2 * place, rate)
        writer.put(_RATES + 2 * place + 1, _zigzag(column - rate[run] * requests))
    return writer.finish(width_s, points, len(slots), start)


def decode_chunk(data: bytes) -> Columns:
    """Return the points of a chunk; raises ChunkError when it is damaged."""
    try:
        return _decode(data)
    except (zstandard.ZstdError, struct.error, ValueError, IndexError, KeyError) as error:
        raise ChunkError(f"expected a chunk, got {type(error).__name__}: {error!s:.100}") from error


def _decode(data: bytes) -> Columns:
    reader = _Reader(data)
    points, width_s = reader.points, reader.width_s
    series = np.cumsum(_unzigzag(reader.take(_SERIES, points)))
    new = _begins(series)
    steps = reader.take(_T, points)
    t = (_unsteps(steps, new) + reader.start) * width_s
    buckets = reader.take(_BUCKETS, points)
    ends = np.cumsum(buckets)
    if int(ends[-1]) != reader.buckets:
        raise ChunkError(f"expected {reader.buckets} buckets, got {int(ends[-1])}")
    filled = np.flatnonzero(buckets)
    begins = (ends - buckets)[filled]
    first = np.cumsum(_unzigzag(reader.take(_FIRST, len(filled))))
    slots = np.ones(reader.buckets, np.int64)
    inner = np.ones(reader.buckets, bool)
    inner[begins] = False
    slots[inner] += reader.take(_SLOTS, reader.buckets - len(filled))
    # Each point's first slot as the step from the last slot before it: one running sum for all.
    slots[begins] = 0
    running = np.cumsum(slots)
    slots = running + np.repeat(first - running[begins], buckets[filled])
    counts = reader.take(_COUNTS, reader.buckets) + 1
    requests, middle, upper = _told(buckets, filled, ends, slots, counts)
    sums = _unzigzag(reader.take(_SUM, points)) + middle
    upper = np.where(requests == 1, sums, upper)
    most = upper - _unzigzag(reader.take(_MAX, points))
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
            distance = _unzigzag(reader.take(_RATES + 2 * place + 1, points))
            values[name] = distance + rate[run] * requests
    return Columns((series << 32) | t, values, buckets, slots.astype(np.uint16), counts)


def _told(
    buckets: Array, filled: Array, ends: Array, slots: Array, counts: Array
) -> tuple[Array, Array, Array]:
    """Return what sketches tell of each point: requests, their sum, the end of the top bucket."""
    requests, middle, upper = (np.zeros(len(buckets), np.int64) for _ in range(3))
    if len(filled):
        begins = (ends - buckets)[filled]
        requests[filled] = np.add.reduceat(counts, begins)
        middle[filled] = np.add.reduceat(counts * _MIDDLES[slots], begins)
        upper[filled] = _UPPERS[slots[ends[filled] - 1]]
    return requests, middle, upper


def _begins(series: Array) -> Array:
    new = np.empty(len(series), bool)
    new[0] = True
    np.not_equal(series[1:], series[:-1], out=new[1:])
    return new


def _steps(t: Array, new: Array) -> Array:
    """Return times as steps from the one before less one; a series begins with its own time."""
    steps = np.diff(t, prepend=0) - 1
    steps[new] = t[new]
    return steps


def _unsteps(steps: Array, new: Array) -> Array:
    begins = np.flatnonzero(new)
    running = np.cumsum(steps + 1)
    run = np.cumsum(new) - 1
    t: Array = running - (running[begins] - steps[begins])[run]
    return t


def _zigzag(values: Array) -> Array:
    """Return signed integers as unsigned ones: 0, -1, 1, -2 become 0, 1, 2, 3."""
    unsigned: Array = (values << 1) ^ (values >> 63)
    return unsigned


def _unzigzag(values: Array) -> Array:
    unsigned = values.view(np.uint64)
    half: Array = (unsigned >> np.uint64(1)).view(np.int64)
    signed: Array = half ^ -(values & 1)
    return signed


class _Writer:
    def __init__(self) -> None:
        self._table = bytearray()
        self._compressor = zstandard.ZstdCompressor(level=_LEVEL).compressobj()
        self._parts: list[bytes] = []

    def put(self, column: int, values: Array) -> None:
        """Add a column of int64, taken as unsigned; nothing to add is a column of no planes."""
        whole = np.ascontiguousarray(values, np.int64)
        planes = whole.view(np.uint8).reshape(-1, 8)
        most = int(whole.view(np.uint64).max()) if len(whole) else 0
        needed = (most.bit_length() + 7) // 8
        self._table += bytes((column, needed))
        for plane in range(needed):
            self._parts.append(self._compressor.compress(planes[:, plane].tobytes()))
            self._parts.append(self._compressor.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK))

    def finish(self, width_s: int, points: int, buckets: int, start: int) -> bytes:
        self._parts.append(self._compressor.flush())
        rest = bytes(self._table) + b"".join(self._parts)
        columns = len(self._table) // 2
        head = _HEAD.pack(0, _VERSION, columns, width_s, start, points, buckets)[4:]
        return zlib.crc32(rest, zlib.crc32(head)).to_bytes(4, "little") + head + rest


class _Reader:
    def __init__(self, data: bytes) -> None:
        crc, version, columns, self.width_s, self.start, self.points, self.buckets = (
            _HEAD.unpack_from(data)
        )
        if zlib.crc32(memoryview(data)[4:]) != crc:
            raise ChunkError("expected a chunk as it was written, its checksum differs")
        if version != _VERSION:
            raise ChunkError(f"expected a chunk of version {_VERSION}, got {version}")
        if not 0 < self.points <= _MOST_POINTS:
            raise ChunkError(f"expected 1 to {_MOST_POINTS} points, got {self.points}")
        begin = _HEAD.size + 2 * columns
        pairs = data[_HEAD.size : begin]
        self._planes = dict(zip(pairs[::2], pairs[1::2], strict=True))
        self._body = zstandard.ZstdDecompressor().decompressobj().decompress(data[begin:])
        self._offset = 0

    def has(self, column: int) -> bool:
        return column in self._planes

    def take(self, column: int, count: int) -> Array:
        """Return the next column as int64; columns are taken in the order they were put."""
        planes = self._planes[column]
        if planes < 2:
            if not planes:
                return np.zeros(count, np.int64)
            self._offset += count
            plane = np.frombuffer(self._body, np.uint8, count, self._offset - count)
            return plane.astype(np.int64)
        whole = np.zeros((count, 8), np.uint8)
        for place in range(planes):
            whole[:, place] = np.frombuffer(self._body, np.uint8, count, self._offset)
            self._offset += count
        return whole.view(np.int64).reshape(-1)
