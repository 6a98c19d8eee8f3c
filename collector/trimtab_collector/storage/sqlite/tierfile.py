"""One file of a tier: chunks by level and period, and which journal rows are in them.

A slice of the journal goes in with one transaction, its chunks and the numbers of its rows in
`merged`: whoever repeats an interrupted compaction finds there what is in already. A period may
have several sets of chunks (`part`), which add up; consolidation makes them one.
"""

import os
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from trimtab_collector.storage.columns import Array, Columns, part_of, rekey, series_of, times_of
from trimtab_collector.storage.sqlite.chunks import encode_chunk
from trimtab_collector.storage.sqlite.gaugefile import GAUGE_SCHEMA
from trimtab_collector.storage.sqlite.tiers import Tier
from trimtab_core.errors import TrimtabError

__all__ = [
    "DAMAGED",
    "ChunkEntry",
    "EmptyFileError",
    "VersionError",
    "add_points",
    "entries",
    "forget",
    "is_damage",
    "mark",
    "marked",
    "open_at_rest",
    "open_reader",
    "open_writer",
    "pieces",
    "taken",
]

_VERSION: Final = 2
_SCHEMA: Final = f"""
CREATE TABLE chunk (id INTEGER PRIMARY KEY, level INTEGER NOT NULL, period INTEGER NOT NULL,
    begin INTEGER NOT NULL, part INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
    points INTEGER NOT NULL, buckets INTEGER NOT NULL, payload BLOB NOT NULL);
CREATE INDEX chunk_place ON chunk (level, period, begin, first, last, part, points, buckets);
CREATE TABLE merged (journal INTEGER PRIMARY KEY);
{GAUGE_SCHEMA}
"""
#: most points and buckets of a chunk of single series, and of roll-ups, which are read by route
_MOST: Final = ((2_000, 40_000), (400, 8_000), (400, 8_000))
#: put behind the name of a file that cannot be written any more
DAMAGED: Final = ".damaged"
_BUSY_S: Final = 5.0


class VersionError(TrimtabError):
    """A file of the store was written by a version that is not known here."""


class EmptyFileError(VersionError):
    """Nothing was committed to a file of the store yet."""


class ChunkEntry(NamedTuple):
    """A chunk without its payload; first and last are numbers of routes."""

    id: int
    period: int
    begin: int
    part: int
    first: int
    last: int
    points: int
    buckets: int


def open_writer(path: Path) -> sqlite3.Connection:
    """Open a file to write, made when it is not there; a commit is on the disk when it returns.

    Raises sqlite3.Error, and VersionError for a file of another version.
    """
    connection = sqlite3.connect(path, isolation_level=None, timeout=_BUSY_S)
    try:
        os.chmod(path, 0o600)
        # Half of a page is lost behind each chunk.
        connection.execute("PRAGMA page_size = 1024")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA cache_size = -2048")
        if not _version(connection, path):
            connection.executescript(f"BEGIN;{_SCHEMA}PRAGMA user_version = {_VERSION};COMMIT;")
    except BaseException:
        connection.close()
        raise
    return connection


def open_reader(path: Path) -> sqlite3.Connection:
    """Open a file to read; raises like open_writer, and EmptyFileError before its first commit."""
    return _opened(path, "mode=rw")


def open_at_rest(path: Path) -> sqlite3.Connection:
    """Open a file that has no log and that nobody writes, without a byte on the disk for it."""
    return _opened(path, "mode=ro&immutable=1")


def _opened(path: Path, mode: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?{mode}",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        timeout=_BUSY_S,
    )
    try:
        connection.execute("PRAGMA query_only = ON")
        connection.execute("PRAGMA cache_size = -1024")
        if not _version(connection, path):
            raise EmptyFileError(f"expected a file of the store at {path}, got an empty one")
    except BaseException:
        connection.close()
        raise
    return connection


