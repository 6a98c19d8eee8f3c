"""Indexes of metrics.db: compared with their tables after every start, and made anew.

An index has no checksum. One changed bit in it hides a row, or makes a batch that is here already
count again. What the rows themselves say is the truth: an index that differs is made anew. Those by
which batches are told apart and found are compared before anything is read or written, those of
measures and events soon after, by whoever tidies up.
"""

import contextlib
import logging
import sqlite3
from collections.abc import Callable, Sequence, Set
from functools import partial
from typing import Any, Final

__all__ = ["make_anew_within", "mend_indexes", "mend_large_indexes"]

logger = logging.getLogger("trimtab.store")

#: tables whose rows decide what counts, and those that take seconds to compare
_TABLES: Final = ("journal", "origin")
_LARGE: Final = ("amount", "event")
_NAMED: Final = "measure"
_MOST_FINDINGS: Final = 100
_MOST_GROUPS: Final = 10_000
#: what SQLite says of a page that nothing refers to: it wastes space and nothing else
_LEAKED: Final = "never used"


def mend_indexes(connection: sqlite3.Connection) -> str:
    """Make indexes anew that differ from their tables; return what was found, empty if nothing.

    For the writer, before anything else reads. 0.1 to 0.2 s for 10,000 batches. An index that
    cannot be made anew stays as it is and is named. Raises sqlite3.Error for a disk that fails.
    """
    differ = [
        name
        for table in _TABLES
        for name in _indexes_of(connection, table)
        if _differs(connection, table, name)
    ]
    if not differ:
        return ""
    return _told(differ, _make_anew(connection, differ))


def mend_large_indexes(
    connection: sqlite3.Connection, run: Callable[[Callable[[sqlite3.Connection], None]], Any]
) -> str:
    """Do what `mend_indexes` does for the tables of measures and events.

    connection reads, and run does work in a transaction of the writer. 1 s for a million rows,
    during which others read and write. Raises sqlite3.Error and what run raises.
    """
    connection.execute("BEGIN")
    try:
        differ = _broken_of(connection, _NAMED)
        for table in _LARGE:
            for name in _indexes_of(connection, table):
                if _sums_differ(connection, table, name):
                    differ.append(name)
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    if not differ:
        return ""
    why, before = "", set[str]()
    with contextlib.suppress(sqlite3.DatabaseError):
        before = _findings(connection, "quick_check")
    try:
        run(partial(_remake, indexes=differ, before=before, check="quick_check"))
    except sqlite3.DatabaseError as error:
        if not _is_broken(error):
            raise
        why = str(error)
    return _told(differ, why)


def _told(differ: Sequence[str], why: str) -> str:
    names = ", ".join(differ)
    if why:
        told = f"indexes differ from their tables and cannot be made anew ({why:.200}): {names}"
    else:
        told = f"indexes differed from their tables and were made anew: {names}"
    logger.warning("metrics.db: %s", told)
    return told


def make_anew_within(connection: sqlite3.Connection, table: str, index: str) -> bool:
    """Make an index anew in the open transaction if it differs; return whether it did.

    Raises sqlite3.Error if that is not possible: the caller rolls back.
    """
    if not _differs(connection, table, index):
        return False
    _remake(connection, [index])
    return True


def _indexes_of(connection: sqlite3.Connection, table: str) -> list[str]:
    found = connection.execute("SELECT name FROM pragma_index_list(?)", (table,))
    return [str(name) for (name,) in found]


def _columns_of(connection: sqlite3.Connection, index: str) -> list[str]:
    found = connection.execute("SELECT name FROM pragma_index_info(?)", (index,))
    return [str(name) for (name,) in found]


def _broken_of(connection: sqlite3.Connection, table: str) -> list[str]:
    """Return the indexes of a table that SQLite's own check names: 1 us per row and index."""
    names = _indexes_of(connection, table)
    try:
        # An earlier SQLite checks the whole file here.
        told = _findings(connection, of=f"'{table}'")
    except sqlite3.DatabaseError as error:
        if not _is_broken(error):
            raise
        return names
    return [name for name in names if any(name in text for text in told)]


