"""The connections with which a compactor writes tier files; a broken file is put aside.

Each connection has the dictionary of its file, as the open transaction will leave it.
"""

import logging
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

from trimtab_collector.storage.dictionary import Dictionary
from trimtab_collector.storage.sqlite.tierfile import DAMAGED, open_writer
from trimtab_collector.storage.sqlite.tiernames import load_series
from trimtab_collector.storage.sqlite.tierschema import VersionError, is_damage

__all__ = ["Writers", "put_aside"]

_T = TypeVar("_T")
logger = logging.getLogger("trimtab.compaction")

#: files held open at a time
_OPEN: Final = 8


class Writers:
    """Open files with a transaction each; one thread. What was not committed is lost at `close`."""

    def __init__(self) -> None:
        self._open: dict[Path, sqlite3.Connection] = {}
        self._series: dict[Path, Dictionary] = {}
        #: files that were written since the last `close`
        self.touched: set[Path] = set()

    def fill(self, path: Path, work: Callable[[sqlite3.Connection], _T]) -> _T:
        """Do work in a new transaction of a file and leave it open; raises sqlite3.Error.

        If the file turns out to be broken, it is put aside and the work is done in a new file.
        """
        try:
            with self.guarded(path):
                return work(self._begin(path))
        except (sqlite3.DatabaseError, VersionError, UnicodeDecodeError) as error:
            if not _is_useless(error):
                raise
            return work(self._begin(path))

    @contextmanager
    def guarded(self, path: Path) -> Iterator[None]:
        """Put the file aside if an error in the block says that it is broken; the error goes on."""
        try:
            yield
        except (sqlite3.DatabaseError, VersionError, UnicodeDecodeError) as error:
            if _is_useless(error):
                self._put_aside(path, error)
            raise

    def close(self) -> None:
        """Close all files; transactions that were not committed are rolled back."""
        for connection in self._open.values():
            connection.close()
        self._open.clear()
        self._series.clear()

    def forget(self, path: Path) -> None:
        """Close one file."""
        connection = self._open.pop(path, None)
        self._series.pop(path, None)
        if connection is not None:
            connection.close()

    def series(self, path: Path) -> Dictionary:
        """Return the dictionary of a file within its open transaction.

        Add series to both at once, with `add_series`. Raises sqlite3.Error, and VersionError for a
        file whose table of series has holes.
        """
        dictionary = self._series.get(path)
        if dictionary is None:
            dictionary = Dictionary()
            try:
                load_series(self._open[path], dictionary)
            except ValueError as error:
                raise VersionError(
                    f"its series have lost some of their numbers: {error}"
                ) from error
            self._series[path] = dictionary
        return dictionary

    def _begin(self, path: Path) -> sqlite3.Connection:
        connection = self._open.pop(path, None)
        if connection is None:
            while len(self._open) >= _OPEN:
                self.forget(next(iter(self._open)))
            connection = open_writer(path)
        self._open[path] = connection
        self.touched.add(path)
        if connection.in_transaction:
            connection.execute("ROLLBACK")
            self._series.pop(path, None)
        connection.execute("BEGIN IMMEDIATE")
        return connection

    def _put_aside(self, path: Path, error: Exception) -> None:
        """Keep a file that cannot be written under another name, which stays in /health."""
        self.forget(path)
        aside = put_aside(path)
        logger.error(
            "%s cannot be used (%s): put aside as %s, a new one begins", path, error, aside
        )


def _is_useless(error: Exception) -> bool:
    """Return whether an error says that a file itself is broken or of another version."""
    return isinstance(error, VersionError) or is_damage(error)


def put_aside(path: Path) -> Path:
    """Rename a file that cannot be used, so that a new one takes its place; returns the new path.

    Its new name says so in /health.
    """
    aside = path.with_name(path.name + DAMAGED)
    number = 1
    while aside.exists():
        number += 1
        aside = path.with_name(f"{path.name}{DAMAGED}-{number}")
    os.rename(path, aside)
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    return aside
