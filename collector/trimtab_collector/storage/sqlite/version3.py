"""Moves the names of series from a metrics.db of version 3 into tier files of version 2.

metrics.db named every series of the store by number. Each tier file gets the names of its own
series, under the numbers that its chunks already use. Each file has its own transaction, and
finished files are left alone, so that an interrupted migration continues.
"""

import logging
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

from trimtab_collector.storage.sqlite.tierfacts import new_number
from trimtab_collector.storage.sqlite.tiers import files_of
from trimtab_collector.storage.sqlite.tierschema import GAUGE_SCHEMA, SERIES_SCHEMA, is_damage
from trimtab_collector.storage.sqlite.writers import put_aside

__all__ = ["name_series"]

logger = logging.getLogger("trimtab.migration")

_BEFORE: Final = 2
_NAMED: Final = 3


def name_series(metrics: sqlite3.Connection, directory: Path, identity: int) -> bool:
    """Migrate every tier file; raises sqlite3.Error if a disk refuses the write.

    A broken file is put aside, named in the log and in /health. Returns whether there was none:
    else the names must be kept, since those of that file stand nowhere else.
    """
    rows = metrics.execute("SELECT * FROM series ORDER BY id").fetchall()
    whole = True
    for _, _, path in files_of(directory):
        try:
            with closing(sqlite3.connect(path, isolation_level=None, timeout=5)) as connection:
                _bring(connection, rows, identity)
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise
            whole = False
            logger.error("%s is damaged (%s): put aside as %s", path, error, put_aside(path))
    return whole


def _bring(connection: sqlite3.Connection, rows: list[tuple[object, ...]], identity: int) -> None:
    connection.execute("BEGIN IMMEDIATE")
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    if found == _BEFORE:
        for statement in (*SERIES_SCHEMA.split(";"), *_RENAMED):
            connection.execute(statement)
        connection.executemany("INSERT INTO series VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
        facts = [("identity", identity), ("file", new_number())]
        connection.executemany("INSERT INTO fact VALUES (?, ?)", facts)
        connection.execute(f"PRAGMA user_version = {_NAMED}")
    connection.execute("COMMIT")


_RENAMED: Final = (
    "ALTER TABLE chunk RENAME COLUMN slot TO begin",
    "ALTER TABLE reading RENAME TO gauge_chunk",
    "DROP INDEX reading_place",
    *(each for each in GAUGE_SCHEMA.split(";") if "CREATE INDEX" in each),
)
