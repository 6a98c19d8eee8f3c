"""`state.db`: what the collector must remember besides measurements, in one small SQLite file.

People, keys, alerts, silences, marks and messages on their way. Each owner of tables brings a
`Schema`; what belongs together is changed in one transaction, also across owners. The console
opens the file while the collector runs.
"""

import logging
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from trimtab_core.errors import StartupError
from trimtab_core.logs import RateLimited

__all__ = ["Schema", "StateFile"]

_T = TypeVar("_T")
logger = logging.getLogger("trimtab.state")

_FILE: Final = "state.db"
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

    Raises StartupError when the file cannot be used, or was written by a newer version.
    """

    def __init__(self, directory: Path, schemas: Sequence[Schema] = ()) -> None:
        self.path = directory / _FILE
        self._lock = threading.RLock()
        self._log = RateLimited(logger)
        #: rows that could not be read, each time they were asked for
        self.unreadable = 0
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.path.touch(mode=0o600)
            self._connection = sqlite3.connect(
                self.path, isolation_level=None, timeout=_BUSY_S, check_same_thread=False
            )
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
            self._connection.execute("PRAGMA foreign_keys = ON")
            self._connection.execute(
                "CREATE TABLE IF NOT EXISTS schema_step"
                " (owner TEXT PRIMARY KEY, steps INTEGER NOT NULL) WITHOUT ROWID"
            )
        except (OSError, sqlite3.Error) as error:
            raise self._unusable(error) from error
        for schema in schemas:
            self.bring(schema)

    def bring(self, schema: Schema) -> None:
        """Make the tables of an owner that are missing; raises StartupError.

        Where none is missing nothing is written: a collector starts on a full disk.
        """
        if self._steps(schema) == len(schema.steps):
            return
        try:
            with self.change() as connection:
                for step in schema.steps[self._steps(schema) :]:
                    # Not executescript: it would commit the transaction.
                    for statement in filter(str.strip, step.split(";\n")):
                        connection.execute(statement)
                connection.execute(
                    "INSERT OR REPLACE INTO schema_step VALUES (?, ?)",
                    (schema.owner, len(schema.steps)),
                )
        except sqlite3.Error as error:
            raise self._unusable(error) from error

    @contextmanager
    def change(self) -> Iterator[sqlite3.Connection]:
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

        Such a row stays where it is: a version that can read it may come back.
        """
        found = []
        for row in self.rows(sql, parameters):
            try:
                found.append(read(*row))
            except (msgspec.MsgspecError, ValueError, TypeError, LookupError) as error:
                self.unreadable += 1
                self._log.warning(sql, "a row of %s is not read: %s", self.path.name, error)
        return found

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

    def _unusable(self, error: Exception) -> StartupError:
        return StartupError(
            f"expected a file that can be written at {self.path}, got: {error}; make room, or "
            "choose another directory with --data-dir"
        )
