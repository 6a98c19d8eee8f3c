"""Which tier files there must be: metrics.db counts the batches that were merged into each.

The count of a file changes in the transaction that deletes its batches from the journal. So a file
that is missing or empty is told from one that was never begun. Files of an earlier version are
known from the next start on, without a count.
"""

import logging
import sqlite3
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

from trimtab_collector.storage.sqlite.facts import note_facts
from trimtab_collector.storage.sqlite.tierfacts import facts_of
from trimtab_collector.storage.sqlite.tierfile import DAMAGED
from trimtab_collector.storage.sqlite.tiers import files_of, start_of
from trimtab_collector.storage.sqlite.tierschema import UNREADABLE, open_reader
from trimtab_core.logs import RateLimited

__all__ = ["PREFIX", "KnownFiles", "is_anew", "missing_files"]

logger = logging.getLogger("trimtab.store")

#: of the name of a fact of metrics.db; the rest is the name of a file, the value its batches
PREFIX: Final = "file_"


class KnownFiles:
    """The tier files that a store has written; any thread."""

    def __init__(
        self,
        directory: Path,
        facts: Mapping[str, int],
        floors: Callable[[], Mapping[str, int]],
        writer: sqlite3.Connection,
    ) -> None:
        self._directory = directory
        self._floors = floors
        self._guard = threading.Lock()
        self._log = RateLimited(logger)
        self._batches = {
            name.removeprefix(PREFIX): value
            for name, value in facts.items()
            if name.startswith(PREFIX)
        }
        new = dict.fromkeys(self._unknown(), 0)
        self._batches |= new
        if new:
            # A disk without room for it keeps no collector from starting: at the next start.
            with suppress(sqlite3.Error):
                note_facts(writer, {PREFIX + name: 0 for name in new})
        self.missing()

    def missing(self) -> dict[str, str]:
        """Return the files that are missing or empty, and what that means; they are logged."""
        with self._guard:
            known = dict(self._batches)
        found = missing_files(self._directory, known, self._floors())
        for name, why in found.items():
            self._log.warning(name, "%s %s", self._directory / name, why)
        return found

    def lack_of(self, path: Path) -> str:
        """Return what it means that a file holds nothing, empty if it never held anything."""
        with self._guard:
            batches = self._batches.get(path.name)
        return "" if batches is None or _is_aside(path) else _lack(batches)

    def add(self, connection: sqlite3.Connection, names: Iterable[str], batches: int) -> None:
        """Count batches that were merged into files, within the open transaction."""
        with self._guard:
            facts = {PREFIX + name: self._batches.get(name, 0) + batches for name in names}
        note_facts(connection, facts)

    def confirm(self, names: Iterable[str], batches: int) -> None:
        """Take what `add` has written, once it is durable."""
        with self._guard:
            for name in names:
                self._batches[name] = self._batches.get(name, 0) + batches

    def too_old(self) -> list[str]:
        """Return the names of files that were deleted because they were too old."""
        floors = self._floors()
        with self._guard:
            names = list(self._batches)
        return [
            name
            for name in names
            if _is_old(name, floors) and not (self._directory / name).exists()
        ]

    @staticmethod
    def drop(connection: sqlite3.Connection, names: Iterable[str]) -> None:
        """Delete what is known of files, within the open transaction."""
        connection.executemany(
            "DELETE FROM fact WHERE name = ?", [(PREFIX + name,) for name in names]
        )

    def confirm_dropped(self, names: Iterable[str]) -> None:
        """Forget files, once that is durable."""
        with self._guard:
            for name in names:
                self._batches.pop(name, None)

    def _unknown(self) -> list[str]:
        """Return the files that hold something, and that metrics.db does not know."""
        found = []
        for _, _, path in files_of(self._directory):
            if path.name not in self._batches:
                with suppress(*UNREADABLE), closing(open_reader(path)) as file:
                    # One that was about to be begun has tables and nothing in them.
                    if _holds(file):
                        found.append(path.name)
        return found


def missing_files(
    directory: Path, known: Mapping[str, int], floors: Mapping[str, int]
) -> dict[str, str]:
    """Return those of the known files that are missing or empty, and what that means.

    Not those that are too old to be kept, nor those that were put aside as broken.
    """
    return {
        name: _lack(batches)
        for name, batches in sorted(known.items())
        if not _size(directory / name)
        and not _is_old(name, floors)
        and not _is_aside(directory / name)
    }


def is_anew(journal: sqlite3.Connection, path: Path, file: sqlite3.Connection) -> str:
    """Return what it means that a file without batches is begun again, empty if it is the first.

    journal is a connection to metrics.db. Raises sqlite3.Error.
    """
    if _holds(file) or _is_aside(path):
        return ""
    row = journal.execute("SELECT value FROM fact WHERE name = ?", (PREFIX + path.name,)).fetchone()
    return f"begun anew: it {_lack(row[0])}" if row else ""


def _holds(file: sqlite3.Connection) -> bool:
    """Return whether anything was ever merged into a file."""
    (here,) = file.execute(
        "SELECT EXISTS(SELECT 1 FROM chunk) OR EXISTS(SELECT 1 FROM gauge_chunk)"
    ).fetchone()
    return bool(here or facts_of(file).highest)


def _lack(batches: int) -> str:
    held = f"{batches} batches" if batches else "the batches"
    return (
        f"was missing or empty: {held} that were merged into it are lost there; put back a backup, "
        "a coarser step may still have them"
    )


def _is_old(name: str, floors: Mapping[str, int]) -> bool:
    found = start_of(name)
    return found is None or found[0].span(found[1])[1] <= floors[found[0].name]


def _is_aside(path: Path) -> bool:
    return path.with_name(path.name + DAMAGED).exists()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
    except OSError:
        return 1  # whatever it is, it is not known to be empty
