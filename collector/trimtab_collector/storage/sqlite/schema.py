"""metrics.db, the small file of the store: its tables, and migrations from earlier versions."""

import sqlite3
from pathlib import Path
from typing import Final, NoReturn

from trimtab_collector.storage.sqlite.aside import ASIDE_TABLE
from trimtab_collector.storage.sqlite.checksums import checksum
from trimtab_collector.storage.sqlite.connect import connect, lenient
from trimtab_collector.storage.sqlite.events import EVENT_TABLE
from trimtab_collector.storage.sqlite.facts import new_identity, renew_identity
from trimtab_collector.storage.sqlite.measures import TABLES
from trimtab_collector.storage.sqlite.repeats import SUMMED
from trimtab_core.errors import StartupError

__all__ = [
    "VERSION",
    "highest_given",
    "migrate",
    "open_metrics",
    "refuse",
]

#: version of the store; it is in the user_version of this file. Version 7 had the tables of 6, and
#: tier files of version 4, which an earlier collector would put aside
VERSION: Final = 8
_JOURNAL: Final = """
CREATE TABLE journal (id INTEGER PRIMARY KEY AUTOINCREMENT, origin INTEGER NOT NULL,
    seq INTEGER NOT NULL, t0 INTEGER NOT NULL, received_us INTEGER NOT NULL, payload BLOB NOT NULL,
    crc INTEGER, holds BLOB, UNIQUE (origin, seq));
CREATE INDEX journal_t0 ON journal (t0);
"""
#: starts of agents, by the key that they wrote with; it is empty where an earlier version wrote it
_ORIGIN: Final = """
CREATE TABLE origin (origin INTEGER PRIMARY KEY, key TEXT NOT NULL, agent TEXT NOT NULL,
    boot BLOB NOT NULL, crc INTEGER, UNIQUE (key, agent, boot));
"""
# Ids of the journal are never given twice, because tier files remember them.
_SCHEMA: Final = f"""
{_ORIGIN}
{_JOURNAL}
CREATE TABLE seen (origin INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
    t INTEGER NOT NULL, crc INTEGER, PRIMARY KEY (origin, first)) WITHOUT ROWID;
CREATE TABLE process (process BLOB NOT NULL, environment TEXT NOT NULL, service TEXT NOT NULL,
    ranges BLOB NOT NULL, sent INTEGER NOT NULL, dropped BLOB NOT NULL, closed INTEGER NOT NULL,
    updated_s INTEGER NOT NULL, agent TEXT NOT NULL DEFAULT '', crc INTEGER,
    PRIMARY KEY (process, environment, service)) WITHOUT ROWID;
CREATE TABLE total (environment TEXT NOT NULL, service TEXT NOT NULL,
    requests INTEGER NOT NULL DEFAULT 0, backgrounds INTEGER NOT NULL DEFAULT 0,
    counted INTEGER NOT NULL DEFAULT 0, sent INTEGER NOT NULL DEFAULT 0,
    lost INTEGER NOT NULL DEFAULT 0, dropped BLOB NOT NULL DEFAULT x'80',
    crc INTEGER, crc_retired INTEGER,
    PRIMARY KEY (environment, service)) WITHOUT ROWID;
CREATE TABLE fact (name TEXT PRIMARY KEY, value INTEGER NOT NULL, crc INTEGER) WITHOUT ROWID;
{TABLES}
{EVENT_TABLE}
{ASIDE_TABLE}
"""

#: the tables of measures as version 3 had them
TABLES_3: Final = (
    (TABLES + EVENT_TABLE).replace("buckets BLOB", "slots BLOB").replace(", crc INTEGER", "")
)
#: what version 5 did not have: rows that it wrote have no checksum
_CHECKSUMS: Final = "".join(
    f"ALTER TABLE {table} ADD COLUMN {column};"
    for table, column in (
        *((table, "crc INTEGER") for table in ("process", "total", "measure", "amount", "event")),
        ("total", "crc_retired INTEGER"),
        ("journal", "crc INTEGER"),
        ("journal", "holds BLOB"),
    )
)


def open_metrics(path: Path) -> sqlite3.Connection:
    """Open metrics.db for writing, making it if needed; raises sqlite3.Error.

    Raises StartupError for a file that somebody else may have put there.
    """
    connection = connect(path, 5, any_thread=True)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA cache_size = -8192")
        connection.text_factory = lenient
    except BaseException:
        connection.close()
        raise
    return connection