def _sums_differ(connection: sqlite3.Connection, table: str, index: str) -> bool:
    """Return whether the entries of an index add up to something else than its table's rows.

    Whole numbers are added up, rows with the same texts together: no changed bit leaves all sums as
    they were, and SQLite adds without a call for each row.
    """
    kinds = dict(connection.execute("SELECT name, type FROM pragma_table_info(?)", (table,)))
    columns = [*_columns_of(connection, index), "rowid"]
    texts = ", ".join(name for name in columns if kinds.get(name) == "TEXT")
    # Microseconds in halves, since sums of whole numbers must stay below 2**63.
    sums = ", ".join(
        f"sum({name} >> 32), sum({name} & 0xFFFFFFFF)" if name.endswith("_us") else f"sum({name})"
        for name in columns
        if kinds.get(name) != "TEXT"
    )
    chosen, by = f"count(*), {sums}", ""
    if texts:
        chosen, by = f"{texts}, {chosen}", f"GROUP BY {texts} ORDER BY {texts} LIMIT {_MOST_GROUPS}"
    try:
        by_row, by_index = (
            connection.execute(f"SELECT {chosen} FROM {table} {source} {by}").fetchall()  # noqa: S608
            for source in ("NOT INDEXED", f"INDEXED BY {index}")
        )
    except sqlite3.DatabaseError as error:
        if not _is_broken(error) and "overflow" not in str(error):
            raise
        return True
    # With their types: whole numbers and fractions may be equal.
    return repr(by_row) != repr(by_index)


def _differs(connection: sqlite3.Connection, table: str, index: str) -> bool:
    """Return whether an index has other entries than its table has rows."""
    chosen = ", ".join((*_columns_of(connection, index), "rowid"))
    by_row, by_index = f"{table} NOT INDEXED", f"{table} INDEXED BY {index}"
    count = 0
    before: tuple[object, ...] = ()
    try:
        for entry in connection.execute(f"SELECT {chosen} FROM {by_index}"):  # noqa: S608
            if not before < entry:
                return True
            before = entry
            count += 1
        (rows,) = connection.execute(f"SELECT count(*) FROM {by_row}").fetchone()  # noqa: S608
        (missing,) = connection.execute(
            f"SELECT EXISTS (SELECT {chosen} FROM {by_row}"  # noqa: S608
            f" EXCEPT SELECT {chosen} FROM {by_index})"
        ).fetchone()
    except TypeError:  # entries of another type, which have no order
        return True
    except sqlite3.DatabaseError as error:
        if not _is_broken(error):
            raise
        return True
    return bool(missing or count != rows)


def _make_anew(connection: sqlite3.Connection, indexes: Sequence[str]) -> str:
    """Make indexes anew, all or none; return why that is not possible."""
    before: set[str] = set()
    # The check itself ends at some broken indexes, after which its transaction is of no more use.
    with contextlib.suppress(sqlite3.DatabaseError):
        before = _findings(connection)
    connection.execute("BEGIN IMMEDIATE")
    try:
        _remake(connection, indexes, before)
        connection.execute("COMMIT")
    except sqlite3.DatabaseError as error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        if not _is_broken(error):
            raise
        return str(error)
    return ""


def _remake(
    connection: sqlite3.Connection,
    indexes: Sequence[str],
    before: Set[str] = frozenset(),
    check: str = "integrity_check",
) -> None:
    for index in indexes:
        connection.execute(f"REINDEX {index}")
    # A broken index may have referred to pages of a table, which would be free now.
    worse = [each for each in _findings(connection, check) - before if _LEAKED not in each]
    if worse:
        error = sqlite3.DatabaseError(min(worse))
        error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise error


def _findings(
    connection: sqlite3.Connection, check: str = "integrity_check", of: object = _MOST_FINDINGS
) -> set[str]:
    return {str(text) for (text,) in connection.execute(f"PRAGMA {check}({of})")} - {"ok"}


def _is_broken(error: sqlite3.Error) -> bool:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_CONSTRAINT)
