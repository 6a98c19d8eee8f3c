"""Blocks of version 1 of the store, which become batches of the journal once.

A block held the merged points of one hour, as zstd of a header and narrow columns.

Layout, unpacked: u32 little-endian length of the header, the header (msgpack), then the columns one
after the other. Series numbers and times are stored as the difference from the point before. The
gauges of the merged batches are in `gauges`, one msgpack binary per compaction.
"""

import logging
import os
import sqlite3
import struct
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

import msgspec
import numpy as np
import zstandard

from trimtab_collector.storage.columns import VALUES, Array, Columns, rekey, series_of, times_of
from trimtab_core.batches import Batch, Column, SeriesKey, encode, pack_series
from trimtab_core.errors import TrimtabError

__all__ = ["BlockError", "blocks_to_journal", "decode_block"]

logger = logging.getLogger("trimtab.migration")

_VERSION: Final = 1
#: points per batch
_POINTS: Final = 1000
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


def blocks_to_journal(connection: sqlite3.Connection) -> None:
    """Write the points of all blocks to the journal as batches, within the open transaction.

    The compactor then merges them like any other batches. A block that cannot be read is left out
    and named in the log.
    """
    keys = {row[0]: SeriesKey(*row[1:]) for row in connection.execute("SELECT * FROM series")}
    cursor = connection.execute(
        "INSERT INTO origin (agent, boot) VALUES ('version 1', ?)", (os.urandom(8),)
    )
    origin, seq = cursor.lastrowid, 0
    for number, payload in connection.execute("SELECT id, payload FROM block").fetchall():
        try:
            columns, _ = decode_block(payload)
        except BlockError as error:
            logger.warning(
                "block %d of version 1 cannot be read and is left out: %s", number, error
            )
            continue
        for t0, batch in _batches(columns, keys):
            connection.execute(
                "INSERT INTO journal (origin, seq, t0, received_us, payload)"
                " VALUES (?, ?, ?, ?, ?)",
                (origin, seq, t0, t0 * 1_000_000, encode(replace(batch, seq=seq))),
            )
            seq += 1


def decode_block(data: bytes) -> tuple[Columns, list[bytes]]:
    """Return the columns and gauges of a block; raises BlockError if it is damaged."""
    try:
        body = zstandard.ZstdDecompressor().decompress(data)
        (length,) = _LENGTH.unpack_from(body)
        header = msgspec.msgpack.decode(body[4 : 4 + length], type=_Header)
        if header.v != _VERSION:
            raise BlockError(f"expected a block of version {_VERSION}, got {header.v}")
        offset = 4 + length
        arrays: dict[str, Array] = {}
        for name, kind in header.columns:
            count = header.buckets if name in ("indexes", "counts") else header.points
            arrays[name] = np.frombuffer(body, _KINDS[kind], count, offset)
            offset += arrays[name].nbytes
        series, t = arrays.pop("series"), arrays.pop("t")
        buckets, indexes, counts = (arrays.pop(name) for name in ("buckets", "indexes", "counts"))
    except (zstandard.ZstdError, msgspec.MsgspecError, struct.error, KeyError, ValueError) as error:
        raise BlockError(f"expected a block, got {type(error).__name__}: {error!s:.100}") from error
    key = (np.cumsum(series, dtype=np.int64) << 32) | t.astype(np.int64)
    ends = np.cumsum(buckets, dtype=np.int64)
    running = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=running[1:])
    arrays["requests"] = running[ends] - running[ends - buckets]
    return Columns(key, arrays, buckets, indexes, counts), header.gauges


def _batches(columns: Columns, keys: Mapping[int, SeriesKey]) -> Iterator[tuple[int, Batch]]:
    """Yield the points of a block as batches, each of one window and at most a thousand series."""
    times = times_of(columns.key)
    for t in np.unique(times).tolist():
        places = np.flatnonzero(times == t)
        for begin in range(0, len(places), _POINTS):
            keep = np.zeros(len(times), bool)
            keep[places[begin : begin + _POINTS]] = True
            part = rekey(columns, columns.key[keep], keep)
            series = [keys[number] for number in series_of(part.key).tolist()]
            yield (
                t,
                Batch(
                    agent="version 1",
                    boot=bytes(8),
                    seq=0,
                    window_s=t,
                    step_s=10,
                    closed_us=(t + 10) * 1_000_000,
                    series=pack_series(series),
                    points=len(series),
                    columns=dict(_columns(part)),
                ),
            )


def _columns(part: Columns) -> Iterator[tuple[str, Column]]:
    filled = part.buckets > 0
    begins = (np.cumsum(part.buckets, dtype=np.int64) - part.buckets)[filled]
    indexes = part.indexes.astype(np.int64)
    steps = np.diff(indexes, prepend=0)
    steps[begins] = indexes[begins]
    arrays: dict[str, Array] = {"series": np.arange(len(part.key))}
    arrays |= {name: part.values[name] for name in VALUES if name in part.values}
    arrays |= {"buckets": part.buckets, "indexes": steps, "counts": part.counts}
    for name, array in arrays.items():
        if array.any():
            narrow = _narrow(array)
            yield name, Column(_NAMES[narrow.dtype], narrow.tobytes())


def _narrow(array: Array) -> Array:
    most = int(array.max()) if len(array) else 0
    for dtype in _TYPES:
        if most <= np.iinfo(dtype).max:
            return array.astype(dtype)
    raise BlockError(f"expected values below 2**64, got {most}")
