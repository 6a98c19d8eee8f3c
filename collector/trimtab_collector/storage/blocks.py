"""A block: the merged points of one hour, as zstd of a header and narrow columns.

Layout, unpacked: u32 little-endian length of the header, the header (msgpack), then the columns one
after the other. Series ids and times travel as the step from the point before. Readings of the
merged batches lie beside them, one msgpack binary a compaction, in `gauges`.
"""

import struct
from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np
import zstandard

from trimtab_collector.storage.columns import Array, Columns
from trimtab_core.errors import TrimtabError

__all__ = ["BlockError", "decode_block", "encode_block"]

_VERSION: Final = 1
_LENGTH: Final = struct.Struct("<I")
_TYPES: Final = tuple(np.dtype(name) for name in ("u1", "<u2", "<u4", "<u8"))
_KINDS: Final = {"B": _TYPES[0], "H": _TYPES[1], "I": _TYPES[2], "Q": _TYPES[3]}
_NAMES: Final = {dtype: kind for kind, dtype in _KINDS.items()}


class BlockError(TrimtabError):
    """A block of the store cannot be read."""


class _Header(msgspec.Struct):
    v: int
    points: int
    buckets: int
    columns: list[tuple[str, str]]
    gauges: list[bytes]


def encode_block(columns: Columns, gauges: Sequence[bytes] = ()) -> bytes:
    """Return the bytes of merged columns (keys ascending) and of readings."""
    series = columns.key >> 32
    parts: dict[str, Array] = {
        "series": np.diff(series, prepend=0),
        "t": columns.key & 0xFFFFFFFF,
        "buckets": columns.buckets,
        "slots": columns.slots,
        "counts": columns.counts,
        **{name: array for name, array in columns.values.items() if name != "requests"},
    }
    narrow = {name: _narrow(array) for name, array in parts.items()}
    header = msgspec.msgpack.encode(
        _Header(
            _VERSION,
            len(columns.key),
            len(columns.slots),
            [(name, _NAMES[array.dtype]) for name, array in narrow.items()],
            list(gauges),
        )
    )
    body = [_LENGTH.pack(len(header)), header, *(array.tobytes() for array in narrow.values())]
    return zstandard.ZstdCompressor(level=3).compress(b"".join(body))


def decode_block(data: bytes) -> tuple[Columns, list[bytes]]:
    """Return the columns and readings of a block; raises BlockError when it is damaged."""
    try:
        body = zstandard.ZstdDecompressor().decompress(data)
        (length,) = _LENGTH.unpack_from(body)
        header = msgspec.msgpack.decode(body[4 : 4 + length], type=_Header)
        if header.v != _VERSION:
            raise BlockError(f"expected a block of version {_VERSION}, got {header.v}")
        offset = 4 + length
        arrays: dict[str, Array] = {}
        for name, kind in header.columns:
            count = header.buckets if name in ("slots", "counts") else header.points
            arrays[name] = np.frombuffer(body, _KINDS[kind], count, offset)
            offset += arrays[name].nbytes
        series, t = arrays.pop("series"), arrays.pop("t")
        buckets, slots, counts = (arrays.pop(name) for name in ("buckets", "slots", "counts"))
    except (zstandard.ZstdError, msgspec.MsgspecError, struct.error, KeyError, ValueError) as error:
        raise BlockError(f"expected a block, got {type(error).__name__}: {error!s:.100}") from error
    key = (np.cumsum(series, dtype=np.int64) << 32) | t.astype(np.int64)
    ends = np.cumsum(buckets, dtype=np.int64)
    running = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=running[1:])
    arrays["requests"] = running[ends] - running[ends - buckets]
    return Columns(key, arrays, buckets, slots, counts), header.gauges


def _narrow(array: Array) -> Array:
    most = int(array.max()) if len(array) else 0
    for dtype in _TYPES:
        if most <= np.iinfo(dtype).max:
            return array.astype(dtype)
    raise BlockError(f"expected values below 2**64, got {most}")
