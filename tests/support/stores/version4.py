"""A small file of a store as version 4 left it: it does not tell keys apart."""

import sqlite3
from contextlib import closing
from pathlib import Path

from support.stores.version5 import to_version_5

__all__ = ["to_version_4"]


def to_version_4(directory: Path) -> None:
    """Turn the small file of a store of this version, at rest, into one of version 4."""
    to_version_5(directory)
    with closing(sqlite3.connect(directory / "metrics.db", isolation_level=None)) as connection:
        connection.executescript(
            "ALTER TABLE origin RENAME TO origin_5;"
            "CREATE TABLE origin (origin INTEGER PRIMARY KEY, agent TEXT NOT NULL,"
            " boot BLOB NOT NULL, UNIQUE (agent, boot));"
            "INSERT INTO origin SELECT origin, agent, boot FROM origin_5; DROP TABLE origin_5;"
            "ALTER TABLE process DROP COLUMN agent; PRAGMA user_version = 4;"
        )
