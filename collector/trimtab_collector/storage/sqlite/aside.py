"""Rows of metrics.db that cannot be read: set aside in a table of their own, named in /health.

They are evidence and count for nothing. Those of the last 30 days are kept, at most 1,000.
"""

import logging
import sqlite3
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from trimtab_core.logs import RateLimited

__all__ = ["ASIDE_TABLE", "Aside", "set_aside"]

logger = logging.getLogger("trimtab.store")

ASIDE_TABLE: Final = """
CREATE TABLE unreadable (id INTEGER PRIMARY KEY, source TEXT NOT NULL, at_s INTEGER NOT NULL,
    why TEXT NOT NULL, evidence BLOB NOT NULL);
"""
_KEEP_S: Final = 30 * 86_400
_MOST_ROWS: Final = 1_000
_MOST_BYTES: Final = 64 * 1024 * 1024


def set_aside(connection: sqlite3.Connection, source: str, row: Sequence[object], why: str) -> None:
    """Keep what a row of a table holds, within the open transaction; the caller deletes the row."""
    try:
        evidence = msgspec.msgpack.encode(row)
    except (UnicodeError, OverflowError, msgspec.MsgspecError):
        evidence = repr(row).encode("utf-8", "replace")
    connection.execute(
        "INSERT INTO unreadable (source, at_s, why, evidence) VALUES (?, ?, ?, ?)",
        (source, int(time.time()), why[:200], evidence),
    )
    connection.execute(
        "DELETE FROM unreadable WHERE at_s < ? OR id <= (SELECT max(id) FROM unreadable) - ?",
        (int(time.time()) - _KEEP_S, _MOST_ROWS),
    )
    connection.execute(
        "UPDATE unreadable SET evidence = x'' WHERE id IN (SELECT id FROM (SELECT id,"
        " sum(length(evidence)) OVER (ORDER BY id DESC) AS total FROM unreadable) WHERE total > ?)",
        (_MOST_BYTES,),
    )


class Aside:
    """What was set aside, by table; any thread."""

    def __init__(self) -> None:
        self._rows: Mapping[str, int] = {}
        #: (table, id) of rows that reads have met, until they are set aside or too old
        self._met: dict[tuple[str, int], None] = {}
        #: what else was wrong with metrics.db when it was opened
        self._told: dict[str, None] = {}
        self._log = RateLimited(logger)

    def tell(self, what: str) -> None:
        """Name what was wrong with metrics.db until the process ends; empty is nothing."""
        if what:
            self._told[what] = None

    def note(self, table: str, number: int, error: Exception) -> None:
        """Note a row that a read has left out: it is still in its table."""
        self._met[table, number] = None
        if len(self._met) > _MOST_ROWS:
            self._met.pop(next(iter(self._met)), None)
        self._log.warning(table, "row %d of %s cannot be read: %s", number, table, error)

    @staticmethod
    def count(connection: sqlite3.Connection) -> Mapping[str, int]:
        """Return how many rows of each table were set aside."""
        return dict(
            connection.execute(
                "SELECT source, count(*) FROM unreadable GROUP BY source ORDER BY source"
            )
        )

    def confirm(self, rows: Mapping[str, int]) -> None:
        """Take what `count` has returned, once it is durable."""
        for table in rows:
            if rows[table] > self._rows.get(table, 0):
                # Those that reads have met are among them now.
                for each in [each for each in list(self._met) if each[0] == table]:
                    self._met.pop(each, None)
        self._rows = rows

    def text(self) -> str:
        """Return what was set aside, and else was wrong, as a sentence; empty if nothing was."""
        rows = Counter(self._rows)
        rows.update(table for table, _ in list(self._met))
        found = list(self._told)
        if rows:
            told = ", ".join(f"{count} of {table}" for table, count in sorted(rows.items()))
            found.append(f"rows are not as they were written and left out: {told}")
        return "; ".join(found)
