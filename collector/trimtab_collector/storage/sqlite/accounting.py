"""Accounts: which numbered records of each app process arrived, and what is missing.

A process numbers its records; batches say which numbers they cover. The union of those ranges is
what was counted; numbers that the process had sent and no range covers are lost. Batches arrive in
any order, so the loss is derived when asked for and shrinks when late data fills a gap.

Changes are staged on immutable values, written inside the transaction of their batches, and taken
over when it is durable; a transaction that fails leaves no trace.
"""

import sqlite3
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Final

import msgspec

from trimtab_collector.storage.store import Received, ServiceAccounting
from trimtab_core.batches import Batch

__all__ = ["AccountingTable", "Process", "Ranges", "Staged", "covered", "insert_rows", "with_range"]

#: sorted, disjoint, not touching: (first, end) with end not included
Ranges = tuple[tuple[int, int], ...]

#: more ranges than this in one process: its oldest gap is booked as lost for good
_MAX_RANGES: Final = 2_000
#: processes kept apart; those silent the longest are added up into their service
_MAX_PROCESSES: Final = 50_000
_MAX_REASONS: Final = 64
#: the largest whole number of the file: a total stays there, so that no batch is refused for ever
_MOST: Final = 2**63 - 1
#: agents remembered a service
_MAX_AGENTS: Final = 10_000


def with_range(ranges: Ranges, first: int, count: int) -> Ranges:
    """Return the union of ranges and the numbers from first to first + count - 1."""
    if not count:
        return ranges
    end = first + count
    if not ranges or first > ranges[-1][1]:
        return (*ranges, (first, end))
    low = bisect_left(ranges, first, key=lambda pair: pair[1])
    high = bisect_right(ranges, end, key=lambda pair: pair[0])
    if low < high:
        first, end = min(first, ranges[low][0]), max(end, ranges[high - 1][1])
    return (*ranges[:low], (first, end), *ranges[high:])


def covered(ranges: Ranges) -> int:
    """Return how many numbers the ranges hold."""
    return sum(end - first for first, end in ranges)


@dataclass(frozen=True, slots=True)
class Process:
    """The account of one app process."""

    environment: str
    service: str
    ranges: Ranges = ()
    sent: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)
    #: records of gaps that were closed because there were too many
    closed: int = 0
    #: the latest window that spoke of it, epoch seconds
    updated_s: int = 0

    @property
    def counted(self) -> int:
        """Records that arrived."""
        return covered(self.ranges) - self.closed

    @property
    def known(self) -> int:
        """Records the process had sent, as far as known."""
        return max(self.sent, self.ranges[-1][1] if self.ranges else 0)


#: process, environment, service: a process that lies about its service harms its own account
Key = tuple[bytes, str, str]


@dataclass(slots=True)
class Staged:
    """Changes of one transaction."""

    processes: dict[Key, Process] = field(default_factory=dict)
    totals: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)


