"""Accounting: the union of ranges is a set of numbers, and what is missing is lost."""

import itertools
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from support.stores.batches import a_batch, accounting_of
from trimtab_collector.storage.accounting import (
    AccountingTable,
    RecordRanges,
    Staged,
    covered,
    with_range,
    with_ranges,
)
from trimtab_collector.storage.merging import merge
from trimtab_collector.storage.sqlite.accounting import (
    load_accounting,
    retire_processes,
    write_accounting,
)
from trimtab_collector.storage.sqlite.schema import migrate
from trimtab_collector.storage.store import Numbered, Received, ServiceAccounting
from trimtab_core.batches import ProcessAccounting

ranges = st.tuples(st.integers(0, 60), st.integers(0, 9))


def staged(accounting: AccountingTable, *processes: ProcessAccounting) -> Staged:
    changes = Staged()
    nothing = Numbered(merge([]), np.zeros(0, np.int64), ())
    for process in processes:
        batch = a_batch(0, processes=[process])
        accounting.stage(changes, Received(batch, b"", nothing, batch.window_s, 0, 0.0, {}))
    return changes


def only(accounting: AccountingTable) -> ServiceAccounting:
    (found,) = accounting.services()
    return found


@given(st.lists(ranges, max_size=40))
def test_ranges_in_any_order_are_a_set_of_numbers(given_ranges: list[tuple[int, int]]) -> None:
    union: RecordRanges = ()
    numbers: set[int] = set()
    for first, count in given_ranges:
        union = with_range(union, first, count)
        numbers |= set(range(first, first + count))
        assert covered(union) == len(numbers)
    assert {n for first, end in union for n in range(first, end)} == numbers
    # Sorted, apart, and no two that touch.
    assert all(one[1] < other[0] for one, other in itertools.pairwise(union))


@given(st.lists(ranges, min_size=1, max_size=20), st.integers(0, 100), st.randoms())
def test_counted_and_lost_come_to_what_was_sent(
    given_ranges: list[tuple[int, int]], sent: int, random: object
) -> None:
    accounting = AccountingTable()
    for pair in given_ranges:
        accounting.confirm(staged(accounting, accounting_of([pair], sent)))
    numbers = {n for first, count in given_ranges for n in range(first, first + count)}
    known = max([sent, *(n + 1 for n in numbers)])
    found = only(accounting)
    assert (found.counted, found.agent_lost) == (len(numbers), known - len(numbers))
    assert found.sent == known


def test_a_gap_is_lost_until_late_data_fills_it() -> None:
    accounting = AccountingTable()
    accounting.confirm(
        staged(accounting, accounting_of([(0, 10)], 10), accounting_of([(15, 5)], 20))
    )
    assert (only(accounting).counted, only(accounting).agent_lost) == (15, 5)
    accounting.confirm(staged(accounting, accounting_of([(10, 5)], 15)))
    assert (only(accounting).counted, only(accounting).agent_lost) == (20, 0)


def test_drops_are_counters_of_the_app_and_the_largest_holds() -> None:
    accounting = AccountingTable()
    for dropped in ({"ring": 5}, {"ring": 9, "socket": 1}, {"ring": 7}):
        accounting.confirm(staged(accounting, accounting_of([], 0, dropped)))
    assert only(accounting).dropped == {"ring": 9, "socket": 1}


def test_changes_that_were_not_confirmed_leave_no_trace() -> None:
    accounting = AccountingTable()
    accounting.confirm(staged(accounting, accounting_of([(0, 10)], 10)))
    staged(accounting, accounting_of([(10, 10)], 20, {"ring": 1}))
    assert (only(accounting).counted, only(accounting).dropped) == (10, {})


@given(st.lists(ranges, max_size=20), st.lists(ranges, max_size=60))
def test_many_ranges_at_once_come_to_the_same_as_one_by_one(
    before: list[tuple[int, int]], claims: list[tuple[int, int]]
) -> None:
    known = with_ranges((), before)
    one_by_one = known
    for first, count in claims:
        one_by_one = with_range(one_by_one, first, count)
    assert with_ranges(known, claims) == one_by_one


def test_ranges_of_one_batch_are_joined_in_one_pass_and_the_oldest_gaps_are_closed() -> None:
    accounting = AccountingTable()
    claims = [(2 * n, 1) for n in range(16_000)]
    accounting.confirm(staged(accounting, accounting_of(claims[::-1], 32_000)))
    (process,) = accounting._processes.values()
    assert (len(process.ranges), process.ranges[-1]) == (2_000, (31_998, 31_999))
    assert (only(accounting).counted, only(accounting).agent_lost) == (16_000, 16_000)


def test_a_process_of_a_thousand_gaps_stays_bounded_and_exact() -> None:
    accounting = AccountingTable()
    for first in range(0, 10_000, 2):
        accounting.confirm(staged(accounting, accounting_of([(first, 1)], first + 1)))
    (process,) = accounting._processes.values()
    assert len(process.ranges) == 2_000
    assert (only(accounting).counted, only(accounting).agent_lost) == (5_000, 4_999)


def test_retired_processes_stay_in_the_sums_and_survive_a_restart() -> None:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        migrate(connection, Path())
        accounting = AccountingTable()
        for number in range(5):
            changes = staged(
                accounting, accounting_of([(1, 9)], 12, {"ring": 1}, process=b"process%d" % number)
            )
            write_accounting(connection, changes)
            accounting.confirm(changes)
        before = only(accounting)
        assert (before.counted, before.agent_lost, before.dropped) == (45, 15, {"ring": 5})
        retire_processes(connection, accounting, most=2)
        assert only(accounting) == before
        again = AccountingTable()
        load_accounting(connection, again)
        assert only(again) == before
        assert len(again._processes) == 2


def test_no_claim_makes_a_figure_huge_or_stops_the_store(tmp_path: Path) -> None:
    most = 2**63 - 1
    accounting = AccountingTable()
    connection = sqlite3.connect(tmp_path / "metrics.db", isolation_level=None)
    migrate(connection, tmp_path)
    gaps = [(most - 4 * number, most) for number in range(2_100)]
    far = [(number * 2**40, 1) for number in range(2_100)]
    claims = [
        ProcessAccounting(b"%8d" % number, "test", "shop", "i", ranges, most, dropped)
        for number, ranges in enumerate(([(0, 1)], [(most, most)], gaps, far, [(0, most)]))
        for dropped in [{f"reason {number} {each}": most for each in range(64)}]
    ]
    staged_ = staged(accounting, *claims)
    write_accounting(connection, staged_)
    accounting.confirm(staged_)
    # What an earlier version has kept may be larger.
    connection.execute("UPDATE process SET sent = ?, crc = NULL", (most,))
    again = AccountingTable()
    load_accounting(connection, again)
    again.retire(retire_processes(connection, again, 0))
    restarted = AccountingTable()
    load_accounting(connection, restarted)
    for table in (accounting, again, restarted):
        row = only(table)
        figures = (row.counted, row.sent, row.held, row.agent_lost, *row.dropped.values())
        assert all(0 <= each < 2**53 for each in figures)
        assert len(row.dropped) <= 65
    connection.close()
    assert only(accounting).sent <= 5 * 2**40
