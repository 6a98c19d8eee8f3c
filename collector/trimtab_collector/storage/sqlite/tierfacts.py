"""Facts of a tier file: whose marks it has, how many names, and marks of journal rows.

Facts and marks are few and decide what counts. A checksum over all facts is one of them, and a sum
over all marks another, so that none changes or vanishes unnoticed. Files of version 3 have neither.
"""

import contextlib
import secrets
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final, NamedTuple

from trimtab_collector.storage.sqlite.checksums import checksum
from trimtab_collector.storage.sqlite.tiers import Tier
from trimtab_collector.storage.sqlite.tierschema import (
    UNREADABLE,
    VERSION,
    open_reader,
    rows_of,
    version_of,
)

__all__ = [
    "TierFacts",
    "adopt",
    "facts_of",
    "forget",
    "highest_of",
    "mark",
    "marked",
    "new_number",
    "note",
    "number_in",
    "seal_facts",
    "strangers",
]

_SEAL: Final = "seal"
#: the sum of all marks wraps around here
_WRAP: Final = 2**62
_ODD: Final = 0x9E3779B1


class TierFacts(NamedTuple):
    """The facts of a file, as far as they are numbers."""

    values: Mapping[str, int]
    marks: frozenset[int]
    #: what is damaged among facts and marks, empty for nothing
    wrong: str

    @property
    def identity(self) -> int:
        """Return the identity of the journal that the marks are about, 0 if none has any yet."""
        return self.values.get("identity", 0)

    @property
    def highest(self) -> int:
        """Return the highest number of a journal row that this file has ever had."""
        return max(self.values.get("highest", 0), *self.marks, 0)

    def marked(self, identity: int) -> frozenset[int]:
        """Return the ids of journal rows that this file holds; the journal may have them still.

        identity is that of the journal; marks about another journal do not count. Whose they are is
        not known where the facts are damaged: they count then.
        """
        own = self.wrong or self.identity in (0, identity)
        return self.marks if own else frozenset()


def facts_of(connection: sqlite3.Connection) -> TierFacts:
    """Return the facts that the open transaction sees; raises sqlite3.Error."""
    rows = rows_of(connection, "SELECT name, value FROM fact")
    found = [row for (row,) in connection.execute("SELECT journal FROM merged")]
    marks = frozenset(row for row in found if isinstance(row, int))
    values = {str(name): value for name, value in rows if isinstance(value, int)}
    wrong = ""
    if _SEAL in values or version_of(connection) >= VERSION:
        told = dict(values)
        if told.pop(_SEAL, None) != _checksum(told) or len(values) != len(rows):
            wrong = "its facts are not as they were written"
        elif told.get("marks") != _sum(marks) or len(marks) != len(found):
            wrong = "its marks of journal rows are not as they were written"
    return TierFacts(values, marks, wrong)


def note(connection: sqlite3.Connection, **values: int | None) -> None:
    """Write facts within the open transaction, None for one that is no more."""
    rows = rows_of(connection, "SELECT name, value FROM fact")
    facts = {str(name): value for name, value in rows} | values
    seal = facts.pop(_SEAL, None)
    kept = {name: value for name, value in facts.items() if value is not None}
    connection.executemany(
        "DELETE FROM fact WHERE name = ?", [(name,) for name in values if values[name] is None]
    )
    changed: dict[str, int | None] = {name: kept[name] for name in values if name in kept}
    if seal is not None:
        changed[_SEAL] = _checksum(kept)
    connection.executemany("INSERT OR REPLACE INTO fact VALUES (?, ?)", changed.items())


def seal_facts(connection: sqlite3.Connection, **values: int) -> None:
    """Write facts anew, with those that they have and values, within the open transaction."""
    facts = facts_of(connection)
    kept = {**facts.values, "marks": _sum(facts.marks), **values}
    kept.pop(_SEAL, None)
    connection.execute("DELETE FROM fact")
    connection.executemany(
        "INSERT INTO fact VALUES (?, ?)", [*kept.items(), (_SEAL, _checksum(kept))]
    )


