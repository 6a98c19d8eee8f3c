"""Checks keys.db and state.db: what SQLite finds, and the checksums of rows."""

import sqlite3
from contextlib import closing
from pathlib import Path

from trimtab_collector.checkedrows import damaged_rows, whole_text
from trimtab_collector.companions import is_lost, mark_of, pair_of
from trimtab_collector.storage.sqlite.upkeep.files import STATE
from trimtab_collector.storage.sqlite.upkeep.findings import CheckReport, Finding
from trimtab_collector.storage.sqlite.upkeep.metrics import integrity, open_file

__all__ = ["look_at_pair", "look_at_state"]


def look_at_state(path: Path, report: CheckReport) -> None:
    """Add what is wrong with a file; raises sqlite3.Error."""
    with closing(open_file(path)) as connection:
        connection.text_factory = whole_text
        integrity(connection, path.name, report)
        for table, count in damaged_rows(connection):
            what = f"rows of {table} are not as they were written, and are not used"
            report.add(Finding(path.name, what, "0", str(count)))


def look_at_pair(directory: Path, store: sqlite3.Connection, report: CheckReport) -> None:
    """Add that state.db is gone, or that it or metrics.db was begun anew; raises sqlite3.Error."""
    mark, path = mark_of(store), directory / STATE
    is_there = False
    if path.exists():
        with closing(open_file(path)) as connection:
            is_there = bool(connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall())
            pair = pair_of(connection)
    if not is_there:
        if mark is not None:
            report.add(Finding(STATE, "it is missing or empty: users, rules and silences are lost"))
    elif what := is_lost(pair, mark):
        report.add(Finding(what.split()[0], what))
