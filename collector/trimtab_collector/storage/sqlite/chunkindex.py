"""The chunks of a tier file as its index lists them, and the payload of each.

The index has no checksum of its own: a wrong number in it hides a chunk, or lists one that there is
not. So each chunk is sealed with the place that it is listed at (`planes.sealed`), and the table
`block` has for each level and period how many chunks there are, and a sum of their places. Where
the index differs from that, the rows themselves are looked through. Files of version 3 have
neither.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from trimtab_collector.storage.sqlite.planes import ChunkError, verify_place
from trimtab_collector.storage.sqlite.tierschema import VERSION, version_of

__all__ = [
    "BLOCK_SCHEMA",
    "GAUGES",
    "GAUGE_NAMES",
    "NOTHING_LISTED",
    "ChunkEntry",
    "Listed",
    "count_all",
    "counted",
    "differs",
    "differs_by_name",
    "entries",
    "in_batches",
    "listed",
    "payload_of",
]

BLOCK_SCHEMA: Final = """
CREATE TABLE block (level INTEGER NOT NULL, period INTEGER NOT NULL, chunks INTEGER NOT NULL,
    places INTEGER NOT NULL, PRIMARY KEY (level, period)) WITHOUT ROWID;
"""
_ANY_ROUTE: Final = 1 << 62
_NUMBERS: Final = {int}
_COLUMNS: Final = "id, level, period, begin, part, first, last, points, buckets"
#: of the columns from begin on, and of the id, in a sum of places: small and odd, so that no
#: number changes without it, and 2**17 chunks are below 2**63
_WEIGHTS: Final = (1, 3, 5, 7, 11, 13)
_ID_WEIGHT: Final = 1009
_MOST_PLACES: Final = 2**63 - 1
_TERMS: Final = {
    name: f"{name} * {weight}"
    for name, weight in zip(_COLUMNS.split(", ")[3:], _WEIGHTS, strict=True)
}
#: the levels of `block` for chunks of gauges, and for names of gauges
GAUGES: Final = 9
GAUGE_NAMES: Final = 10


def _places(columns: Iterable[str]) -> str:
    return " + ".join((f"sum(id * {_ID_WEIGHT}", *(_TERMS[name] for name in columns))) + ")"


_PLACES: Final = _places(_TERMS)
_GAUGE_PLACES: Final = _places(("part", "first", "last", "points"))


class ChunkEntry(NamedTuple):
    """A chunk without its payload; first and last are numbers of routes."""

    id: int
    level: int
    period: int
    begin: int
    part: int
    first: int
    last: int
    points: int
    buckets: int


class Listed(NamedTuple):
    """Chunks, and what is wrong with the index that lists them, empty for nothing."""

    entries: list[ChunkEntry]
    wrong: str


NOTHING_LISTED: Final = Listed([], "")


def listed(
    connection: sqlite3.Connection,
    level: int,
    start_s: int,
    end_s: int,
    routes: tuple[int, int] | None = None,
    begins: tuple[int, int] | None = None,
) -> Listed:
    """Return what `entries` yields, from the rows themselves where the index is damaged."""
    wrong = differs(connection, level, start_s, end_s)
    found = entries(connection, level, start_s, end_s, routes, begins, by_rows=bool(wrong))
    try:
        return Listed(list(found), wrong)
    except sqlite3.Error:
        if not wrong:
            raise
    # Rows that cannot be read either: what the index still has is sealed, and may be read.
    return Listed(list(entries(connection, level, start_s, end_s, routes, begins)), wrong)


def entries(
    connection: sqlite3.Connection,
    level: int,
    start_s: int,
    end_s: int,
    routes: tuple[int, int] | None = None,
    begins: tuple[int, int] | None = None,
    *,
    by_rows: bool = False,
) -> Iterator[ChunkEntry]:
    """Yield the chunks of periods that start in [start_s, end_s), by begin and route.

    routes are the lowest and highest wanted route; chunks must begin between the two of begins.
    Where the index is damaged, an entry has -1 for a number that is none, and any route. by_rows
    does without the index, and goes through the whole file.
    """
    least, most = routes or (-1, _ANY_ROUTE)
    after_s, before_s = begins or (-1, 1 << 62)
    for row in connection.execute(
        f"SELECT {_COLUMNS} FROM chunk {'NOT INDEXED' if by_rows else ''}"  # noqa: S608
        " WHERE level = ? AND period >= ? AND period < ? AND begin > ? AND begin < ?"
        " AND first <= ? AND last >= ? ORDER BY period, begin, first, last, id",
        (level, start_s, end_s, after_s, before_s, most, least),
    ):
        entry = ChunkEntry(*row)
        yield entry if set(map(type, entry)) == _NUMBERS else _mended(entry)


def _mended(entry: ChunkEntry) -> ChunkEntry:
    numbers = [value if isinstance(value, int) else -1 for value in entry]
    known = isinstance(entry.last, int)
    return ChunkEntry(*numbers)._replace(last=numbers[6] if known else _ANY_ROUTE)


def payload_of(connection: sqlite3.Connection, entry: ChunkEntry) -> bytes:
    """Return the payload of a chunk.

    Raises ChunkError if it is not there or is another chunk's, and sqlite3.Error.
    """
    query = "SELECT CAST(payload AS BLOB) FROM chunk WHERE id = ?"
    row = connection.execute(query, (entry.id,)).fetchone()
    if row is None or row[0] is None:
        raise ChunkError(f"expected chunk {entry.id} where the index has one, got none")
    payload = bytes(row[0])
    verify_place(payload, entry)
    return payload


def counted(
    connection: sqlite3.Connection,
    level: int,
    period: int,
    chunks: Sequence[Sequence[int]],
    *,
    gone: bool = False,
) -> None:
    """Count chunks that are added to a level and period, or gone, within the open transaction.

    chunks has the columns of each from id to buckets, with zeros for those that it does not have.
    What did not fit before does not fit afterwards either.
    """
    places = sum(
        row[0] * _ID_WEIGHT + sum(a * b for a, b in zip(row[3:], _WEIGHTS, strict=True))
        for row in chunks
    )
    sign = -1 if gone else 1
    connection.execute(
        "INSERT INTO block VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE"
        " SET chunks = chunks + excluded.chunks, places = places + excluded.places",
        (level, period, sign * len(chunks), sign * min(places, _MOST_PLACES)),
    )


def count_all(connection: sqlite3.Connection) -> None:
    """Count the chunks that a file of version 3 has, within the open transaction."""
    connection.execute(
        f"INSERT INTO block SELECT level, period, count(*), {_PLACES} FROM chunk"  # noqa: S608
        " WHERE level >= 0 GROUP BY level, period"
    )
    connection.execute(
        f"INSERT INTO block SELECT {GAUGES}, period, count(*), {_GAUGE_PLACES}"  # noqa: S608
        " FROM gauge_chunk GROUP BY period"
    )


def differs(connection: sqlite3.Connection, level: int, start_s: int, end_s: int) -> str:
    """Return how an index differs from what was counted when chunks were written, else empty.

    level is that of chunks, or GAUGES.
    """
    asked = (level, start_s, end_s)
    within = "period >= ? AND period < ?"
    chunks = f"count(*), {_PLACES} FROM chunk WHERE level = ? AND {within}"
    if level == GAUGES:
        chunks = f"count(*), {_GAUGE_PLACES} FROM gauge_chunk WHERE ? AND {within}"
    try:
        told = connection.execute(
            f"SELECT period, chunks, places FROM block WHERE level = ? AND {within}"  # noqa: S608
            " AND chunks > 0 ORDER BY period",
            asked,
        ).fetchall()
        found = connection.execute(
            f"SELECT period, {chunks} GROUP BY period ORDER BY period",
            asked,
        ).fetchall()
    except sqlite3.Error as error:
        if version_of(connection) < VERSION:  # which has no such table
            return ""
        return f"its index of chunks cannot be read: {error!s:.100}"
    if told == found:
        return ""
    sizes = [sum(row[1] for row in rows if isinstance(row[1], int)) for rows in (told, found)]
    return f"its index of chunks is damaged: {sizes[1]} of {sizes[0]} chunks, or other places"


def differs_by_name(connection: sqlite3.Connection, number: int, ids: Iterable[int]) -> bool:
    """Return whether other gauges have a name than were counted; number is that of the name."""
    told = connection.execute(
        "SELECT chunks, places FROM block WHERE level = ? AND period = ?", (GAUGE_NAMES, number)
    ).fetchone()
    found = [each * _ID_WEIGHT for each in ids]
    return (told or (0, 0)) != (len(found), sum(found))


def in_batches(found: Sequence[ChunkEntry], most: int) -> Iterator[Sequence[ChunkEntry]]:
    """Yield chunks, so many at a time that they have at least that many buckets together."""
    begin = size = 0
    for place, entry in enumerate(found):
        size += entry.buckets
        if size >= most or place + 1 == len(found):
            yield found[begin : place + 1]
            begin, size = place + 1, 0
