"""Checks metrics.db: names of batches, journal and accounting."""

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from trimtab_collector.checkedrows import CheckedConnection
from trimtab_collector.storage.columns import Columns, columns_of_batch
from trimtab_collector.storage.dictionary import Dictionary
from trimtab_collector.storage.sqlite.compactor import METRICS
from trimtab_collector.storage.sqlite.connect import lenient
from trimtab_collector.storage.sqlite.facts import identity_of_journal, read_facts
from trimtab_collector.storage.sqlite.journal import JOURNAL_ROW, batch_of
from trimtab_collector.storage.sqlite.knownfiles import PREFIX
from trimtab_collector.storage.sqlite.schema import VERSION
from trimtab_collector.storage.sqlite.upkeep.findings import CheckReport, Finding
from trimtab_collector.storage.sqlite.upkeep.rows import look_at_rows
from trimtab_core.batches import decode_series
from trimtab_core.errors import BatchError

__all__ = ["JournalRow", "Metrics", "integrity", "look", "open_file", "rows"]

_WRONG: Final = 10
#: a law about names of batches, as a query that must find nothing
_LAWS: Final = {
    "batches lie in the journal that are noted as merged": "SELECT count(*) FROM journal j WHERE"
    " EXISTS (SELECT 1 FROM seen s WHERE s.origin = j.origin AND s.first <= j.seq"
    " AND s.last >= j.seq)",
    "batches are noted as merged twice": "SELECT count(*) FROM (SELECT first, max(last) OVER"
    " (PARTITION BY origin ORDER BY first ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS"
    " before FROM seen) WHERE before >= first",
    "runs of numbers end before they begin": "SELECT count(*) FROM seen WHERE last < first",
    "batches have an agent that is not known": "SELECT count(*) FROM journal WHERE origin NOT IN"
    " (SELECT origin FROM origin)",
    "numbers of journal rows are above those that were given": "SELECT count(*) FROM journal"
    " WHERE id > (SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'journal')",
}


@dataclass(frozen=True, slots=True)
class Metrics:
    """The facts that tier files are compared with."""

    connection: sqlite3.Connection
    #: identity of the journal
    identity: int
    #: dictionary of the series of all files and of the journal
    series: Dictionary
    #: the highest id that a journal row ever had, and the highest that is there now
    given: int
    last: int
    #: (environment, service) -> requests that were counted
    requests: dict[tuple[str, str], int]
    #: floors of tiers whose files were deleted for lack of space
    floors: dict[str, int]
    #: tier files there must be, and the batches that were merged into each
    files: dict[str, int]


@dataclass(frozen=True, slots=True)
class JournalRow:
    """A batch of the journal; columns is None if it cannot be read."""

    id: int
    t0: int
    columns: Columns | None


def integrity(connection: sqlite3.Connection, name: str, report: CheckReport) -> None:
    """Add SQLite's own findings about a file; raises sqlite3.Error."""
    for (text,) in connection.execute(f"PRAGMA integrity_check({_WRONG})"):
        if text != "ok":
            report.add(Finding(name, f"SQLite finds it damaged: {text}"))


def look(connection: sqlite3.Connection, report: CheckReport) -> Metrics | None:
    """Check metrics.db except the batches of the journal; None if it is unusable.

    Raises sqlite3.Error.
    """
    integrity(connection, METRICS, report)
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    if found != VERSION:
        what = "it is of another version; a collector brings an older one forward at its start"
        report.add(Finding(METRICS, what, f"version {VERSION}", f"version {found}"))
        return None
    look_at_rows(connection, report)
    for what, query in _LAWS.items():
        (count,) = connection.execute(query).fetchone()
        if count:
            report.add(Finding(METRICS, what, "0", str(count)))
    facts = read_facts(connection)
    # In one transaction, so that totals and journal rows belong together.
    connection.execute("BEGIN")
    totals = connection.execute("SELECT environment, service, requests FROM total").fetchall()
    (last,) = connection.execute("SELECT coalesce(max(id), 0) FROM journal").fetchone()
    (given,) = connection.execute(
        "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'journal'"
    ).fetchone()
    connection.execute("COMMIT")
    identity = identity_of_journal(connection)
    if not identity:
        what = "the identity of the journal is lost; a collector gives it a new one at its start"
        report.add(Finding(METRICS, what))
    return Metrics(
        connection,
        identity,
        Dictionary(linked=True),
        given,
        last,
        {(row[0], row[1]): row[2] for row in totals},
        *(
            {
                name.removeprefix(prefix): value
                for name, value in facts.items()
                if name.startswith(prefix)
            }
            for prefix in ("floor_", PREFIX)
        ),
    )


def open_file(path: Path) -> CheckedConnection:
    """Open a SQLite file to read; raises sqlite3.Error."""
    address = f"{path.absolute().as_uri()}?mode=rw"
    connection = sqlite3.connect(
        address, uri=True, isolation_level=None, timeout=5, factory=CheckedConnection
    )
    connection.execute("PRAGMA query_only = ON")
    connection.text_factory = lenient
    return connection


def rows(metrics: Metrics, report: CheckReport) -> Iterator[JournalRow]:
    """Yield the batches of the journal one at a time, without those that came since."""
    number = 0
    while True:
        try:
            found = metrics.connection.execute(
                f"SELECT {JOURNAL_ROW} FROM journal"  # noqa: S608
                " WHERE id > ? AND id <= ? ORDER BY id LIMIT 1",
                (number, metrics.last),
            ).fetchone()
        except sqlite3.Error as error:
            what = f"the journal cannot be read after row {number}: {error}"
            report.add(Finding(METRICS, what))
            return
        if found is None:
            return
        number, t0 = found[0], found[3]
        report.journal_batches += 1
        columns = None
        try:
            batch = batch_of(found)
            numbers = [metrics.series.add(key) for key in decode_series(batch.series)]
            columns = columns_of_batch(batch, np.array(numbers, np.int64), t0)
        except BatchError as error:
            report.add(Finding(METRICS, f"journal row {number} cannot be read: {error}"))
        yield JournalRow(number, t0, columns)