class AccountingTable:
    """All accounts of a store. Staging belongs to the committer; `services` to any thread."""

    def __init__(self) -> None:
        self._processes: dict[Key, Process] = {}
        self._totals: dict[tuple[str, str], tuple[int, int]] = {}
        self._retired: dict[tuple[str, str], ServiceAccounting] = {}
        self._held: dict[str, int] = {}
        self._agents: dict[tuple[str, str], set[str]] = {}

    def load(self, connection: sqlite3.Connection) -> None:
        """Read the accounts of a store."""
        for row in connection.execute(
            "SELECT process, environment, service, ranges, sent, dropped, closed, updated_s"
            " FROM process"
        ):
            ranges = tuple(msgspec.msgpack.decode(row[3], type=list[tuple[int, int]]))
            dropped = msgspec.msgpack.decode(row[5], type=dict[str, int])
            process = Process(row[1], row[2], ranges, row[4], dropped, row[6], row[7])
            self._processes[bytes(row[0]), row[1], row[2]] = process
        for row in connection.execute(
            "SELECT environment, service, requests, backgrounds, counted, sent, lost, dropped"
            " FROM total"
        ):
            self._totals[row[0], row[1]] = (row[2], row[3])
            dropped = msgspec.msgpack.decode(row[7], type=dict[str, int])
            self._retired[row[0], row[1]] = ServiceAccounting(
                row[0], row[1], counted=row[4], sent=row[5], agent_lost=row[6], dropped=dropped
            )

    def stage(self, staged: Staged, received: Received) -> None:
        """Add a batch to the changes."""
        for account in received.batch.processes:
            key = (account.process, account.environment, account.service)
            process = staged.processes.get(key) or self._processes.get(key)
            process = process or Process(account.environment, account.service)
            ranges = process.ranges
            for first, count in account.ranges:
                ranges = with_range(ranges, first, count)
            closed = process.closed
            while len(ranges) > _MAX_RANGES:
                (first, end), (later, last), *rest = ranges
                closed += later - end
                ranges = ((first, last), *rest)
            staged.processes[key] = Process(
                process.environment,
                process.service,
                ranges,
                max(process.sent, account.sent),
                _most(process.dropped, account.dropped),
                closed,
                max(process.updated_s, received.window_s),
            )
        for service, (requests, backgrounds) in received.totals.items():
            before = staged.totals.get(service) or self._totals.get(service, (0, 0))
            staged.totals[service] = (
                min(before[0] + requests, _MOST),
                min(before[1] + backgrounds, _MOST),
            )

    def write(self, connection: sqlite3.Connection, staged: Staged) -> None:
        """Write the changes within the open transaction."""
        insert_rows(
            connection,
            "INSERT OR REPLACE INTO process"
            " (process, environment, service, ranges, sent, dropped, closed, updated_s) VALUES",
            [
                (
                    *key,
                    msgspec.msgpack.encode(process.ranges),
                    process.sent,
                    msgspec.msgpack.encode(process.dropped),
                    process.closed,
                    process.updated_s,
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

    def note_held(self, batch: Batch, held: int) -> None:
        """Take what an agent says it holds besides a batch; kept in memory, renewed by each one."""
        if held:
            self._held[batch.agent] = held
        else:
            self._held.pop(batch.agent, None)
        for account in batch.processes:
            agents = self._agents.setdefault((account.environment, account.service), set())
            if len(agents) < _MAX_AGENTS:
                agents.add(batch.agent)

    def confirm(self, staged: Staged) -> None:
        """Take over the changes of a transaction that is durable."""
        self._processes.update(staged.processes)
        self._totals.update(staged.totals)

    def retire(self, connection: sqlite3.Connection, most: int = _MAX_PROCESSES) -> None:
        """Add up the processes over the limit into their services, in an open transaction.

        Committer only; the memory follows at once, so the transaction must not fail after it.
        """
        over = len(self._processes) - most
        if over <= 0:
            return
        oldest = sorted(self._processes, key=lambda key: self._processes[key].updated_s)[:over]
        retired = {service: replace(row) for service, row in self._retired.items()}
        for key in oldest:
            process = self._processes[key]
            total = retired.setdefault(key[1:], ServiceAccounting(*key[1:]))
            total.dropped = dict(total.dropped)
            _add(total, process)
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
                for service, row in retired.items()
            ],
        )
        connection.executemany(
            "DELETE FROM process WHERE process = ? AND environment = ? AND service = ?", oldest
        )
        self._retired = retired
        self._processes = {k: v for k, v in self._processes.items() if k not in set(oldest)}

    def services(self) -> list[ServiceAccounting]:
        """Return the accounting of each service, by name."""
        accounts: dict[tuple[str, str], ServiceAccounting] = {}
        for service, (requests, backgrounds) in list(self._totals.items()):
            accounts[service] = ServiceAccounting(
                *service, requests=requests, backgrounds=backgrounds
            )
        for service, row in list(self._retired.items()):
            account = accounts.setdefault(service, ServiceAccounting(*service))
            account.counted, account.sent = row.counted, row.sent
            account.agent_lost, account.dropped = row.agent_lost, dict(row.dropped)
        for process in list(self._processes.values()):
            service = (process.environment, process.service)
            _add(accounts.setdefault(service, ServiceAccounting(*service)), process)
        for service, account in accounts.items():
            # What agents have on disk is late, not lost; how much of it is of this service is open.
            agents = list(self._agents.get(service, ()))
            held = sum(self._held.get(agent, 0) for agent in agents)
            account.held = min(held, account.agent_lost)
            account.agent_lost -= account.held
        return [accounts[service] for service in sorted(accounts)]


def insert_rows(
    connection: sqlite3.Connection, statement: str, rows: Sequence[Sequence[object]]
) -> None:
    """Insert rows, many a statement; statement ends in VALUES.

    Each run of a statement lets go of the interpreter, and on a busy loop waits to have it back.
    """
    begin = 0
    for size in (64, 32, 16, 8, 4, 2, 1):
        while len(rows) - begin >= size:
            some = rows[begin : begin + size]
            places = ", ".join([f"({', '.join('?' * len(some[0]))})"] * size)
            connection.execute(f"{statement} {places}", [*chain.from_iterable(some)])
            begin += size


def _add(account: ServiceAccounting, process: Process) -> None:
    account.counted += process.counted
    account.sent += process.known
    account.agent_lost += process.known - process.counted
    for reason, count in process.dropped.items():
        account.dropped[reason] = account.dropped.get(reason, 0) + count


def _most(one: Mapping[str, int], other: Mapping[str, int]) -> Mapping[str, int]:
    if not other:
        return one
    most = dict(one)
    for reason, count in other.items():
        if reason not in most and len(most) >= _MAX_REASONS:
            reason = "other"
        most[reason] = max(most.get(reason, 0), count)
    return most
