"""A store as version 5 left it: the rows of its small file have no checksums."""

import sqlite3
from contextlib import closing
from pathlib import Path

__all__ = ["to_version_5"]

_COLUMNS = (
    *((table, "crc") for table in ("process", "total", "measure", "amount", "event", "journal")),
    ("total", "crc_retired"),
    ("journal", "holds"),
)


def to_version_5(directory: Path) -> None:
    """Turn a store of this version, at rest, into one of version 5."""
    with closing(sqlite3.connect(directory / "metrics.db", isolation_level=None)) as connection:
        connection.executescript(
            "DROP TABLE unreadable;"
            + "".join(f"ALTER TABLE {table} DROP COLUMN {column};" for table, column in _COLUMNS)
            + "PRAGMA user_version = 5;"
        )
