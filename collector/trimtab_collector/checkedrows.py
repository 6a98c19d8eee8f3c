"""Rows with a checksum in SQLite files, so that a disk that changes a bit changes no right or rule.

The tables of keys.db and state.db end in a column `crc`: the CRC-32 of the other values of the row,
its key included. What writes a row writes it by `put` or `revise`, which keep the checksum; a row
that another statement wrote is not as it was written. When the column comes to a table, all rows
that are there get theirs, so that NULL is no row of an earlier version but a row that lost its end.
"""

import re
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple

from trimtab_collector.storage.sqlite.checksums import UnreadableError, checksum

__all__ = [
    "CheckedConnection",
    "UnreadableError",
    "add_checksums",
    "checked",
    "damage_of",
    "damaged_rows",
    "intact",
    "verified",
    "whole_text",
]

_CRC: Final = "crc"
#: what SQLite keeps in columns of a type as it is given
_PLAIN: Final = {"TEXT": str, "REAL": float, "INTEGER": int, "BLOB": bytes}
_QUERY: Final = re.compile(r"\s*SELECT\s+(.+?)\s+FROM\s+(\w+)\b", re.DOTALL)


class _Table(NamedTuple):
    """The columns of a table but for the checksum, with their types, and those of its key."""

    names: tuple[str, ...]
    types: tuple[str, ...]
    key: tuple[str, ...]
    has_crc: bool

    @property
    def listed(self) -> str:
        """The columns as they are checked, for a query."""
        return ", ".join((_CRC, *self.names))

    @property
    def at_key(self) -> str:
        """The condition of one row."""
        return " AND ".join(f"{name} = ?" for name in self.key)

    def keeps(self, row: Sequence[object]) -> bool:
        """Return whether SQLite keeps the values of a whole row just as they are given."""
        # What is a number of another type it turns, and NaN becomes NULL.
        return all(
            value is None or (type(value) is _PLAIN.get(kind) and value == value)
            for value, kind in zip(row, self.types, strict=True)
        )

    @property
    def is_numbered(self) -> bool:
        """Whether SQLite gives a row its key."""
        return len(self.key) == 1 and self.types[self.names.index(self.key[0])] == "INTEGER"