def marked(connection: sqlite3.Connection, identity: int) -> frozenset[int]:
    """Return the ids of journal rows that this file holds; see `TierFacts.marked`."""
    return facts_of(connection).marked(identity)


def adopt(connection: sqlite3.Connection, identity: int) -> None:
    """Note whose marks these are, within the open transaction; delete marks of another journal.

    Damaged facts are written anew, and are named from then on.
    """
    facts = facts_of(connection)
    if facts.wrong:
        (series,) = connection.execute("SELECT count(*) FROM series").fetchone()
        seal_facts(connection, identity=identity, highest=facts.highest, series=series, mended=1)
    elif facts.identity not in (0, identity):
        connection.execute("DELETE FROM merged")
        note(connection, identity=identity, marks=0, highest=None, adopted=1)
    elif facts.identity != identity:
        note(connection, identity=identity)


def forget(connection: sqlite3.Connection, journal: Sequence[int]) -> None:
    """Delete marks of rows that are no longer in the journal, within the open transaction."""
    if journal:
        connection.executemany("DELETE FROM merged WHERE journal = ?", [(row,) for row in journal])
        (before,) = connection.execute("SELECT value FROM fact WHERE name = 'marks'").fetchone()
        note(connection, marks=(before - _sum(journal)) % _WRAP)


def mark(connection: sqlite3.Connection, journal: Sequence[int]) -> None:
    """Mark journal rows as merged into this file, within the open transaction."""
    connection.executemany("INSERT INTO merged VALUES (?)", [(row,) for row in journal])
    values: dict[str, int] = dict(connection.execute("SELECT name, value FROM fact").fetchall())
    note(
        connection,
        marks=(values.get("marks", 0) + _sum(journal)) % _WRAP,
        # Marks are deleted with their rows; this one tells a journal that is older than the file.
        highest=max(values.get("highest", 0), *journal, 0),
    )


def highest_of(files: Iterable[tuple[Tier, int, Path]], identity: int) -> int:
    """Return the highest row of this journal that any file has ever held."""
    highest = 0
    for _, _, path in files:
        with contextlib.suppress(*UNREADABLE), closing(open_reader(path)) as file:
            facts = facts_of(file)
            if facts.identity == identity and not facts.wrong:
                highest = max(highest, facts.highest)
    return highest


def strangers(files: Iterable[tuple[Tier, int, Path]], identity: int) -> dict[str, str]:
    """Return the files that were written beside another metrics.db, and what that means.

    Also those whose facts are or were damaged.
    """
    found = {}
    for _, _, path in files:
        try:
            with closing(open_reader(path)) as connection:
                facts = facts_of(connection)
        except UNREADABLE:
            continue
        if facts.wrong:
            found[path.name] = facts.wrong
        elif "anew" in facts.values:
            found[path.name] = (
                "begun anew because it was missing or empty: what was merged into it before is lost"
            )
        elif "mended" in facts.values:
            found[path.name] = (
                "its facts or marks were damaged and were written anew: batches that were being "
                "merged then may be missing or counted twice"
            )
        elif "adopted" in facts.values or facts.identity not in (0, identity):
            found[path.name] = (
                "written beside another metrics.db, or a later state of it, which was lost or "
                "replaced: its numbers are "
                "shown, batches that were only in that one are missing"
            )
    return found


def number_in(connection: sqlite3.Connection) -> int:
    """Return what tells this file from any other, also one that takes its name and place later."""
    row = connection.execute("SELECT value FROM fact WHERE name = 'file'").fetchone()
    return int(row[0]) if row else 0


def new_number() -> int:
    """Return a random number that no other file has."""
    return secrets.randbits(62) + 1


def _checksum(values: Mapping[str, object]) -> int:
    return checksum(*sorted(values.items()))


def _sum(marks: Iterable[int]) -> int:
    return sum(row * _ODD + 1 for row in marks) % _WRAP