def migrate(connection: sqlite3.Connection, directory: Path) -> None:
    """Bring the tables to this version; raises sqlite3.DatabaseError for a later one.

    Each step is one transaction: if it is interrupted, it has not happened.
    """
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    if found == VERSION:
        return
    if found == 0:
        connection.executescript(f"BEGIN;{_SCHEMA}")
        renew_identity(connection)
        connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
        return
    if found > VERSION:
        raise sqlite3.DatabaseError(
            f"its tables are of version {found}, this collector knows {VERSION}: it was written by "
            "a later one"
        )
    if found == 1:
        _from_1(connection)
    if found < 3:
        connection.executescript(f"BEGIN;{TABLES_3}PRAGMA user_version = 3;COMMIT;")
    if found < 4:
        _from_3(connection, directory)
    if found < 5:
        _from_4(connection)
    if found < 6:
        connection.executescript(f"BEGIN;{_CHECKSUMS}{ASIDE_TABLE}PRAGMA user_version = 6;COMMIT;")
    _from_7(connection)


def highest_given(connection: sqlite3.Connection) -> int:
    """Return the highest number that a row of this journal was ever given."""
    row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'journal'").fetchone()
    return int(row[0]) if row else 0


def _from_7(connection: sqlite3.Connection) -> None:
    """Give the rows that tell repeats, and the facts, checksums of what they hold now."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        for table, columns in SUMMED.items():
            known = {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
            if "crc" not in known:
                connection.execute(f"ALTER TABLE {table} ADD COLUMN crc INTEGER")
            rows = connection.execute(f"SELECT {columns} FROM {table}").fetchall()  # noqa: S608
            places = ", ".join("?" * (columns.count(",") + 1))
            connection.executemany(
                f"INSERT OR REPLACE INTO {table} ({columns}) VALUES ({places})",  # noqa: S608
                [(*row[:-1], checksum(*row[:-1])) for row in rows],
            )
        connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def _from_3(connection: sqlite3.Connection, directory: Path) -> None:
    """Move the names of series to the tier files; up to version 3 they were all in this file."""
    from trimtab_collector.storage.sqlite.version3 import name_series

    connection.execute(
        "INSERT OR IGNORE INTO fact (name, value) VALUES ('identity', ?)", (new_identity(),)
    )
    (identity,) = connection.execute("SELECT value FROM fact WHERE name = 'identity'").fetchone()
    whole = name_series(connection, directory, identity)
    names = "DROP TABLE series;" if whole else "ALTER TABLE series RENAME TO series_of_version_3;"
    connection.executescript(
        f"BEGIN;{names}ALTER TABLE amount RENAME COLUMN slots TO buckets;"
        "PRAGMA user_version = 4;COMMIT;"
    )


def _from_4(connection: sqlite3.Connection) -> None:
    """Tell apart whose key a batch came with: what is remembered until now is anybody's."""
    connection.executescript(
        f"BEGIN;ALTER TABLE origin RENAME TO origin_4;{_ORIGIN}"  # noqa: S608 - texts from here
        "INSERT INTO origin SELECT origin, '', agent, boot, NULL FROM origin_4;"
        "DROP TABLE origin_4;"
        "ALTER TABLE process ADD COLUMN agent TEXT NOT NULL DEFAULT '';"
        "PRAGMA user_version = 5;COMMIT;"
    )


def _from_1(connection: sqlite3.Connection) -> None:
    """Move merged hours to the journal; version 1 had them in `block`, and reused journal ids."""
    from trimtab_collector.storage.sqlite.version1 import blocks_to_journal

    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.execute("ALTER TABLE journal RENAME TO journal_1")
        connection.execute("DROP INDEX journal_t0")
        for statement in _JOURNAL.replace("crc INTEGER, holds BLOB, ", "").split(";"):
            connection.execute(statement)
        connection.execute("INSERT INTO journal SELECT * FROM journal_1 ORDER BY id")
        connection.execute("DROP TABLE journal_1")
        blocks_to_journal(connection)
        connection.execute("DROP TABLE block")
        connection.execute("PRAGMA user_version = 2")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def refuse(path: Path, error: Exception) -> NoReturn:
    """Raise StartupError for a metrics.db that cannot be used; only a broken one is called so."""
    if isinstance(error, StartupError):
        raise error
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
    if code not in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR):
        name = getattr(error, "sqlite_errorname", "")
        raise StartupError(
            f"expected a file that can be read and written at {path}, got: {error} ({name}); look "
            "at its disk and at who owns it, then start again: what is stored is not in question"
        ) from error
    raise StartupError(
        f"expected a store of this version at {path}, got: {error}; restore a backup with "
        "trimtab collector restore, move it away, or choose another directory with --data-dir"
    ) from error
