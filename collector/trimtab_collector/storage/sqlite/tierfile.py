"""One tier file: chunks by level and period, the dictionary of series, and marks of journal rows.

Every file names its own series. So names are deleted with the file, and it can be read without any
other file. It also knows the journal that its marks are about (`identity`).

A slice of the journal is added in one transaction, with the ids of its rows in `merged`. Whoever
repeats an interrupted compaction sees there which rows the file has already. A period may have
several sets of chunks (`part`), which add up until consolidation merges them.
"""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np

from trimtab_collector.storage.columns import Array, Columns, part_of, rekey, series_of, times_of
from trimtab_collector.storage.sqlite.chunkindex import BLOCK_SCHEMA, count_all, counted
from trimtab_collector.storage.sqlite.chunks import encode_chunk
from trimtab_collector.storage.sqlite.connect import connect
from trimtab_collector.storage.sqlite.gaugefile import seal_gauges
from trimtab_collector.storage.sqlite.planes import sealed
from trimtab_collector.storage.sqlite.tierfacts import new_number, seal_facts
from trimtab_collector.storage.sqlite.tiernames import seal_series
from trimtab_collector.storage.sqlite.tiers import Tier
from trimtab_collector.storage.sqlite.tierschema import BUSY_S, SCHEMA_3, VERSION, version_of

__all__ = ["DAMAGED", "add_points", "open_writer", "pieces", "taken"]

#: most points and buckets of a chunk: of single series, and of roll-ups, which are read by route
_MOST: Final = ((2_000, 40_000), (400, 8_000), (400, 8_000))
#: appended to the name of a file that can no longer be written
DAMAGED: Final = ".damaged"


def open_writer(path: Path) -> sqlite3.Connection:
    """Open a file to write, making it if needed; a commit is on the disk when it returns.

    A file of version 3 gets the tables and checksums of this one. Raises sqlite3.Error, and
    VersionError for a file of another version.
    """
    connection = connect(path, BUSY_S)
    try:
        # Half of a page is lost behind each chunk.
        connection.execute("PRAGMA page_size = 1024")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA cache_size = -2048")
        found = version_of(connection, path)
        if found != VERSION:
            connection.executescript(f"BEGIN IMMEDIATE;{'' if found else SCHEMA_3}")
            _upgrade(connection)
            connection.execute("COMMIT")
    except BaseException:
        connection.close()
        raise
    return connection


def _upgrade(connection: sqlite3.Connection) -> None:
    """Make a file of version 3 one of this version, in the open transaction."""
    for statement in (
        "ALTER TABLE series ADD COLUMN crc INTEGER",
        "ALTER TABLE gauge ADD COLUMN crc INTEGER",
        *BLOCK_SCHEMA.strip().split(";")[:-1],
    ):
        connection.execute(statement)
    count_all(connection)
    seal_gauges(connection)
    file = connection.execute("SELECT value FROM fact WHERE name = 'file'").fetchone()
    seal_facts(connection, series=seal_series(connection), file=file[0] if file else new_number())
    connection.execute(f"PRAGMA user_version = {VERSION}")


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
    (number,) = connection.execute("SELECT coalesce(max(id), 0) FROM chunk").fetchone()
    period = tier.period(int(begins[0]))
    places: list[tuple[int, ...]] = []
    for begin in np.unique(begins).tolist():
        within = begins == begin
        for first, last, points in pieces(
            rekey(columns, columns.key[within], within), routes, level
        ):
            number += 1
            sizes = (len(points.key), len(points.indexes))
            place = (number, level, period, begin, part, first, last, *sizes)
            places.append(place)
            connection.execute(
                "INSERT INTO chunk"
                " (id, level, period, begin, part, first, last, points, buckets, payload)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (*place, sealed(encode_chunk(points, tier.width_s), place)),
            )
    counted(connection, level, period, places)


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
