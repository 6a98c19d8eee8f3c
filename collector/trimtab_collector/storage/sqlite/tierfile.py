"""One tier file: chunks by level and period, the dictionary of series, and marks of journal rows.

Every file names its own series. So names are deleted with the file, and it can be read without any
other file. It also knows the journal that its marks are about (`identity`).

A slice of the journal is added in one transaction, with the ids of its rows in `merged`. Whoever
repeats an interrupted compaction sees there which rows the file has already. A period may have
several sets of chunks (`part`), which add up until consolidation merges them.
"""

import contextlib
import secrets
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

import numpy as np

from trimtab_collector.storage.columns import Array, Columns, part_of, rekey, series_of, times_of
from trimtab_collector.storage.dictionary import Dictionary
from trimtab_collector.storage.sqlite.chunks import encode_chunk
from trimtab_collector.storage.sqlite.connect import connect
from trimtab_collector.storage.sqlite.gaugefile import GAUGE_SCHEMA
from trimtab_collector.storage.sqlite.tiers import Tier
from trimtab_core.batches import SeriesKey
from trimtab_core.errors import TrimtabError

__all__ = [
    "DAMAGED",
    "UNREADABLE",
    "EmptyFileError",
    "VersionError",
    "add_points",
    "add_series",
    "adopt",
    "forget",
    "highest_mark",
    "highest_of",
    "identity_of",
    "is_damage",
    "load_series",
    "mark",
    "marked",
    "new_number",
    "number_in",
    "open_at_rest",
    "open_reader",
    "open_writer",
    "pieces",
    "strangers",
    "taken",
]

VERSION: Final = 3
SERIES_SCHEMA: Final = """
CREATE TABLE series (id INTEGER PRIMARY KEY, environment TEXT NOT NULL, service TEXT NOT NULL,
    version TEXT NOT NULL, instance TEXT NOT NULL, route TEXT NOT NULL, method TEXT NOT NULL,
    status_class TEXT NOT NULL);
CREATE TABLE fact (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
"""
_SCHEMA: Final = f"""
CREATE TABLE chunk (id INTEGER PRIMARY KEY, level INTEGER NOT NULL, period INTEGER NOT NULL,
    begin INTEGER NOT NULL, part INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
    points INTEGER NOT NULL, buckets INTEGER NOT NULL, payload BLOB NOT NULL);
CREATE INDEX chunk_place ON chunk (level, period, begin, first, last, part, points, buckets);
CREATE TABLE merged (journal INTEGER PRIMARY KEY);
{SERIES_SCHEMA}
{GAUGE_SCHEMA}
"""
#: most points and buckets of a chunk: of single series, and of roll-ups, which are read by route
_MOST: Final = ((2_000, 40_000), (400, 8_000), (400, 8_000))
#: appended to the name of a file that can no longer be written
DAMAGED: Final = ".damaged"
_BUSY_S: Final = 5.0


class VersionError(TrimtabError):
    """A file of the store was written by an unknown version."""


class EmptyFileError(VersionError):
    """Nothing has been committed to a file of the store yet."""


#: what reading a damaged file raises
UNREADABLE: Final = (sqlite3.Error, VersionError, UnicodeDecodeError)


def open_writer(path: Path) -> sqlite3.Connection:
    """Open a file to write, making it if needed; a commit is on the disk when it returns.

    Raises sqlite3.Error, and VersionError for a file of another version.
    """
    connection = connect(path, _BUSY_S)
    try:
        # Half of a page is lost behind each chunk.
        connection.execute("PRAGMA page_size = 1024")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA cache_size = -2048")
        if not _version(connection, path):
            number = f"INSERT INTO fact VALUES ('file', {new_number()});"  # noqa: S608
            connection.executescript(
                f"BEGIN;{_SCHEMA}{number}PRAGMA user_version = {VERSION};COMMIT;"
            )
    except BaseException:
        connection.close()
        raise
    return connection


