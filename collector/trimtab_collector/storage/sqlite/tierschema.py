"""The tables and version of a tier file, and opening one to read."""

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from trimtab_collector.storage.sqlite.connect import lenient
from trimtab_core.errors import TrimtabError

__all__ = [
    "BUSY_S",
    "GAUGE_SCHEMA",
    "SCHEMA_3",
    "SERIES_SCHEMA",
    "UNREADABLE",
    "VERSION",
    "EmptyFileError",
    "VersionError",
    "is_damage",
    "open_at_rest",
    "open_reader",
    "rows_of",
    "version_of",
]

#: names of series and gauges, facts and marks have checksums, and lists of chunks are counted
VERSION: Final = 4
#: had none of that: it is read as it is, and gets it when it is next written
_BEFORE: Final = 3
SERIES_SCHEMA: Final = """
CREATE TABLE series (id INTEGER PRIMARY KEY, environment TEXT NOT NULL, service TEXT NOT NULL,
    version TEXT NOT NULL, instance TEXT NOT NULL, route TEXT NOT NULL, method TEXT NOT NULL,
    status_class TEXT NOT NULL);
CREATE TABLE fact (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
"""
GAUGE_SCHEMA: Final = """
CREATE TABLE gauge (id INTEGER PRIMARY KEY, agent TEXT NOT NULL, environment TEXT NOT NULL,
    service TEXT NOT NULL, instance TEXT NOT NULL, name TEXT NOT NULL,
    UNIQUE (name, service, instance, environment, agent));
CREATE TABLE gauge_chunk (id INTEGER PRIMARY KEY, period INTEGER NOT NULL, part INTEGER NOT NULL,
    first INTEGER NOT NULL, last INTEGER NOT NULL, points INTEGER NOT NULL, payload BLOB NOT NULL);
CREATE INDEX gauge_chunk_place ON gauge_chunk (period, first, last, part, points);
"""
#: the tables of version 3; `tierfile` makes the rest
SCHEMA_3: Final = f"""
CREATE TABLE chunk (id INTEGER PRIMARY KEY, level INTEGER NOT NULL, period INTEGER NOT NULL,
    begin INTEGER NOT NULL, part INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
    points INTEGER NOT NULL, buckets INTEGER NOT NULL, payload BLOB NOT NULL);
CREATE INDEX chunk_place ON chunk (level, period, begin, first, last, part, points, buckets);
CREATE TABLE merged (journal INTEGER PRIMARY KEY);
{SERIES_SCHEMA}
{GAUGE_SCHEMA}
PRAGMA user_version = {_BEFORE};
"""
BUSY_S: Final = 5.0


class VersionError(TrimtabError):
    """A file of the store was written by an unknown version."""


class EmptyFileError(VersionError):
    """Nothing has been committed to a file of the store yet."""


#: what reading a damaged file raises
UNREADABLE: Final = (sqlite3.Error, VersionError, UnicodeDecodeError)


def open_reader(path: Path) -> sqlite3.Connection:
    """Open a file to read.

    Raises sqlite3.Error, VersionError for a file of another version, and EmptyFileError before its
    first commit.
    """
    return _opened(path, "mode=rw")


def open_at_rest(path: Path) -> sqlite3.Connection:
    """Open a file that nobody writes and that has no write-ahead log; needs no disk space."""
    return _opened(path, "mode=ro&immutable=1")


def _opened(path: Path, mode: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?{mode}",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        timeout=BUSY_S,
    )
    try:
        connection.execute("PRAGMA query_only = ON")
        connection.execute("PRAGMA cache_size = -1024")
        if not version_of(connection, path):
            raise EmptyFileError(f"expected a file of the store at {path}, got an empty one")
    except BaseException:
        connection.close()
        raise
    return connection


def version_of(connection: sqlite3.Connection, path: Path | None = None) -> int:
    """Return the version of a file, 0 for an empty one.

    Raises VersionError for a version that is not known, or none where there are tables.
    """
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    if found > VERSION:
        raise VersionError(
            f"expected a file of version {VERSION} at {path}, got {found}: written by a later "
            "collector"
        )
    if 0 < found < _BEFORE:
        raise VersionError(
            f"expected a file of version {VERSION} at {path}, got {found}: written by an earlier "
            "one"
        )
    if not found and connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone():
        raise VersionError(f"expected a file of version {VERSION} at {path}, its number is lost")
    return int(found)


def rows_of(
    connection: sqlite3.Connection, query: str, asked: Sequence[object] = ()
) -> list[tuple[Any, ...]]:
    """Return rows that have checksums: what is no text any more costs its own row alone."""
    try:
        return connection.execute(query, asked).fetchall()
    except (sqlite3.OperationalError, UnicodeDecodeError) as error:
        if "decode" not in str(error):
            raise
    connection.text_factory = lenient
    try:
        return connection.execute(query, asked).fetchall()
    finally:
        connection.text_factory = str


def is_damage(error: Exception) -> bool:
    """Return whether an error of SQLite, or of text in it, says that the file is broken."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return isinstance(error, UnicodeDecodeError) or code in (
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
    )
