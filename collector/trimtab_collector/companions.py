"""Whether state.db or metrics.db was begun anew beside the other: what was in it is lost, and told.

Both hold the same number from the first start on. A state.db that is made has none, which is an
accident where metrics.db has one, or where the keys of log-ins are there, which are made after it.
Files of versions before the number have none either, but nor has their state.db the table. What
was lost stays told until a backup of the file is put back, or somebody accepts the loss.
"""

import logging
import secrets
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final, NamedTuple

from trimtab_collector.checkedrows import CheckedConnection, intact
from trimtab_collector.statefile import COMPANION, LOGIN_KEYS, StateFile
from trimtab_collector.storage.sqlite.connect import connect
from trimtab_collector.storage.sqlite.schema import set_facts

__all__ = ["Companions", "Pair", "accept", "is_begun", "is_lost", "mark_of", "pair_of"]

logger = logging.getLogger("trimtab.state")

_METRICS: Final = "metrics.db"
_FACT: Final = "state_mark"
_STATE_LOST: Final = 1
_METRICS_LOST: Final = 2
_OR: Final = "put back a backup of that file, or run trimtab collector accept-loss"


class Pair(NamedTuple):
    """What state.db knows: its number, None in a file of an earlier version, and what was lost."""

    mark: int | None
    lost: int


class Companions:
    """What is told of the two files of a running collector; any thread.

    began says whether metrics.db is made at this start. Without a metrics.db nothing is told.
    """

    def __init__(self, state: StateFile, directory: Path, *, began: bool) -> None:
        self._state = state
        self._mark: int | None = None
        path = directory / _METRICS
        if not path.exists():
            return
        try:
            self._look(path, began=began)
        except sqlite3.Error as error:
            # A full disk: the numbers are compared at a later start.
            logger.warning("state.db and metrics.db are not compared error=%s", error)
        if self.trouble:
            logger.error("%s path=%s", self.trouble, directory)

    def _look(self, path: Path, *, began: bool) -> None:
        with closing(connect(path, 5)) as store:
            known = mark_of(store)
            with self._state.change() as connection:
                before = pair_of(connection)
                pair, mark = _decided(
                    before, known, began=began, has_keys=path.with_name(LOGIN_KEYS).exists()
                )
                # This one first: a metrics.db with a number beside a state.db without is a loss.
                if pair != before:
                    _keep(connection, pair)
            if mark != known:
                set_facts(store, {_FACT: mark})
        self._mark = mark

    @property
    def trouble(self) -> str:
        """What was lost and is not accepted, else empty."""
        if self._mark is None:
            return ""
        sql = f"SELECT mark, lost FROM {COMPANION}"  # noqa: S608 - constant
        return next((is_lost(each, self._mark) for each in self._state.decoded(sql, (), Pair)), "")


def is_begun(directory: Path) -> bool:
    """Return whether there is no metrics.db yet, or an empty one without what is to go into it."""
    sizes = [
        path.stat().st_size
        for path in (directory / _METRICS, directory / f"{_METRICS}-wal")
        if path.exists()
    ]
    return not any(sizes)


def is_lost(pair: Pair, mark: int | None) -> str:
    """Return what was lost by a file that was begun anew, in a sentence, else empty."""
    if pair.lost & _STATE_LOST:
        return (
            "state.db was missing or empty beside older files: users, tokens, rules, silences, "
            f"channels, marks and alerts are gone; stop the collector and {_OR}"
        )
    if pair.mark and mark and pair.mark != mark:
        return (
            "metrics.db was missing or empty beside state.db, or is another's: batches that were "
            f"in no other file yet, and the accounting, are gone; stop the collector and {_OR}"
        )
    return ""


def accept(directory: Path) -> str:
    """Go on without what was lost; returns what that was, empty where nothing is.

    Raises StartupError and sqlite3.Error for a file that cannot be used.
    """
    with closing(StateFile(directory)) as state, closing(connect(directory / _METRICS, 5)) as store:
        mark = mark_of(store)
        with state.change() as connection:
            what = is_lost(pair_of(connection), mark)
            if what and mark is not None:
                _keep(connection, Pair(mark, 0))
        return what


def mark_of(store: sqlite3.Connection) -> int | None:
    """Return the number in metrics.db; raises sqlite3.Error."""
    rows = store.execute("SELECT value FROM fact WHERE name = ?", (_FACT,)).fetchall()
    return rows[0][0] if rows and isinstance(rows[0][0], int) else None


def pair_of(connection: CheckedConnection) -> Pair:
    """Return what state.db knows; raises sqlite3.Error."""
    sql = "SELECT 1 FROM sqlite_master WHERE name = ?"
    if not connection.execute(sql, (COMPANION,)).fetchall():
        return Pair(None, 0)
    rows = intact(connection, f"SELECT mark, lost FROM {COMPANION}")  # noqa: S608 - constant
    return Pair(*rows[0]) if rows else Pair(None, 0)


def _decided(before: Pair, mark: int | None, *, began: bool, has_keys: bool) -> tuple[Pair, int]:
    """Return what state.db is to know, and the number for metrics.db."""
    lost = before.lost
    if before.mark == 0 and (mark is not None or has_keys):
        lost |= _STATE_LOST
    own = before.mark or mark or _new()
    if mark is None:
        if before.mark and began:
            lost |= _METRICS_LOST
        mark = _new() if lost & _METRICS_LOST else own
    elif mark == own:
        lost &= ~_METRICS_LOST
    return Pair(own, lost), mark


def _keep(connection: CheckedConnection, pair: Pair) -> None:
    StateFile.make_companion(connection)
    connection.put(COMPANION, (1, pair.mark, pair.lost), conflict="REPLACE")


def _new() -> int:
    return secrets.randbits(62) + 1
