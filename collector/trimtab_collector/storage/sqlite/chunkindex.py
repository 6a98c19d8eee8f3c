"""The chunks of a tier file as its index lists them, and the payload of each.

The index has no checksum: it may list a chunk that there is not, or something that is no number.
That is damage of this chunk alone.
"""

import sqlite3
from collections.abc import Iterator
from typing import Final, NamedTuple

from trimtab_collector.storage.sqlite.planes import ChunkError

__all__ = ["ChunkEntry", "entries", "payload_of"]

_ANY_ROUTE: Final = 1 << 62
_NUMBERS: Final = {int}


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


def entries(
    connection: sqlite3.Connection,
    level: int,
    start_s: int,
    end_s: int,
    routes: tuple[int, int] | None = None,
    begins: tuple[int, int] | None = None,
) -> Iterator[ChunkEntry]:
    """Yield the chunks of periods that start in [start_s, end_s), by begin and route.

    routes are the lowest and highest wanted route; chunks must begin between the two of begins.
    Where the index is damaged, an entry has -1 for a number that is none, and any route.
    """
    least, most = routes or (-1, _ANY_ROUTE)
    after_s, before_s = begins or (-1, 1 << 62)
    for row in connection.execute(
        "SELECT id, period, begin, part, first, last, points, buckets FROM chunk"
        " WHERE level = ? AND period >= ? AND period < ? AND begin > ? AND begin < ?"
        " AND first <= ? AND last >= ? ORDER BY period, begin, first, last, id",
        (level, start_s, end_s, after_s, before_s, most, least),
    ):
        entry = ChunkEntry(*row)
        yield entry if set(map(type, entry)) == _NUMBERS else _mended(entry)


def _mended(entry: ChunkEntry) -> ChunkEntry:
    numbers = [value if isinstance(value, int) else -1 for value in entry]
    known = isinstance(entry.last, int)
    return ChunkEntry(*numbers)._replace(last=numbers[5] if known else _ANY_ROUTE)


def payload_of(connection: sqlite3.Connection, number: int) -> bytes:
    """Return the payload of a chunk; raises ChunkError if it is not there, and sqlite3.Error."""
    query = "SELECT CAST(payload AS BLOB) FROM chunk WHERE id = ?"
    row = connection.execute(query, (number,)).fetchone()
    if row is None or row[0] is None:
        raise ChunkError(f"expected chunk {number} where the index has one, got none")
    return bytes(row[0])