class CheckedConnection(sqlite3.Connection):
    """A connection that writes rows with their checksums; for `sqlite3.connect(factory=...)`.

    Names of tables and columns, and conditions, are texts of the program. A table without the
    column is written without.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.text_factory = whole_text
        self._tables: dict[str, _Table] = {}

    def put(
        self, table: str, values: Sequence[object], columns: str = "", *, conflict: str = "ABORT"
    ) -> int | None:
        """Insert a row, of all columns of the table or of some; returns its number, if it has one.

        conflict is what SQLite does about a key that is there: ABORT, REPLACE or IGNORE.
        """
        known = self.table(table)
        names = tuple(columns.replace(" ", "").split(",")) if columns else known.names
        row = list(values)
        is_known = names == known.names and known.keeps(row)
        if known.has_crc and is_known:
            row.append(checksum(*row))
            names = (*names, _CRC)
        cursor = self.execute(
            f"INSERT OR {conflict} INTO {table} ({', '.join(names)})"  # noqa: S608 - ours
            f" VALUES ({', '.join('?' * len(row))})",
            row,
        )
        if known.has_crc and not is_known and cursor.rowcount:
            given = dict(zip(names, values, strict=True))
            if known.is_numbered:
                given.setdefault(known.key[0], cursor.lastrowid)
            self._seal(table, known, [given[name] for name in known.key])
        return cursor.lastrowid

    def put_all(
        self, table: str, rows: Iterable[Sequence[object]], *, conflict: str = "ABORT"
    ) -> None:
        """Insert rows, each of all columns of the table."""
        known, given = self.table(table), list(rows)
        if not (known.has_crc and all(known.keeps(row) for row in given)):
            for row in given:
                self.put(table, row, conflict=conflict)
            return
        names = (*known.names, _CRC)
        self.executemany(
            f"INSERT OR {conflict} INTO {table} ({', '.join(names)})"  # noqa: S608 - ours
            f" VALUES ({', '.join('?' * len(names))})",
            [(*row, checksum(*row)) for row in given],
        )

    def revise(
        self,
        table: str,
        what: str,
        given: Sequence[object],
        where: str,
        values: Sequence[object],
        *,
        damaged: bool = False,
    ) -> int:
        """Change the rows that a condition holds for; returns how many were changed.

        what is the part of the statement behind SET, given its parameters. A row that is not as it
        was written stays as it is, or is changed and stays wrong with damaged: its new checksum
        would vouch for what the disk made of it.
        """
        known, changed = self.table(table), 0
        key = ", ".join(known.key)
        columns = known.listed if known.has_crc else key
        sql = f"SELECT {key}, {columns} FROM {table} WHERE {where}"  # noqa: S608 - ours
        for row in self.execute(sql, values).fetchall():
            place, (crc, *old) = row[: len(known.key)], row[len(known.key) :]
            is_sound = not known.has_crc or crc == checksum(*old)
            if not (is_sound or damaged):
                continue
            self.execute(
                f"UPDATE {table} SET {what} WHERE {known.at_key}",  # noqa: S608 - ours
                (*given, *place),
            )
            changed += 1
            if known.has_crc and is_sound:
                self._seal(table, known, place)
        return changed

    def seal(self, table: str, before: Sequence[str] = ()) -> None:
        """Give checksums to the rows that have none, or one of the columns there were before."""
        known = self.table(table, afresh=True)
        columns = ", ".join((*known.key, _CRC, *before))
        count = len(known.key)
        for row in self.execute(f"SELECT {columns} FROM {table}").fetchall():  # noqa: S608 - ours
            if row[count] == (checksum(*row[count + 1 :]) if before else None):
                self._seal(table, known, row[:count])

    def table(self, name: str, *, afresh: bool = False) -> _Table:
        """Return what there is to know of a table."""
        if afresh or name not in self._tables:
            rows = self.execute(f"PRAGMA table_info({name})").fetchall()
            own = [row for row in rows if row[1] != _CRC]
            keys = sorted((row[5], row[1]) for row in own if row[5])
            self._tables[name] = _Table(
                tuple(row[1] for row in own),
                tuple(row[2] for row in own),
                tuple(key for _, key in keys),
                len(own) < len(rows),
            )
        return self._tables[name]

    def _seal(self, table: str, known: _Table, place: Sequence[object]) -> None:
        sql = f"SELECT {', '.join(known.names)} FROM {table} WHERE {known.at_key}"  # noqa: S608
        for row in self.execute(sql, place).fetchall():
            self.execute(
                f"UPDATE {table} SET {_CRC} = ? WHERE {known.at_key}",  # noqa: S608 - ours
                (checksum(*row), *place),
            )


def add_checksums(*tables: str) -> str:
    """Return the step of a schema that brings the column to tables."""
    return ";\n".join(f"ALTER TABLE {table} ADD COLUMN {_CRC} INTEGER" for table in tables)


def checked(connection: CheckedConnection, sql: str) -> tuple[str, int]:
    """Return a query that yields what its rows are verified by as well, and how many columns.

    It is one of rows of one table, not of groups. The number is 0 for a table without checksums.
    """
    found = _QUERY.match(sql)
    if found is None:
        raise ValueError(f"expected SELECT columns FROM a table, got {sql:.80}")  # noqa: S608 - no query
    known = connection.table(found[2])
    if not known.has_crc:
        return sql, 0
    end = found.end(1)
    return f"{sql[:end]}, {known.listed}{sql[end:]}", 1 + len(known.names)


def verified(row: Sequence[Any], count: int) -> Sequence[Any]:
    """Return a row of a checked query without what it is verified by.

    Raises UnreadableError for one that is not as it was written.
    """
    if not count:
        return row
    crc, *values = row[-count:]
    if crc != checksum(*values):
        raise UnreadableError("expected a row as it was written, its checksum differs")
    return row[:-count]


def intact(
    connection: CheckedConnection, sql: str, values: Sequence[object] = ()
) -> list[Sequence[Any]]:
    """Return the rows of a query but for those that are not as they were written."""
    query, count = checked(connection, sql)
    found = []
    for row in connection.execute(query, values).fetchall():
        with suppress(UnreadableError):
            found.append(verified(row, count))
    return found


def damaged_rows(connection: CheckedConnection) -> Iterator[tuple[str, int]]:
    """Yield each table with rows that are not as they were written, and how many; reads them all.

    Raises sqlite3.Error.
    """
    tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    for (table,) in tables:
        known = connection.table(table, afresh=True)
        if not known.has_crc:
            continue
        rows = connection.execute(f"SELECT {known.listed} FROM {table}")  # noqa: S608 - ours
        if count := sum(crc != checksum(*values) for crc, *values in rows):
            yield table, count


def damage_of(connection: sqlite3.Connection) -> str:
    """Return what SQLite finds wrong with a file, such as rows that are missing, else empty."""
    try:
        ((found,),) = connection.execute("PRAGMA integrity_check(1)").fetchall()
    except sqlite3.DatabaseError as error:
        return str(error)
    return "" if found == "ok" else str(found)


def whole_text(data: bytes) -> str:
    """Return the text of a column; damaged bytes cost a character, not every row beside them."""
    return data.decode("utf-8", "replace")
