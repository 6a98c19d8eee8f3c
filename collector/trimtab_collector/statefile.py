"""`state.db`: what the collector must remember besides measurements, in one small SQLite file.

People, keys, alerts, silences, marks and messages on their way. Each owner of tables brings a
`Schema`; what belongs together is changed in one transaction, also across owners. The console
opens the file while the collector runs.
"""

import logging
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from trimtab_collector.checkedrows import (
    CheckedConnection,
    UnreadableError,
    checked,
    damage_of,
    damaged_rows,
    verified,
)
from trimtab_collector.room import opened_with_room
from trimtab_core.errors import StartupError
from trimtab_core.logs import RateLimited
from trimtab_core.ownfiles import make_directory, touch_own

__all__ = ["COMPANION", "LOGIN_KEYS", "Schema", "StateFile", "is_damaged", "reader_of", "unusable"]

_T = TypeVar("_T")
logger = logging.getLogger("trimtab.state")

_FILE: Final = "state.db"
#: a file that is made after this one, at the first start
LOGIN_KEYS: Final = "login-keys"
#: the table of one row of what this file knows of metrics.db
COMPANION: Final = "companion"
#: errors of SQLite that do not say that the file is damaged
_NOT_DAMAGE: Final = (sqlite3.OperationalError, sqlite3.IntegrityError, sqlite3.ProgrammingError)
#: how long a change waits for one of another process
_BUSY_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Schema:
    """The tables of one owner: statements that make them, in steps.

    A released step never changes: to change a table, append a step that alters it. The number of
    steps carried out is kept per owner.
    """

    owner: str
    #: each is a script of statements
    steps: tuple[str, ...]


