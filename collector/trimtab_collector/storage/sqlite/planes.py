"""Columns of integers as byte planes: the form of all chunks in a file.

A column is stored as the lowest bytes of all its values, then the next higher bytes, and so on, as
many planes as its largest value needs; so one large value costs little. Each plane is a zstd block
of its own, which therefore has its own statistics. Arithmetic is that of 64 bits and wraps around
on both sides, so that any values come out as they went in.

Layout: `_HEAD`, then a pair of bytes (column, planes) for each column, then the zstd frame. A
sealed chunk ends in four bytes more, which tie its checksum to its place in the file.
"""

import struct
import zlib
from collections.abc import Sequence
from typing import Final

import numpy as np
import zstandard

from trimtab_collector.storage.columns import Array
from trimtab_core.errors import TrimtabError

__all__ = [
    "MALFORMED",
    "ChunkError",
    "PlaneReader",
    "PlaneWriter",
    "begins_of",
    "sealed",
    "steps_of",
    "unsteps",
    "unzigzag",
    "verify_place",
    "zigzag",
]

_VERSION: Final = 1
#: version of a chunk that ends in a seal
_SEALED: Final = 2
_VERSION_AT: Final = 4
_SEAL_BYTES: Final = 4
#: CRC-32 of what follows, version, columns, width and number of the first window, points, buckets
_HEAD: Final = struct.Struct("<IBBHqII")
_LEVEL: Final = 3
_MOST_POINTS: Final = 1 << 24
#: what reading a damaged chunk raises
MALFORMED: Final = (zstandard.ZstdError, struct.error, ValueError, IndexError, KeyError)


class ChunkError(TrimtabError):
    """A chunk of the store cannot be read."""


def begins_of(series: Array) -> Array:
    """Return where a series differs from the one before; there must be at least one point."""
    new = np.empty(len(series), bool)
    new[0] = True
    np.not_equal(series[1:], series[:-1], out=new[1:])
    return new


def steps_of(t: Array, new: Array) -> Array:
    """Return times as steps from the one before, minus one; the first of a series as it is."""
    steps = np.diff(t, prepend=0) - 1
    steps[new] = t[new]
    return steps


def unsteps(steps: Array, new: Array) -> Array:
    """Return the times of `steps_of`."""
    begins = np.flatnonzero(new)
    running = np.cumsum(steps + 1)
    run = np.cumsum(new) - 1
    t: Array = running - (running[begins] - steps[begins])[run]
    return t


def zigzag(values: Array) -> Array:
    """Return signed integers as unsigned ones: 0, -1, 1, -2 become 0, 1, 2, 3."""
    unsigned: Array = (values << 1) ^ (values >> 63)
    return unsigned


def unzigzag(values: Array) -> Array:
    """Return the signed integers of `zigzag`."""
    unsigned = values.view(np.uint64)
    half: Array = (unsigned >> np.uint64(1)).view(np.int64)
    signed: Array = half ^ -(values & 1)
    return signed


class PlaneWriter:
    """Columns of a chunk, one after the other."""

    def __init__(self) -> None:
        self._table = bytearray()
        self._compressor = zstandard.ZstdCompressor(level=_LEVEL).compressobj()
        self._parts: list[bytes] = []

    def put(self, column: int, values: Array) -> None:
        """Add a column of int64, taken as unsigned; an empty or zero column has no planes."""
        whole = np.ascontiguousarray(values, np.int64)
        planes = whole.view(np.uint8).reshape(-1, 8)
        most = int(whole.view(np.uint64).max()) if len(whole) else 0
        needed = (most.bit_length() + 7) // 8
        self._table += bytes((column, needed))
        for plane in range(needed):
            self._parts.append(self._compressor.compress(planes[:, plane].tobytes()))
            self._parts.append(self._compressor.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK))

    def finish(self, width_s: int, points: int, buckets: int, start: int) -> bytes:
        """Return the chunk; buckets is a second size that the reader needs."""
        self._parts.append(self._compressor.flush())
        rest = bytes(self._table) + b"".join(self._parts)
        columns = len(self._table) // 2
        head = _HEAD.pack(0, _VERSION, columns, width_s, start, points, buckets)[4:]
        return zlib.crc32(rest, zlib.crc32(head)).to_bytes(4, "little") + head + rest


def sealed(chunk: bytes, place: Sequence[int]) -> bytes:
    """Return a chunk that says of itself where it belongs: id, level, period and so on."""
    rest = bytes((_SEALED,)) + chunk[_VERSION_AT + 1 :]
    crc = zlib.crc32(rest)
    return crc.to_bytes(4, "little") + rest + _seal(crc, place)


def verify_place(chunk: bytes, place: Sequence[int]) -> None:
    """Raise ChunkError if a chunk was sealed for another place; one that was not may be anywhere.

    What is in it has a checksum that is checked when it is decoded.
    """
    if chunk[_VERSION_AT : _VERSION_AT + 1] == bytes((_SEALED,)):
        crc = int.from_bytes(chunk[:4], "little")
        if chunk[-_SEAL_BYTES:] != _seal(crc, place):
            raise ChunkError("expected the chunk of this place, got one that was of another")


def _seal(crc: int, place: Sequence[int]) -> bytes:
    packed = struct.pack(f"<{len(place)}q", *place)
    return zlib.crc32(packed, crc).to_bytes(_SEAL_BYTES, "little")


class PlaneReader:
    """Columns of a chunk; raises ChunkError or one of MALFORMED when it is damaged."""

    def __init__(self, data: bytes) -> None:
        crc, version, columns, self.width_s, self.start, self.points, self.buckets = (
            _HEAD.unpack_from(data)
        )
        end = len(data) - _SEAL_BYTES if version == _SEALED else len(data)
        if zlib.crc32(memoryview(data)[4:end]) != crc:
            raise ChunkError("expected a chunk as it was written, its checksum differs")
        if version not in (_VERSION, _SEALED):
            raise ChunkError(f"expected a chunk of version {_VERSION}, got {version}")
        if not 0 < self.points <= _MOST_POINTS:
            raise ChunkError(f"expected 1 to {_MOST_POINTS} points, got {self.points}")
        begin = _HEAD.size + 2 * columns
        pairs = data[_HEAD.size : begin]
        self._planes = dict(zip(pairs[::2], pairs[1::2], strict=True))
        self._body = zstandard.ZstdDecompressor().decompressobj().decompress(data[begin:])
        self._offset = 0

    def has(self, column: int) -> bool:
        """Return whether a column was put."""
        return column in self._planes

    def take(self, column: int, count: int) -> Array:
        """Return the next column as int64; take columns in the order in which they were put."""
        return self.raw(column, count).astype(np.int64, copy=False)

    def raw(self, column: int, count: int) -> Array:
        """Return the next column as uint8 if it is that narrow, else as int64; zeros if absent."""
        planes = self._planes.get(column, 0)
        if not planes:
            return np.zeros(count, np.uint8)
        if planes == 1:
            self._offset += count
            return np.frombuffer(self._body, np.uint8, count, self._offset - count)
        whole = np.zeros((count, 8), np.uint8)
        for place in range(planes):
            whole[:, place] = np.frombuffer(self._body, np.uint8, count, self._offset)
            self._offset += count
        return whole.view(np.int64).reshape(-1)
