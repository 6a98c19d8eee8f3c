"""Checks keys.db and state.db: what SQLite finds, and the checksums of rows."""

from contextlib import closing
from pathlib import Path

from trimtab_collector.checkedrows import damaged_rows, whole_text
from trimtab_collector.storage.sqlite.upkeep.findings import CheckReport, Finding
from trimtab_collector.storage.sqlite.upkeep.metrics import integrity, open_file

__all__ = ["look_at_state"]


def look_at_state(path: Path, report: CheckReport) -> None:
    """Add what is wrong with a file; raises sqlite3.Error."""
    with closing(open_file(path)) as connection:
        connection.text_factory = whole_text
        integrity(connection, path.name, report)
        for table, count in damaged_rows(connection):
            what = f"rows of {table} are not as they were written, and are not used"
            report.add(Finding(path.name, what, "0", str(count)))
