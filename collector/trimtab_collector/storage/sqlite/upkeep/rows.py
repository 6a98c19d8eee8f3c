"""Checks the rows of metrics.db that have checksums of their own, and names those set aside."""

import sqlite3
from collections.abc import Callable
from typing import Any, Final

from trimtab_collector.storage.sqlite.amounts import delta_of_row
from trimtab_collector.storage.sqlite.aside import Aside
from trimtab_collector.storage.sqlite.checksums import UnreadableError, verify
from trimtab_collector.storage.sqlite.compactor import METRICS
from trimtab_collector.storage.sqlite.repeats import SUMMED
from trimtab_collector.storage.sqlite.upkeep.findings import CheckReport, Finding

__all__ = ["look_at_rows"]


def _checked(row: tuple[Any, ...]) -> None:
    verify(row[-1], *row[:-1])


def _whole(row: tuple[Any, ...]) -> None:
    if row[-1] is None:
        raise UnreadableError("expected a row with a checksum, got one that is cut short")
    _checked(row)


def _checked_total(row: tuple[Any, ...]) -> None:
    verify(row[-2], *row[:4])
    verify(row[-1], *row[:2], *row[4:8])


_TOTAL: Final = (
    "environment, service, requests, backgrounds, counted, sent, lost, dropped, crc, crc_retired"
)
#: table -> its columns, and what raises for a row that is not as it was written
_TABLES: Final[dict[str, tuple[str, Callable[[tuple[Any, ...]], object]]]] = {
    "process": (
        "process, environment, service, ranges, sent, dropped, closed, updated_s, agent, crc",
        _checked,
    ),
    "total": (
        _TOTAL,
        _checked_total,
    ),
    "measure": ("environment, service, instance, name, kind, unit, attributes, crc", _checked),
    "amount": (
        "measure, t, step_s, count, sum, min, max, last, CAST(buckets AS BLOB), crc", delta_of_row
    ),
    "event": (
        "t_us, kind, environment, service, instance, route, CAST(body AS BLOB), crc", _checked
    ),
    **{table: (columns, _whole) for table, columns in SUMMED.items()},
}  # fmt: skip


def look_at_rows(connection: sqlite3.Connection, report: CheckReport) -> None:
    """Add findings for rows that are not as they were written; raises sqlite3.Error."""
    for table, (columns, look) in _TABLES.items():
        wrong = 0
        for row in connection.execute(f"SELECT {columns} FROM {table}"):  # noqa: S608
            try:
                look(row)
            except (UnreadableError, TypeError, ValueError):
                wrong += 1
        if wrong:
            what = f"{wrong} rows of {table} cannot be read"
            report.add(Finding(METRICS, what, "rows as they were written", "other checksums"))
    for table, count in Aside.count(connection).items():
        what = f"{count} rows of {table} were set aside: what they held is missing"
        report.add(Finding(METRICS, what))
