"""A store as version 3 left it: its small file names the series of all files, by one numbering."""

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np

from support.stores.version4 import to_version_4
from trimtab_collector.storage.columns import Array, series_of, times_of
from trimtab_collector.storage.dictionary import Dictionary
from trimtab_collector.storage.sqlite.chunkindex import entries
from trimtab_collector.storage.sqlite.chunks import decode_chunk, encode_chunk
from trimtab_collector.storage.sqlite.tierfile import pieces
from trimtab_collector.storage.sqlite.tiernames import load_series
from trimtab_collector.storage.sqlite.tiers import Tier, files_of

__all__ = ["to_version_3"]


def to_version_3(directory: Path) -> None:
    """Turn a store of this version, at rest, into one of version 3."""
    to_version_4(directory)
    names = Dictionary(linked=True)
    for tier, _, path in files_of(directory):
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            own = Dictionary()
            load_series(connection, own)
            numbers = np.array([names.add(own.key(number)) for number in range(len(own))])
            _renumber(connection, tier, numbers, names)
            connection.executescript(
                "DROP TABLE series; DROP TABLE fact; DROP TABLE block;"
                "ALTER TABLE gauge DROP COLUMN crc; DROP INDEX gauge_chunk_place;"
                "ALTER TABLE gauge_chunk RENAME TO reading;"
                "CREATE INDEX reading_place ON reading (period, first, last, part, points);"
                "ALTER TABLE chunk RENAME COLUMN begin TO slot; PRAGMA user_version = 2;"
            )
    with closing(sqlite3.connect(directory / "metrics.db", isolation_level=None)) as connection:
        connection.executescript(
            "DELETE FROM fact WHERE name = 'identity';"
            "ALTER TABLE amount RENAME COLUMN buckets TO slots; PRAGMA user_version = 3;"
            "CREATE TABLE series (id INTEGER PRIMARY KEY, environment TEXT NOT NULL,"
            " service TEXT NOT NULL, version TEXT NOT NULL, instance TEXT NOT NULL,"
            " route TEXT NOT NULL, method TEXT NOT NULL, status_class TEXT NOT NULL);"
        )
        connection.executemany(
            "INSERT INTO series VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [(number, *names.key(number)) for number in range(len(names))],
        )


def _renumber(
    connection: sqlite3.Connection,
    tier: Tier,
    numbers: Array,
    names: Dictionary,
) -> None:
    """Write every chunk again under the numbers of the small file, one chunk for one."""
    for level in range(3):
        for entry in list(entries(connection, level, 0, 1 << 40)):
            (payload,) = connection.execute(
                "SELECT payload FROM chunk WHERE id = ?", (entry.id,)
            ).fetchone()
            columns = decode_chunk(payload)
            key = (numbers[series_of(columns.key)] << 32) | times_of(columns.key)
            ((first, last, points),) = pieces(replace(columns, key=key), names.routes(), level)
            connection.execute(
                "UPDATE chunk SET first = ?, last = ?, payload = ? WHERE id = ?",
                (first, last, encode_chunk(points, tier.width_s), entry.id),
            )
