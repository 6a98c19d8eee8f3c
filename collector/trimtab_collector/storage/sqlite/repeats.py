"""What tells batches that came before: starts of agents, and the numbers of merged batches.

Each row has a checksum. One that is not as it was written is never believed: a batch that it would
tell is a new one, since repeats are rare and new batches are not.
"""

import sqlite3
from collections.abc import Iterable
from typing import Final

from trimtab_collector.storage.sqlite.aside import set_aside
from trimtab_collector.storage.sqlite.checksums import checksum, is_whole

__all__ = ["SUMMED", "add_origin", "is_merged", "note_merged", "set_broken_aside"]

#: table -> its columns, the last of which is the checksum of the others
SUMMED: Final = {
    "origin": "origin, key, agent, boot, crc",
    "seen": "origin, first, last, t, crc",
    "fact": "name, value, crc",
}


def add_origin(connection: sqlite3.Connection, key: str, agent: str, boot: bytes) -> int:
    """Note a start of an agent in the open transaction, and return its number."""
    # Not one of a start whose own row was set aside: its batches are still here.
    highest = (
        connection.execute(f"SELECT max(origin) FROM {table}").fetchone()[0] or 0  # noqa: S608
        for table in ("origin", "journal", "seen")
    )
    number = 1 + max(highest)
    values = (number, key, agent, boot)
    connection.execute(
        f"INSERT INTO origin ({SUMMED['origin']}) VALUES (?, ?, ?, ?, ?)",  # noqa: S608
        (*values, checksum(*values)),
    )
    return number


def note_merged(
    connection: sqlite3.Connection, merged: Iterable[tuple[int, int, int, int]]
) -> None:
    """Note numbers as (start of an agent, first, last, latest window), in the open transaction."""
    connection.executemany(
        f"INSERT OR REPLACE INTO seen ({SUMMED['seen']}) VALUES (?, ?, ?, ?, ?)",  # noqa: S608
        [(*row, checksum(*row)) for row in merged],
    )


def is_merged(connection: sqlite3.Connection, origin: int, seq: int) -> bool:
    """Return whether a batch of a start of an agent was merged."""
    row = connection.execute(
        f"SELECT {SUMMED['seen']} FROM seen WHERE origin = ? AND first <= ?"  # noqa: S608
        " ORDER BY first DESC LIMIT 1",
        (origin, seq),
    ).fetchone()
    if row is None or row[2] < seq:
        return False
    # One that is not whole is set aside by the next start.
    return is_whole(row)


def set_broken_aside(connection: sqlite3.Connection) -> dict[str, int]:
    """Set aside what is not as it was written, in the open transaction; return how many of each.

    2 us a row; there is one for each start of an agent, and one for each of its merges.
    """
    found = {}
    for table, columns in SUMMED.items():
        key = columns.split(", ")[: 1 if table != "seen" else 2]
        rows = connection.execute(f"SELECT {columns} FROM {table}").fetchall()  # noqa: S608
        broken = [row for row in rows if not is_whole(row)]
        where = " AND ".join(f"{name} IS ?" for name in key)
        for row in broken:
            set_aside(connection, table, row, "expected a row as it was written")
            connection.execute(f"DELETE FROM {table} WHERE {where}", row[: len(key)])  # noqa: S608
        if broken:
            found[table] = len(broken)
    return found
