"""The series that a tier file names. Each row ends in a checksum of its number and its texts.

What a name that is not as it was written stood for is not known: its points are left out of all
answers, and cost nobody else's. Files of version 3 have no such checksums.
"""

import contextlib
import sqlite3
import zlib
from collections.abc import Iterable, Sequence
from typing import Any, Final

from trimtab_collector.storage.dictionary import Dictionary
from trimtab_collector.storage.sqlite.tierfacts import facts_of, note
from trimtab_collector.storage.sqlite.tierschema import rows_of
from trimtab_core.batches import SeriesKey

__all__ = [
    "add_series",
    "is_sound",
    "load_series",
    "name_checksum",
    "seal_names",
    "seal_series",
]

_TEXTS: Final = slice(1, 1 + len(SeriesKey._fields))


def load_series(connection: sqlite3.Connection, dictionary: Dictionary) -> None:
    """Add to a dictionary the series of this file that the open transaction sees.

    Those that are damaged or missing are `lost` there. Raises sqlite3.Error, and ValueError for a
    hole in the numbers where a file of version 3 has one.
    """
    begin = len(dictionary)
    query = "SELECT * FROM series WHERE id >= ? ORDER BY id"
    told = connection.execute("SELECT value FROM fact WHERE name = 'series'").fetchone()
    if told is None:
        rows = connection.execute(query, (begin,)).fetchall()
        dictionary.load((row[0], SeriesKey(*row[_TEXTS])) for row in rows)
        return
    rows = rows_of(connection, query, (begin,))
    if rows or told[0] != begin:
        facts = facts_of(connection)
        end = begin + len(rows) if facts.wrong else facts.values["series"]
        sound = {row[0]: SeriesKey(*row[_TEXTS]) for row in rows if is_sound(row)}
        dictionary.load((number, sound.get(number)) for number in range(begin, end))


def add_series(
    connection: sqlite3.Connection, dictionary: Dictionary, keys: Iterable[SeriesKey]
) -> list[int]:
    """Return the numbers of series in this file, adding new series in the open transaction.

    dictionary is that of the file; if the transaction is rolled back, discard it.
    """
    before = len(dictionary)
    numbers = [dictionary.add(key) for key in keys]
    new = [(number, *dictionary.key(number)) for number in range(before, len(dictionary))]
    if new:
        connection.executemany(
            "INSERT INTO series VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [(*row, name_checksum(*row)) for row in new],
        )
        note(connection, series=len(dictionary))
    return numbers


def seal_series(connection: sqlite3.Connection) -> int:
    """Give a checksum to every series that a file of version 3 has; return how many there are.

    What is no text gets none.
    """
    return seal_names(connection, "series")


def seal_names(connection: sqlite3.Connection, table: str) -> int:
    """Give a checksum to every row of a table: a number, texts, and the checksum."""
    connection.text_factory = bytes
    try:
        rows = connection.execute(f"SELECT * FROM {table}").fetchall()  # noqa: S608
    finally:
        connection.text_factory = str
    for number, *texts, _ in rows:
        with contextlib.suppress(TypeError, ValueError):
            crc = name_checksum(number, *(text.decode() for text in texts))
            connection.execute(f"UPDATE {table} SET crc = ? WHERE id = ?", (crc, number))  # noqa: S608
    return max((row[0] + 1 for row in rows), default=0)


def name_checksum(number: int, *texts: str) -> int:
    """Return the checksum of a name; quick, since a file may have some ten thousand of them."""
    return zlib.crc32("\0".join(texts).encode(), number & 0xFFFFFFFF)


def is_sound(row: Sequence[Any]) -> bool:
    """Return whether a row, a number, texts and a checksum, is as it was written."""
    try:
        return bool(row[-1] == name_checksum(*row[:-1]))
    except (TypeError, ValueError):  # something that is no text
        return False