class StateFile:
    """One connection to the file; any thread. Changes are durable when `change` ends.

    waits is for the collector: on a full disk it waits for room to open the file, and it looks at
    all of it. Raises StartupError when the file cannot be used, or was written by a newer version.
    """

    def __init__(
        self, directory: Path, schemas: Sequence[Schema] = (), *, waits: bool = False
    ) -> None:
        self.path = directory / _FILE
        self._lock = threading.RLock()
        self._log = RateLimited(logger)
        #: rows that could not be read, each time they were asked for
        self.unreadable = 0
        #: what is wrong with the file as a whole, else empty
        self.trouble = ""
        try:
            make_directory(directory)
            opened_with_room(directory, self._opened, waits=waits)
        except (OSError, sqlite3.Error) as error:
            raise unusable(self.path.parent, error) from error
        for schema in schemas:
            self.bring(schema)
        if waits:
            self.survey()

    @staticmethod
    def make_companion(connection: CheckedConnection) -> None:
        """Make the table of what the file knows of metrics.db, within a transaction."""
        connection.execute(
            f"CREATE TABLE IF NOT EXISTS {COMPANION} (one INTEGER PRIMARY KEY CHECK (one = 1),"
            " mark INTEGER NOT NULL, lost INTEGER NOT NULL, crc INTEGER)"
        )
        connection.table(COMPANION, afresh=True)

    def _opened(self) -> None:
        """Open the file, making it if needed."""
        touch_own(self.path)
        connection = self._connection = sqlite3.connect(
            self.path,
            isolation_level=None,
            timeout=_BUSY_S,
            check_same_thread=False,
            factory=CheckedConnection,
        )
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
            self._begin(connection)
        except BaseException:
            connection.close()
            raise

    def _begin(self, connection: CheckedConnection) -> None:
        """Make the tables of the file itself where it has none: it knows of no metrics.db yet."""
        look = "SELECT 1 FROM sqlite_master LIMIT 1"
        if connection.execute(look).fetchall():
            return
        connection.execute("BEGIN IMMEDIATE")
        if not connection.execute(look).fetchall():
            connection.execute(
                "CREATE TABLE schema_step"
                " (owner TEXT PRIMARY KEY, steps INTEGER NOT NULL) WITHOUT ROWID"
            )
            self.make_companion(connection)
            connection.put(COMPANION, (1, 0, 0))
        connection.execute("COMMIT")

    def bring(self, schema: Schema) -> None:
        """Make the tables of an owner that are missing; raises StartupError.

        Where none is missing nothing is written: a collector starts on a full disk.
        """
        if self._steps(schema) == len(schema.steps):
            return
        try:
            with self.change() as connection:
                before = _checked_tables(connection)
                for step in schema.steps[self._steps(schema) :]:
                    # Not executescript: it would commit the transaction.
                    for statement in filter(str.strip, step.split(";\n")):
                        connection.execute(statement)
                for table, columns in _checked_tables(connection).items():
                    if columns != before.get(table, ()):
                        connection.seal(table, before.get(table, ()))
                connection.execute(
                    "INSERT OR REPLACE INTO schema_step VALUES (?, ?)",
                    (schema.owner, len(schema.steps)),
                )
        except sqlite3.Error as error:
            raise unusable(self.path.parent, error) from error

    @contextmanager
    def change(self) -> Iterator[CheckedConnection]:
        """Yield the connection within a transaction: all of it is kept, or nothing on an exception.

        Changes of one thread may be nested; the outermost is the transaction.
        """
        with self._lock:
            if self._connection.in_transaction:
                yield self._connection
                return
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                # A full disk may have ended it already; what is left open would swallow the next.
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        with self._lock:
            return self._connection.execute(sql, parameters).fetchall()

    def decoded(self, sql: str, parameters: Sequence[Any], read: Callable[..., _T]) -> list[_T]:
        """Return what read makes of each row; one that it cannot read is left out, and counted.

        Such a row stays where it is: a version that can read it may come back. The same is done
        with one that is not as it was written. The query is one of rows of one table.
        """
        with self._lock:
            query, count = checked(self._connection, sql)
        return self.readable(
            sql, self.rows(query, parameters), lambda *row: read(*verified(row, count))
        )

    def readable(
        self, what: str, rows: Iterable[Sequence[Any]], read: Callable[..., _T]
    ) -> list[_T]:
        """Do the same with rows that were read; what they are is logged once a minute."""
        found = []
        for row in rows:
            try:
                found.append(read(*row))
            except (
                *(msgspec.MsgspecError, ValueError, TypeError),
                *(LookupError, OverflowError, RecursionError, UnreadableError),
            ) as error:
                self.unreadable += 1
                self._log.warning(what, "a row of %s is not read: %s", self.path.name, error)
        return found

    def survey(self) -> None:
        """Look at every row and page of the file, and tell what is not as it was written.

        A row whose key was changed is one that nobody asks for.
        """
        with self._lock:
            damage = damage_of(self._connection)
            try:
                for table, count in damaged_rows(self._connection):
                    self.unreadable += count
                    logger.error(
                        "rows are not as they were written, and are not used: put back a backup "
                        "path=%s table=%s rows=%d",
                        *(self.path, table, count),
                    )
            except sqlite3.DatabaseError as error:
                damage = damage or str(error)
        if damage:
            self.trouble = self.trouble or (
                f"{self.path.name} is damaged: {damage}; stop the collector and put back a backup "
                "of that file"
            )
            logger.error("the state is damaged: %s path=%s", damage, self.path)

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._connection.close()

    def _steps(self, schema: Schema) -> int:
        """Return how many steps of an owner were carried out; raises StartupError for too many."""
        found = self.rows("SELECT steps FROM schema_step WHERE owner = ?", (schema.owner,))
        done = int(found[0][0]) if found else 0
        if done > len(schema.steps):
            raise StartupError(
                f"expected {self.path} to be written by this version or an older one, got "
                f"{schema.owner} of a newer version: start that version again"
            )
        return done


def is_damaged(error: Exception) -> bool:
    """Return whether an error of SQLite says that its file is not what it was."""
    return isinstance(error, sqlite3.DatabaseError) and not isinstance(error, _NOT_DAMAGE)


def unusable(directory: Path, error: Exception) -> StartupError:
    """Return the end of a start from a directory whose state SQLite cannot read or write."""
    if is_damaged(error):
        return StartupError(
            f"expected sound files of state in {directory}, got: {error}; put back a backup of "
            f"{_FILE}, or move it away to begin without users, rules and alerts"
        )
    return StartupError(
        f"expected a file that can be written at {directory / _FILE}, got: {error}; make room, or "
        "choose another directory with --data-dir"
    )


def _checked_tables(connection: CheckedConnection) -> dict[str, Sequence[str]]:
    """Return the tables whose rows have checksums, and the columns that these are of."""
    rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    known = {name: connection.table(name, afresh=True) for (name,) in rows}
    return {name: table.names for name, table in known.items() if table.has_crc}


def reader_of(kind: type[_T]) -> Callable[..., _T]:
    """Return what makes a NamedTuple or dataclass of a row with its fields in their order.

    It raises msgspec.ValidationError for a column of another type.
    """
    if not is_dataclass(kind):
        return lambda *row: msgspec.convert(row, kind)
    names = [each.name for each in fields(kind)]
    return lambda *row: msgspec.convert(dict(zip(names, row, strict=True)), kind)
