"""Stores as version 1 wrote them: its tables, its blocks, batches as it kept them.

Taken from that version and never changed again, so that what is in the field stays readable.
"""

import sqlite3
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import zstandard

from trimtab_collector.storage.columns import Array, Columns, columns_of_batch
from trimtab_collector.storage.merging import merge
from trimtab_core.batches import Batch, SeriesKey, decode_series, encode

__all__ = ["SCHEMA", "encode_block", "write_store"]

SCHEMA: Final = """
CREATE TABLE origin (origin INTEGER PRIMARY KEY, agent TEXT NOT NULL, boot BLOB NOT NULL,
    UNIQUE (agent, boot));
CREATE TABLE journal (id INTEGER PRIMARY KEY, origin INTEGER NOT NULL, seq INTEGER NOT NULL,
    t0 INTEGER NOT NULL, received_us INTEGER NOT NULL, payload BLOB NOT NULL,
    UNIQUE (origin, seq));
CREATE INDEX journal_t0 ON journal (t0);
CREATE TABLE seen (origin INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
    t INTEGER NOT NULL, PRIMARY KEY (origin, first)) WITHOUT ROWID;
CREATE TABLE block (id INTEGER PRIMARY KEY, t0 INTEGER NOT NULL, points INTEGER NOT NULL,
    payload BLOB NOT NULL);
CREATE INDEX block_t0 ON block (t0);
CREATE TABLE series (id INTEGER PRIMARY KEY, environment TEXT NOT NULL, service TEXT NOT NULL,
    version TEXT NOT NULL, instance TEXT NOT NULL, route TEXT NOT NULL, method TEXT NOT NULL,
    status_class TEXT NOT NULL);
CREATE TABLE process (process BLOB NOT NULL, environment TEXT NOT NULL, service TEXT NOT NULL,
    ranges BLOB NOT NULL, sent INTEGER NOT NULL, dropped BLOB NOT NULL, closed INTEGER NOT NULL,
    updated_s INTEGER NOT NULL, PRIMARY KEY (process, environment, service)) WITHOUT ROWID;
CREATE TABLE total (environment TEXT NOT NULL, service TEXT NOT NULL,
    requests INTEGER NOT NULL DEFAULT 0, backgrounds INTEGER NOT NULL DEFAULT 0,
    counted INTEGER NOT NULL DEFAULT 0, sent INTEGER NOT NULL DEFAULT 0,
    lost INTEGER NOT NULL DEFAULT 0, dropped BLOB NOT NULL DEFAULT x'80',
    PRIMARY KEY (environment, service)) WITHOUT ROWID;
CREATE TABLE fact (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
"""
_HOUR_S: Final = 3600
_LENGTH: Final = struct.Struct("<I")
_TYPES: Final = tuple(np.dtype(name) for name in ("u1", "<u2", "<u4", "<u8"))
_NAMES: Final = dict(zip(_TYPES, "BHIQ", strict=True))


class _Header(msgspec.Struct):
    v: int
    points: int
    buckets: int
    columns: list[tuple[str, str]]
    gauges: list[bytes]


def encode_block(columns: Columns, gauges: Sequence[bytes] = ()) -> bytes:
    """Return the bytes of merged columns (keys ascending) and of gauges."""
    series = columns.key >> 32
    parts: dict[str, Array] = {
        "series": np.diff(series, prepend=0),
        "t": columns.key & 0xFFFFFFFF,
        "buckets": columns.buckets,
        "indexes": columns.indexes,
        "counts": columns.counts,
        **{name: array for name, array in columns.values.items() if name != "requests"},
    }
    narrow = {name: _narrow(array) for name, array in parts.items()}
    header = msgspec.msgpack.encode(
        _Header(
            1,
            len(columns.key),
            len(columns.indexes),
            [(name, _NAMES[array.dtype]) for name, array in narrow.items()],
            list(gauges),
        )
    )
    body = [_LENGTH.pack(len(header)), header, *(array.tobytes() for array in narrow.values())]
    return zstandard.ZstdCompressor(level=3).compress(b"".join(body))


def _narrow(array: Array) -> Array:
    most = int(array.max()) if len(array) else 0
    for dtype in _TYPES:
        if most <= np.iinfo(dtype).max:
            return array.astype(dtype)
    raise ValueError(f"expected values below 2**64, got {most}")


def write_store(
    directory: Path,
    merged: Sequence[Batch],
    waiting: Sequence[Batch],
    merged_before_s: int,
    totals: Mapping[str, int],
    processes: Sequence[tuple[Any, ...]] = (),
) -> None:
    """Make a store of version 1: some batches merged into blocks of hours, others in its journal.

    totals are requests by service of the environment `test`, processes rows of their table.
    """
    directory.mkdir(mode=0o700)
    connection = sqlite3.connect(directory / "metrics.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.executescript(f"BEGIN;{SCHEMA}PRAGMA user_version = 1;")
    ids: dict[SeriesKey, int] = {}
    origins: dict[tuple[str, bytes], int] = {}
    hours: dict[int, list[Columns]] = {}
    for batch in (*merged, *waiting):
        numbers = [ids.setdefault(key, len(ids)) for key in decode_series(batch.series)]
        origin = origins.setdefault((batch.agent, batch.boot), len(origins) + 1)
        t0 = batch.window_s - batch.window_s % 10
        if batch in merged:
            columns = columns_of_batch(batch, np.array(numbers, np.int64), t0)
            hours.setdefault(t0 - t0 % _HOUR_S, []).append(columns)
            connection.execute(
                "INSERT INTO seen VALUES (?, ?, ?, ?)", (origin, batch.seq, batch.seq, t0)
            )
        else:
            connection.execute(
                "INSERT INTO journal (origin, seq, t0, received_us, payload)"
                " VALUES (?, ?, ?, ?, ?)",
                (origin, batch.seq, t0, batch.closed_us, encode(batch)),
            )
    gauges = msgspec.msgpack.encode([(0, "agent", "", "", "host", "cpu", 0.5)])
    for hour_s, parts in hours.items():
        columns = merge(parts)
        connection.execute(
            "INSERT INTO block (t0, points, payload) VALUES (?, ?, ?)",
            (hour_s, len(columns.key), encode_block(columns, [gauges])),
        )
    connection.executemany(
        "INSERT INTO origin VALUES (?, ?, ?)", [(n, *name) for name, n in origins.items()]
    )
    connection.executemany(
        "INSERT INTO series VALUES (?, ?, ?, ?, ?, ?, ?, ?)", [(n, *key) for key, n in ids.items()]
    )
    connection.executemany(
        "INSERT INTO total (environment, service, requests) VALUES ('test', ?, ?)", totals.items()
    )
    connection.executemany("INSERT INTO process VALUES (?, ?, ?, ?, ?, ?, ?, ?)", processes)
    connection.execute("INSERT INTO fact VALUES ('merged_before_s', ?)", (merged_before_s,))
    connection.execute("COMMIT")
    connection.close()
