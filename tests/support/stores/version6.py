"""Tier files as version 6 of the store left them: without checksums of names, facts and places."""

import sqlite3
import zlib
from contextlib import closing
from pathlib import Path

from trimtab_collector.storage.sqlite.tiers import files_of

__all__ = ["to_version_6"]


def to_version_6(directory: Path) -> None:
    """Turn a store of this version, at rest, into one of version 6."""
    for _, _, path in files_of(directory):
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("BEGIN")
            for table in ("chunk", "gauge_chunk"):
                for number, payload in connection.execute(
                    f"SELECT id, payload FROM {table}"
                ).fetchall():
                    row = (unsealed(payload), number)
                    connection.execute(f"UPDATE {table} SET payload = ? WHERE id = ?", row)
            connection.execute("COMMIT")
            connection.executescript(
                "DROP TABLE block; ALTER TABLE gauge DROP COLUMN crc;"
                "ALTER TABLE series DROP COLUMN crc;"
                "DELETE FROM fact WHERE name IN ('seal', 'series', 'marks');"
                "PRAGMA user_version = 3;"
            )
    with closing(sqlite3.connect(directory / "metrics.db", isolation_level=None)) as connection:
        connection.execute("PRAGMA user_version = 6")


def unsealed(payload: bytes) -> bytes:
    """Return a chunk as version 3 of tier files wrote it."""
    rest = b"\x01" + payload[5:-4]
    return zlib.crc32(rest).to_bytes(4, "little") + rest
