"""The accounting of `storage/accounting.py` in metrics.db.

Changes are written in the transaction of their batches and applied to the table once that is
durable.
"""

import sqlite3
from collections.abc import Sequence
from itertools import chain

import msgspec

from trimtab_collector.storage.accounting import (
    MAX_PROCESSES,
    AccountingTable,
    CountedProcess,
    Retirement,
    Staged,
)
from trimtab_collector.storage.store import ServiceAccounting

__all__ = ["insert_rows", "load_accounting", "retire_processes", "write_accounting"]


def load_accounting(connection: sqlite3.Connection, table: AccountingTable) -> None:
    """Fill a table with the accounting of a store."""
    kept = Staged()
    for row in connection.execute(
        "SELECT process, environment, service, ranges, sent, dropped, closed, updated_s,"
        " agent FROM process"
    ):
        ranges = tuple(msgspec.msgpack.decode(row[3], type=list[tuple[int, int]]))
        dropped = msgspec.msgpack.decode(row[5], type=dict[str, int])
        process = CountedProcess(
            *(row[1], row[2], ranges, row[4], dropped),
            closed=row[6],
            updated_s=row[7],
            agent=row[8],
        )
        kept.processes[bytes(row[0]), row[1], row[2]] = process
    retired: dict[tuple[str, str], ServiceAccounting] = {}
    for row in connection.execute(
        "SELECT environment, service, requests, backgrounds, counted, sent, lost, dropped"
        " FROM total"
    ):
        kept.totals[row[0], row[1]] = (row[2], row[3])
        dropped = msgspec.msgpack.decode(row[7], type=dict[str, int])
        retired[row[0], row[1]] = ServiceAccounting(
            row[0], row[1], counted=row[4], sent=row[5], agent_lost=row[6], dropped=dropped
        )
    table.load(kept, retired)


def write_accounting(connection: sqlite3.Connection, staged: Staged) -> None:
    """Write the changes within the open transaction."""
    insert_rows(
        connection,
        "INSERT OR REPLACE INTO process"
        " (process, environment, service, ranges, sent, dropped, closed, updated_s,"
        " agent) VALUES",
        [
            (
                *key,
                msgspec.msgpack.encode(process.ranges),
                process.sent,
                msgspec.msgpack.encode(process.dropped),
                process.closed,
                process.updated_s,
                process.agent,
            )
            for key, process in staged.processes.items()
        ],
    )
    connection.executemany(
        "INSERT INTO total (environment, service, requests, backgrounds) VALUES (?, ?, ?, ?)"
        " ON CONFLICT DO UPDATE"
        " SET requests = excluded.requests, backgrounds = excluded.backgrounds",
        [(*service, *sums) for service, sums in staged.totals.items()],
    )


def retire_processes(
    connection: sqlite3.Connection, table: AccountingTable, most: int = MAX_PROCESSES
) -> Retirement:
    """Add up the processes over the limit into their services, in an open transaction.

    Committer only. Give the result to `table.retire` once it is durable.
    """
    retirement = table.retirement(most)
    if not retirement.gone:
        return retirement
    connection.executemany(
        "INSERT INTO total (environment, service, counted, sent, lost, dropped)"
        " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET counted = excluded.counted,"
        " sent = excluded.sent, lost = excluded.lost, dropped = excluded.dropped",
        [
            (
                *service,
                row.counted,
                row.sent,
                row.agent_lost,
                msgspec.msgpack.encode(row.dropped),
            )
            for service, row in retirement.sums.items()
        ],
    )
    connection.executemany(
        "DELETE FROM process WHERE process = ? AND environment = ? AND service = ?",
        retirement.gone,
    )
    return retirement


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
