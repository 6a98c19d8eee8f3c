"""Rows of amounts as they age: added up to wider ones, and dropped in the end. Committer only.

Rows of ten seconds become rows of a minute after a quarter of an hour, and rows of an hour after
two days. An earlier version kept rows as wide as the windows of agents, of any number of seconds,
which none of this concerned: they become rows of ten seconds first, at the start of their own.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from itertools import groupby, pairwise
from typing import Any, Final

from trimtab_collector.storage.rolls import ROLLS, rolled_before_s
from trimtab_collector.storage.sqlite.amounts import (
    AMOUNT_COLUMNS,
    INSERT_AMOUNT,
    amount_row,
    delta_of_row,
)
from trimtab_collector.storage.sqlite.aside import set_aside
from trimtab_collector.storage.sqlite.checksums import UnreadableError
from trimtab_core.measures import Delta

__all__ = ["drop_amounts", "roll_up_amounts"]

_KEEP_S: Final = 90 * 86_400
#: rows per transaction of a roll-up
_SLICE: Final = 4_000
#: widths of rows, seconds, and what lies between them
_WIDTHS: Final = (ROLLS[0][0], *(wider_s for _, wider_s, _ in ROLLS))
_BETWEEN: Final = tuple(pairwise((-(2**62), *_WIDTHS, 2**62)))
_OLD: Final = (
    f"SELECT rowid, {AMOUNT_COLUMNS} FROM amount"  # noqa: S608
    " WHERE step_s = ? AND t >= ? AND t < ? ORDER BY measure, t LIMIT ?"
)


def roll_up_amounts(connection: sqlite3.Connection, now_s: float) -> bool:
    """Roll up a slice of rows that are old enough, in the open transaction; False if none are."""
    for step_s, oldest_s, wider_s in _due(connection, now_s):
        start_s = oldest_s // wider_s * wider_s
        rows = connection.execute(_OLD, (step_s, start_s, start_s + wider_s, _SLICE)).fetchall()
        _merge(connection, rows, start_s, wider_s)
        return True
    return False


def drop_amounts(connection: sqlite3.Connection, now_s: float) -> None:
    """Drop what is too old, in the open transaction."""
    connection.execute(
        "DELETE FROM amount WHERE step_s = ? AND t < ?", (_WIDTHS[-1], int(now_s) - _KEEP_S)
    )


def _due(connection: sqlite3.Connection, now_s: float) -> Iterator[tuple[int, int, int]]:
    """Yield the width and the time of the oldest rows that are due, and the width they get."""
    for above_s, below_s in _BETWEEN:
        found = connection.execute(
            "SELECT step_s, t FROM amount WHERE step_s > ? AND step_s < ? ORDER BY step_s, t"
            " LIMIT 1",
            (above_s, below_s),
        ).fetchone()
        if found is not None:
            yield *found, _WIDTHS[0]
    for step_s, wider_s, age_s in ROLLS:
        (oldest_s,) = connection.execute(
            "SELECT min(t) FROM amount WHERE step_s = ? AND t < ?",
            (step_s, rolled_before_s(now_s, wider_s, age_s)),
        ).fetchone()
        if oldest_s is not None:
            yield step_s, oldest_s, wider_s


def _merge(connection: sqlite3.Connection, rows: Sequence[Any], start_s: int, wider_s: int) -> None:
    merged: list[tuple[object, ...]] = []
    for measure, some in groupby(rows, key=lambda row: row[1]):
        delta = Delta()
        for row in some:
            try:
                delta.merge(delta_of_row(row[1:]))
            except UnreadableError as error:
                set_aside(connection, "amount", row, str(error))
        if delta.count:
            merged.append(amount_row(measure, start_s, wider_s, delta))
    connection.executemany("DELETE FROM amount WHERE rowid = ?", [(row[0],) for row in rows])
    connection.executemany(INSERT_AMOUNT, merged)