def is_damage(error: Exception) -> bool:
    """Return whether an error of SQLite says that the file itself is broken."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def entries(
    connection: sqlite3.Connection,
    level: int,
    start_s: int,
    end_s: int,
    routes: tuple[int, int] | None = None,
    begins: tuple[int, int] | None = None,
) -> Iterator[ChunkEntry]:
    """Yield the chunks of periods that start in [start_s, end_s), by begin and route.

    routes are the lowest and the highest of those that are wanted; begins start between the two.
    """
    least, most = routes or (-1, 1 << 62)
    after_s, before_s = begins or (-1, 1 << 62)
    for row in connection.execute(
        "SELECT id, period, begin, part, first, last, points, buckets FROM chunk"
        " WHERE level = ? AND period >= ? AND period < ? AND begin > ? AND begin < ?"
        " AND first <= ? AND last >= ? ORDER BY period, begin, first, last, id",
        (level, start_s, end_s, after_s, before_s, most, least),
    ):
        yield ChunkEntry(*row)


def marked(connection: sqlite3.Connection) -> frozenset[int]:
    """Return the numbers of journal rows that are in this file and may be in the journal still."""
    return frozenset(row[0] for row in connection.execute("SELECT journal FROM merged"))


def add_points(
    connection: sqlite3.Connection,
    tier: Tier,
    level: int,
    part: int,
    columns: Columns,
    routes: Array,
) -> None:
    """Insert merged points of one period as chunks, within the open transaction.

    routes has the number of the route of every series.
    """
    t = times_of(columns.key)
    chunk_s = tier.chunk_s(level)
    begins = t - t % chunk_s
    for begin in np.unique(begins).tolist():
        inside = begins == begin
        chunks = pieces(rekey(columns, columns.key[inside], inside), routes, level)
        connection.executemany(
            "INSERT INTO chunk"
            " (level, period, begin, part, first, last, points, buckets, payload)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                (
                    level,
                    tier.period(begin),
                    begin,
                    part,
                    first,
                    last,
                    len(points.key),
                    len(points.indexes),
                    encode_chunk(points, tier.width_s),
                )
                for first, last, points in chunks
            ),
        )


def pieces(columns: Columns, routes: Array, level: int) -> Iterator[tuple[int, int, Columns]]:
    """Yield the points of merged columns (keys ascending) in chunks, by route and then key.

    routes has the number of the route of every series.
    """
    route = routes[series_of(columns.key)]
    # Keys are in order: a stable sort by route keeps them so; of 16 bits it is a radix sort.
    narrow = route.astype(np.uint16) if len(route) and route.max() < 1 << 16 else route
    order = np.argsort(narrow, kind="stable")
    columns, route = taken(columns, order), route[order]
    most_points, most_buckets = _MOST[level]
    ends = np.cumsum(columns.buckets, dtype=np.int64)
    begin = 0
    while begin < len(order):
        before = int(ends[begin - 1]) if begin else 0
        end = int(np.searchsorted(ends, before + most_buckets, "right"))
        end = min(len(order), begin + most_points, max(end, begin + 1))
        yield int(route[begin]), int(route[end - 1]), part_of(columns, ends, begin, end)
        begin = end


def taken(columns: Columns, order: Array) -> Columns:
    """Return points by their places."""
    buckets = columns.buckets.astype(np.int64)
    begins = (np.cumsum(buckets) - buckets)[order]
    buckets = buckets[order]
    place = np.repeat(begins - (np.cumsum(buckets) - buckets), buckets)
    place += np.arange(len(place))
    return Columns(
        columns.key[order],
        {name: column[order] for name, column in columns.values.items()},
        buckets,
        columns.indexes[place],
        columns.counts[place],
    )


def _version(connection: sqlite3.Connection, path: Path) -> int:
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    if found not in (0, _VERSION):
        raise VersionError(
            f"expected a file of version {_VERSION} at {path}, got {found}: it was written by a "
            "later collector"
        )
    return int(found)


def forget(connection: sqlite3.Connection, journal: Sequence[int]) -> None:
    """Take marks of rows out that are in the journal no more, within the open transaction."""
    connection.executemany("DELETE FROM merged WHERE journal = ?", [(row,) for row in journal])


def mark(connection: sqlite3.Connection, journal: Sequence[int]) -> None:
    """Note rows of the journal as merged, within the open transaction."""
    connection.executemany("INSERT INTO merged VALUES (?)", [(row,) for row in journal])
