"""The accounting of `storage/accounting.py` in metrics.db.

Changes are written in the transaction of their batches and applied to the table once that is
durable.
"""

import sqlite3
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Final

import msgspec

from trimtab_collector.storage.accounting import (
    MAX_PROCESSES,
    AccountingTable,
    CountedProcess,
    ProcessKey,
    Retirement,
    Staged,
)
from trimtab_collector.storage.sqlite.aside import set_aside
from trimtab_collector.storage.sqlite.checksums import UnreadableError, checksum, verify
from trimtab_collector.storage.store import ServiceAccounting

__all__ = [
    "book_unreadable",
    "insert_rows",
    "load_accounting",
    "retire_processes",
    "write_accounting",
]

_PROCESS: Final = (
    "SELECT process, environment, service, ranges, sent, dropped, closed, updated_s,"
    " agent, crc"
    " FROM process"
)
_KEY: Final = "process = ? AND environment = ? AND service = ?"
_TOTAL: Final = (
    "SELECT environment, service, requests, backgrounds, counted, sent, lost, dropped,"
    " crc, crc_retired FROM total"
)
#: counted, sent, lost and dropped of a service none of whose processes was retired
_NONE_RETIRED: Final = (0, 0, 0, b"\x80")
#: what reading a damaged row raises
_DAMAGE: Final = (UnreadableError, msgspec.MsgspecError, ValueError, TypeError)


def load_accounting(connection: sqlite3.Connection, table: AccountingTable) -> None:
    """Fill a table with the accounting of a store; rows that cannot be read are set aside."""
    kept = Staged()
    for row in connection.execute(_PROCESS).fetchall():
        try:
            verify(row[9], *row[:9])
            ranges = tuple(msgspec.msgpack.decode(row[3], type=list[tuple[int, int]]))
            dropped = msgspec.msgpack.decode(row[5], type=dict[str, int])
        except _DAMAGE as error:
            set_aside(connection, "process", row, str(error))
            connection.execute(f"DELETE FROM process WHERE {_KEY}", row[:3])  # noqa: S608
            continue
        process = CountedProcess(
            row[1], row[2], ranges, row[4], dropped, row[6], row[7], agent=row[8]
        )
        kept.processes[bytes(row[0]), row[1], row[2]] = process
    retired: dict[tuple[str, str], ServiceAccounting] = {}
    for row in connection.execute(_TOTAL).fetchall():
        try:
            verify(row[8], *row[:4])
            verify(row[9], *row[:2], *row[4:8])
            dropped = msgspec.msgpack.decode(row[7], type=dict[str, int])
        except _DAMAGE as error:
            set_aside(connection, "total", row, str(error))
            connection.execute("DELETE FROM total WHERE environment = ? AND service = ?", row[:2])
            continue
        kept.totals[row[0], row[1]] = (row[2], row[3])
        retired[row[0], row[1]] = ServiceAccounting(
            row[0], row[1], counted=row[4], sent=row[5], agent_lost=row[6], dropped=dropped
        )
    table.load(kept, retired)


def write_accounting(connection: sqlite3.Connection, staged: Staged) -> None:
    """Write the changes within the open transaction."""
    insert_rows(
        connection,
        "INSERT OR REPLACE INTO process"
        " (process, environment, service, ranges, sent, dropped, closed, updated_s, agent,"
        " crc) VALUES",
        [_process_row(key, process) for key, process in staged.processes.items()],
    )
    connection.executemany(
        "INSERT INTO total (environment, service, requests, backgrounds, crc, crc_retired)"
        " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET requests = excluded.requests,"
        " backgrounds = excluded.backgrounds, crc = excluded.crc",
        [
            (*service, *sums, checksum(*service, *sums), checksum(*service, *_NONE_RETIRED))
            for service, sums in staged.totals.items()
        ],
    )


def _process_row(key: ProcessKey, process: CountedProcess) -> tuple[object, ...]:
    values = (
        *key,
        msgspec.msgpack.encode(process.ranges),
        process.sent,
        msgspec.msgpack.encode(process.dropped),
        process.closed,
        process.updated_s,
        process.agent,
    )
    return *values, checksum(*values)


def retire_processes(
    connection: sqlite3.Connection, table: AccountingTable, most: int = MAX_PROCESSES
) -> Retirement:
    """Add up the processes over the limit into their services, in an open transaction.

    Committer only. Give the result to `table.retire` once it is durable.
    """
    retirement = table.retirement(most)
    if not retirement.gone:
        return retirement
    _write_retired(connection, retirement)
    connection.executemany(
        "DELETE FROM process WHERE process = ? AND environment = ? AND service = ?",
        retirement.gone,
    )
    return retirement


def book_unreadable(
    connection: sqlite3.Connection,
    table: AccountingTable,
    lost: Mapping[tuple[str, str], tuple[int, int]],
) -> tuple[Staged, Retirement]:
    """Book requests and background records as dropped, by service, in an open transaction.

    They were in batches that cannot be read any more. Committer only. Confirm and retire the result
    in the table once it is durable.
    """
    staged, retirement = table.unreadable(lost)
    write_accounting(connection, staged)
    _write_retired(connection, retirement)
    return staged, retirement


def _write_retired(connection: sqlite3.Connection, retirement: Retirement) -> None:
    rows = [
        (*service, row.counted, row.sent, row.agent_lost, msgspec.msgpack.encode(row.dropped))
        for service, row in retirement.sums.items()
    ]
    connection.executemany(
        "INSERT INTO total (environment, service, counted, sent, lost, dropped, crc_retired, crc)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET counted = excluded.counted,"
        " sent = excluded.sent, lost = excluded.lost, dropped = excluded.dropped,"
        " crc_retired = excluded.crc_retired",
        [(*row, checksum(*row), checksum(*row[:2], 0, 0)) for row in rows],
    )


def insert_rows(
    connection: sqlite3.Connection, statement: str, rows: Sequence[Sequence[object]]
) -> None:
    """Insert rows, many per statement; statement ends in VALUES.

    Each execution of a statement releases the GIL, and beside a busy loop waits to get it back.
    """
    begin = 0
    for size in (64, 32, 16, 8, 4, 2, 1):
        while len(rows) - begin >= size:
            some = rows[begin : begin + size]
            places = ", ".join([f"({', '.join('?' * len(some[0]))})"] * size)
            connection.execute(f"{statement} {places}", [*chain.from_iterable(some)])
            begin += size
