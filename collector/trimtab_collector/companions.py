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
from trimtab_collector.statefile import COMPANION, LOGIN_KEYS, StateFile, unusable
from trimtab_collector.storage.sqlite.connect import connect
from trimtab_collector.storage.sqlite.facts import read_facts, set_facts

__all__ = ["Companions", "FilePair", "accept", "is_begun", "is_lost", "mark_of", "pair_of"]

logger = logging.getLogger("trimtab.state")

_METRICS: Final = "metrics.db"
_FACT: Final = "state_mark"
_STATE_LOST: Final = 1
_METRICS_LOST: Final = 2
_OR: Final = "put back a backup of that file, or run trimtab collector accept-loss"


class FilePair(NamedTuple):
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
        return next(
            (is_lost(each, self._mark) for each in self._state.decoded(sql, (), FilePair)), ""
        )


def is_begun(directory: Path) -> bool:
    """Return whether there is no metrics.db yet, or an empty one without what is to go into it."""
    sizes = [
        path.stat().st_size
        for path in (directory / _METRICS, directory / f"{_METRICS}-wal")
        if path.exists()
    ]
    return not any(sizes)


def is_lost(pair: FilePair, mark: int | None) -> str:
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

    Raises StartupError for a file that cannot be used.
    """
    with closing(StateFile(directory)) as state:
        try:
            with closing(connect(directory / _METRICS, 5)) as store, state.change() as connection:
                mark = mark_of(store)
                what = is_lost(pair_of(connection), mark)
                if what and mark is not None:
                    _keep(connection, FilePair(mark, 0))
        except sqlite3.Error as error:
            raise unusable(directory, error) from error
        return what


def mark_of(store: sqlite3.Connection) -> int | None:
    """Return the number in metrics.db; raises sqlite3.Error."""
    return read_facts(store).get(_FACT)


def pair_of(connection: CheckedConnection) -> FilePair:
    """Return what state.db knows; raises sqlite3.Error."""
    sql = "SELECT 1 FROM sqlite_master WHERE name = ?"
    if not connection.execute(sql, (COMPANION,)).fetchall():
        return FilePair(None, 0)
    rows = intact(connection, f"SELECT mark, lost FROM {COMPANION}")  # noqa: S608 - constant
    return FilePair(*rows[0]) if rows else FilePair(None, 0)


def _decided(
    before: FilePair, mark: int | None, *, began: bool, has_keys: bool
) -> tuple[FilePair, int]:
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
    return FilePair(own, lost), mark


def _keep(connection: CheckedConnection, pair: FilePair) -> None:
    StateFile.make_companion(connection)
    connection.put(COMPANION, (1, pair.mark, pair.lost), conflict="REPLACE")


def _new() -> int:
    return secrets.randbits(62) + 1