def open_reader(path: Path) -> sqlite3.Connection:
    """Open a file to read; raises like open_writer, and EmptyFileError before its first commit."""
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
    """Return whether an error of SQLite, or of text in it, says that the file is broken."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return isinstance(error, UnicodeDecodeError) or code in (
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
    )


def marked(connection: sqlite3.Connection, identity: int) -> frozenset[int]:
    """Return the ids of journal rows that this file holds; the journal may have them still.

    identity is that of the journal; marks about another journal do not count.
    """
    if identity_of(connection) not in (0, identity):
        return frozenset()
    return frozenset(row[0] for row in connection.execute("SELECT journal FROM merged"))


def identity_of(connection: sqlite3.Connection) -> int:
    """Return the identity of the journal that the marks are about, 0 if there are no marks yet."""
    row = connection.execute("SELECT value FROM fact WHERE name = 'identity'").fetchone()
    return int(row[0]) if row else 0


def adopt(connection: sqlite3.Connection, identity: int) -> None:
    """Note whose marks these are, within the open transaction; delete marks of another journal."""
    if identity_of(connection) not in (0, identity):
        connection.execute("DELETE FROM merged")
        connection.execute("DELETE FROM fact WHERE name = 'highest'")
        connection.execute("INSERT OR REPLACE INTO fact VALUES ('adopted', 1)")
    connection.execute("INSERT OR REPLACE INTO fact VALUES ('identity', ?)", (identity,))


def highest_of(files: Iterable[tuple[Tier, int, Path]], identity: int) -> int:
    """Return the highest row of this journal that any file has ever held."""
    highest = 0
    for _, _, path in files:
        with contextlib.suppress(*UNREADABLE), closing(open_reader(path)) as file:
            if identity_of(file) == identity:
                highest = max(highest, highest_mark(file))
    return highest


def strangers(files: Iterable[tuple[Tier, int, Path]], identity: int) -> dict[str, str]:
    """Return the files that were written beside another metrics.db, and what that means."""
    found = {}
    for _, _, path in files:
        try:
            with closing(open_reader(path)) as connection:
                adopted = connection.execute("SELECT 1 FROM fact WHERE name = 'adopted'").fetchone()
                strange = adopted or identity_of(connection) not in (0, identity)
        except UNREADABLE:
            continue
        if strange:
            found[path.name] = (
                "written beside another metrics.db, or a later state of it, which was lost or "
                "replaced: its numbers are "
                "shown, batches that were only in that one are missing"
            )
    return found


def load_series(connection: sqlite3.Connection, dictionary: Dictionary) -> None:
    """Add to a dictionary the series of this file that the open transaction sees.

    Raises sqlite3.Error, and ValueError for a hole in the numbers.
    """
    rows = connection.execute("SELECT * FROM series WHERE id >= ? ORDER BY id", (len(dictionary),))
    dictionary.load((row[0], SeriesKey(*row[1:])) for row in rows)


def add_series(
    connection: sqlite3.Connection, dictionary: Dictionary, keys: Iterable[SeriesKey]
) -> list[int]:
    """Return the numbers of series in this file, adding new series in the open transaction.

    dictionary is that of the file; if the transaction is rolled back, discard it.
    """
    before = len(dictionary)
    numbers = [dictionary.add(key) for key in keys]
    connection.executemany(
        "INSERT INTO series VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [(number, *dictionary.key(number)) for number in range(before, len(dictionary))],
    )
    return numbers


def add_points(
    connection: sqlite3.Connection,
    tier: Tier,
    level: int,
    part: int,
    columns: Columns,
    routes: Array,
) -> None:
    """Insert merged points of one period as chunks, within the open transaction.

    routes has the route number of every series.
    """
    t = times_of(columns.key)
    chunk_s = tier.chunk_s(level)
    begins = t - t % chunk_s
    for begin in np.unique(begins).tolist():
        within = begins == begin
        chunks = pieces(rekey(columns, columns.key[within], within), routes, level)
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
    """Yield points with distinct keys as the content of chunks, by route and then key.

    Each comes with its first and last route number; routes has the route number of every series.
    """
    route = routes[series_of(columns.key)]
    if (np.diff(columns.key) > 0).all():
        # A stable sort by route keeps keys in order; of 16 bits it is a radix sort.
        narrow = route.astype(np.uint16) if len(route) and route.max() < 1 << 16 else route
        order = np.argsort(narrow, kind="stable")
    else:
        order = np.lexsort((columns.key, route))
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
    """Return points in another order, or some of them: order has their places."""
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
        None if columns.statuses is None else columns.statuses.taken(order),
    )


def _version(connection: sqlite3.Connection, path: Path) -> int:
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    if found not in (0, VERSION):
        whose = "a later collector" if found > VERSION else "an earlier one"
        raise VersionError(
            f"expected a file of version {VERSION} at {path}, got {found}: written by {whose}"
        )
    return int(found)


def forget(connection: sqlite3.Connection, journal: Sequence[int]) -> None:
    """Delete marks of rows that are no longer in the journal, within the open transaction."""
    connection.executemany("DELETE FROM merged WHERE journal = ?", [(row,) for row in journal])


def mark(connection: sqlite3.Connection, journal: Sequence[int]) -> None:
    """Mark journal rows as merged into this file, within the open transaction."""
    connection.executemany("INSERT INTO merged VALUES (?)", [(row,) for row in journal])
    # Marks are deleted with their rows; this one tells a journal that is older than the file.
    connection.execute(
        "INSERT OR REPLACE INTO fact SELECT 'highest', max(?, coalesce("
        "(SELECT value FROM fact WHERE name = 'highest'), 0))",
        (max(journal, default=0),),
    )


def highest_mark(connection: sqlite3.Connection) -> int:
    """Return the highest number of a journal row that was ever merged into this file."""
    row = connection.execute("SELECT value FROM fact WHERE name = 'highest'").fetchone()
    return int(row[0]) if row else 0


def number_in(connection: sqlite3.Connection) -> int:
    """Return what tells this file from any other, also one that takes its name and place later."""
    row = connection.execute("SELECT value FROM fact WHERE name = 'file'").fetchone()
    return int(row[0]) if row else 0


def new_number() -> int:
    """Return a random number that no other file has."""
    return secrets.randbits(62) + 1
