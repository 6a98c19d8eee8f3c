"""The SQLite store: exact answers from memory, journal and blocks, over restarts and crashes."""

import asyncio
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.clock import Clock
from support.processes.servers import short_dir
from support.stores.appending import append, received
from support.stores.batches import a_batch, accounting_of, key_of, point_of
from trimtab_collector.storage.columns import quantiles_us
from trimtab_collector.storage.sqlite.committer import Committer
from trimtab_collector.storage.sqlite.engine import SQLiteStore
from trimtab_collector.storage.sqlite.tiers import Retention
from trimtab_collector.storage.store import Received, Rows, Selection, UnavailableError
from trimtab_core.batches import Batch, GaugeRow, Point, SeriesKey
from trimtab_core.errors import StartupError
from trimtab_core.sketch import Sketch

#: a full hour, so that windows before and after it fall into different blocks
NOON = 1_700_006_400


@contextmanager
def store_in(directory: Path, clock: Clock | None = None, **limits: Any) -> Iterator[SQLiteStore]:
    store = SQLiteStore(directory, clock=clock or Clock(NOON), **limits)
    try:
        yield store
    finally:
        store.close()


def read(store: SQLiteStore, start_s: int, end_s: int, **more: Any) -> Rows:
    step_s = more.pop("step_s", 0) or end_s - start_s
    fields = {name: more.pop(name) for name in [*more] if name in SeriesKey._fields}
    where = {name: text for name, text in fields.items() if text is not None}
    edges = (*range(start_s, end_s, step_s), end_s)
    return store.read(Selection(edges, where=where, **more))


def requests(store: SQLiteStore, start_s: int = NOON - 50_000, end_s: int = NOON + 600) -> int:
    return int(read(store, start_s, end_s).columns.value("requests").sum())


def test_a_repeat_adds_nothing_also_after_a_restart(tmp: Path) -> None:
    batch = a_batch(7, window_s=NOON - 10, processes=[accounting_of([(0, 1)], 1)])
    with store_in(tmp) as store:
        assert append(store, batch) == [False]
        assert append(store, batch) == [True]
    with store_in(tmp) as store:
        assert append(store, batch, batch, a_batch(6, window_s=NOON - 10)) == [True, True, False]
        assert requests(store) == 2
        assert store.accounting()[0].counted == 1
        assert store.health().duplicates == 2


def test_a_repeat_within_one_transaction_adds_nothing(tmp: Path) -> None:
    batch = a_batch(7, window_s=NOON - 10)
    with store_in(tmp) as store:
        assert sorted(append(store, *[batch] * 20)) == [False] + [True] * 19
        assert requests(store) == 1


def test_the_same_number_of_another_agent_or_another_start_is_another_batch(tmp: Path) -> None:
    with store_in(tmp) as store:
        same = {"window_s": NOON - 10}
        batches = [
            a_batch(1, **same),  # type: ignore[arg-type]
            a_batch(1, agent="agent-2", **same),  # type: ignore[arg-type]
            a_batch(1, boot=b"boot-two", **same),  # type: ignore[arg-type]
        ]
        assert append(store, *batches) == [False] * 3
        assert requests(store) == 3


def test_a_repeat_is_known_after_compaction_and_gaps_are_not(tmp: Path) -> None:
    clock = Clock(NOON)
    with store_in(tmp, clock) as store:
        append(store, *[a_batch(seq, window_s=NOON - 10) for seq in (1, 2, 3, 7)])
        clock.now_s += 7200
        assert store.compact(clock.now_s) == 4
        assert store.health().journal_batches == 0
        assert store.health().tiers["10s"][0] == 1
    with store_in(tmp, clock) as store:
        late = [a_batch(seq, window_s=NOON - 10) for seq in (0, 1, 2, 3, 4, 5, 6, 7, 8)]
        assert append(store, *late) == [False, True, True, True, False, False, False, True, False]
        assert requests(store) == 9


def test_late_data_is_added_to_its_hour(tmp: Path) -> None:
    clock = Clock(NOON)
    with store_in(tmp, clock) as store:
        for seq in range(3):
            append(store, a_batch(seq, {key_of(): point_of([100 * seq])}, window_s=NOON - 20))
            clock.now_s += 7200
            assert store.compact(clock.now_s) == 1
        assert store.health().tiers["10s"][0] == 1
        found = read(store, NOON - 3600, NOON).columns
        assert found.value("requests").tolist() == [3]
        assert found.value("max_us").tolist() == [200]


def test_each_tier_is_kept_for_its_own_time(tmp: Path) -> None:
    clock = Clock(NOON)
    hour = 3600
    retention = Retention(fine_s=48 * hour, medium_s=15 * 24 * hour, coarse_s=60 * 24 * hour)
    with store_in(tmp, clock, retention=retention) as store:
        append(store, a_batch(0, window_s=NOON - 10))
        widths = []
        for days in (1, 2, 20, 70):
            clock.now_s += days * 24 * hour
            store.compact(clock.now_s)
            found = read(store, NOON - 15, NOON + hour - 5)
            widths.append((int(found.columns.value("requests").sum()), found.resolution_s))
            append(store, a_batch(days, window_s=int(clock.now_s) - 10))
            assert requests(store, int(clock.now_s) - 60, int(clock.now_s)) == 1
        # The window begins before the edge of its minute, and of its hour: it is no part of those.
        assert widths == [(1, 10), (0, 60), (0, 3600), (0, 3600)]
        assert requests(store, NOON - 60, NOON) == 0
        assert store.accounting()[0].requests == 5


ROUTES = ("/a", "/b")
CLASSES = ("2xx", "5xx")
facts = st.tuples(
    st.sampled_from([NOON - 7210, NOON - 3610, NOON - 3600, NOON - 900, NOON - 20, NOON - 10]),
    st.sampled_from(ROUTES),
    st.sampled_from(CLASSES),
    st.sampled_from(["host#0", "host#1"]),
    st.lists(st.integers(0, 5_000_000), min_size=1, max_size=5),
)


@settings(
    deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(st.lists(facts, max_size=6), min_size=1, max_size=8),
    st.sampled_from(["memory", "restart", "journal", "blocks"]),
    st.sampled_from([0, 10, 60, 3600]),
    st.sampled_from([(), ("route",), ("status_class", "route"), ("instance",)]),
    st.sampled_from([None, "/a"]),
)
def test_answers_are_those_of_counting_by_hand(
    batches: list[list[tuple[int, str, str, str, list[int]]]],
    place: str,
    step_s: int,
    group_by: tuple[str, ...],
    route: str | None,
) -> None:
    start_s, end_s = NOON - 7200, NOON
    expected: dict[tuple[tuple[str, ...], int], list[int]] = {}
    clock = Clock(NOON)
    with short_dir() as directory:
        with store_in(directory, clock) as store:
            seq = 0
            for batch in batches:
                for t, *_ in batch:
                    points: dict[SeriesKey, Point] = {}
                    for fact in [fact for fact in batch if fact[0] == t]:
                        points[key_of(fact[1], status_class=fact[2], instance=fact[3])] = point_of(
                            fact[4]
                        )
                    append(store, a_batch(seq, points, window_s=t))
                    seq += 1
                    for key, point in points.items():
                        if start_s <= t < end_s and route in (None, key.route):
                            name = tuple(getattr(key, field) for field in group_by)
                            step = start_s + (t - start_s) // (step_s or 7200) * (step_s or 7200)
                            row = expected.setdefault((name, step), [])
                            for bucket, count in point.buckets.items():
                                row += [bucket] * count
            if place == "blocks":
                clock.now_s += 3600
                store.compact(clock.now_s)
            if place in ("journal", "blocks"):
                clock.now_s += 3600
            if place in ("memory", "journal", "blocks"):
                found = read(store, start_s, end_s, step_s=step_s, group_by=group_by, route=route)
        if place == "restart":
            with store_in(directory, clock) as store:
                found = read(store, start_s, end_s, step_s=step_s, group_by=group_by, route=route)
    names = [found.groups[group] for group in found.group]
    counted = {
        (name, int(t)): int(n)
        for name, t, n in zip(names, found.t, found.columns.value("requests"), strict=True)
    }
    assert counted == {where: len(buckets) for where, buckets in expected.items()}
    medians = quantiles_us(found.columns, [0.5])[:, 0].tolist()
    most = found.columns.value("max_us").tolist()
    for name, t, median, max_us in zip(names, found.t.tolist(), medians, most, strict=True):
        sketch = Sketch(max_us=max_us)
        for bucket in expected[name, t]:
            sketch.buckets[bucket] += 1
        assert median == sketch.quantile_us(0.5)


def test_windows_of_a_second_are_kept_under_their_ten_seconds(tmp: Path) -> None:
    with store_in(tmp) as store:
        append(store, *[a_batch(n, window_s=NOON - 30 + n, step_s=1) for n in range(25)])
        found = read(store, NOON - 30, NOON, step_s=10)
        assert found.columns.value("requests").tolist() == [10, 10, 5]


def test_a_full_ring_changes_no_answer(tmp: Path) -> None:
    with store_in(tmp, recent_bytes=30_000) as store:
        append(store, *[a_batch(n, window_s=NOON - 10 * (n % 80) - 10) for n in range(160)])
        assert store.health().recent_bytes <= 30_000
        assert NOON - 900 < store.memory.recent.floor_s < NOON
        assert requests(store) == 160


def test_gauges_survive_a_restart_and_later_ones_hold(tmp: Path) -> None:
    def gauge_batch(seq: int, value: float, window_s: int) -> Batch:
        gauge = GaugeRow("test", "shop", "host#0", "http.server.active_requests", value)
        return a_batch(
            seq, window_s=window_s, gauges=[gauge], closed_us=(window_s + 10) * 1_000_000
        )

    with store_in(tmp) as store:
        append(store, gauge_batch(0, 4.0, NOON - 10))
        append(store, gauge_batch(1, 9.0, NOON - 60))
    with store_in(tmp) as store:
        assert [row.value for row in store.latest_gauges(NOON)] == [4.0]
        assert store.latest_gauges(NOON + 31) == []


def test_series_over_the_limit_become_other_and_none_is_lost(tmp: Path) -> None:
    with store_in(tmp, max_series=3) as store:
        points = {key_of(f"/{n}"): point_of([10]) for n in range(20)}
        append(store, a_batch(0, points, window_s=NOON - 10))
        found = read(store, NOON - 60, NOON, group_by=("route",))
        names = [found.groups[group][0] for group in found.group]
        counted = dict(zip(names, found.columns.value("requests").tolist(), strict=True))
        assert counted == {"/0": 1, "/1": 1, "/2": 1, "other": 17}


def test_a_compaction_cut_short_anywhere_has_happened_or_has_not(tmp: Path) -> None:
    clock = Clock(NOON + 7200)
    with store_in(tmp / "store", clock) as store:
        append(store, *[a_batch(n, window_s=NOON - 10 * n) for n in range(20)])
        store._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    original = (tmp / "store" / "metrics.db").read_bytes()

    cuts = 0
    for statement in range(40):
        directory = tmp / f"cut-{statement}"
        directory.mkdir()
        (directory / "metrics.db").write_bytes(original)
        with store_in(directory, clock) as store:
            count = 0

            def cut(sql: str, at: int = statement) -> None:
                nonlocal count
                count += 1
                if count > at:
                    store._writer.interrupt()

            store._writer.set_trace_callback(cut)
            try:
                store.compact(clock.now_s)
            except sqlite3.Error:
                cuts += 1
            store._writer.set_trace_callback(None)
            assert requests(store) == 20
            store.compact(clock.now_s)
            assert requests(store) == 20
            assert (
                append(store, *[a_batch(n, window_s=NOON - 10 * n) for n in range(20)])
                == [True] * 20
            )
    assert cuts > 5


def fill(store: SQLiteStore) -> None:
    for seq in range(1, 200):
        append(store, a_batch(seq, window_s=NOON - 10))


def test_a_store_whose_disk_refuses_says_so_and_goes_on_by_itself(tmp: Path) -> None:
    with store_in(tmp) as store:
        append(store, a_batch(0, window_s=NOON - 10))
        # The smallest limit: the file as large as it is now.
        (pages,) = store._writer.execute("PRAGMA page_count").fetchone()
        store._writer.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(UnavailableError, match="full") as refusal:
            fill(store)
        taken = store.health().batches
        assert refusal.value.retry_after_s > 0
        assert "full" in store.health().trouble
        assert requests(store) == taken
        store._writer.execute("PRAGMA max_page_count = 1000000")
        assert append(store, a_batch(taken, window_s=NOON - 10)) == [False]
        assert store.health().trouble == ""
        assert requests(store) == taken + 1


@pytest.mark.asyncio
async def test_a_batch_that_the_store_cannot_take_costs_only_itself(
    tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Committer._stage

    def picky(self: Committer, group: Any, received: Received) -> bool:
        if received.batch.seq == 3:
            raise ValueError("no threes")
        return stage(self, group, received)

    monkeypatch.setattr(Committer, "_stage", picky)

    async def work(store: SQLiteStore) -> list[bool | BaseException]:
        batches = [a_batch(seq, window_s=NOON - 10) for seq in range(8)]
        waiting = [store.append(received(store, batch)) for batch in batches]
        return await asyncio.gather(*waiting, return_exceptions=True)

    with store_in(tmp) as store:
        answers = await work(store)
        assert [type(answer).__name__ for answer in answers].count("UnstorableError") == 1
        assert requests(store) == 7


@pytest.mark.asyncio
async def test_too_much_waiting_is_refused_as_retryable(tmp: Path) -> None:
    async def work(store: SQLiteStore) -> Sequence[bool | BaseException]:
        big = {key_of(f"/{n}"): point_of([n]) for n in range(4_000)}
        batches = [a_batch(seq, big, window_s=NOON - 10) for seq in range(3)]
        ready = [received(store, batch) for batch in batches]
        return await asyncio.gather(*map(store.append, ready), return_exceptions=True)

    with store_in(tmp, queue_bytes=10_000) as store:
        answers = await work(store)
        refused = [a for a in answers if isinstance(a, UnavailableError)]
        assert refused
        assert requests(store) == 4_000 * (3 - len(refused))


def test_a_second_collector_on_a_directory_is_told_so(tmp: Path) -> None:
    with store_in(tmp), pytest.raises(StartupError, match="another collector uses"):
        SQLiteStore(tmp)
    with store_in(tmp) as store:
        assert store.health().batches == 0


def test_a_directory_that_cannot_be_made_is_said_in_a_sentence(tmp: Path) -> None:
    (tmp / "file").write_text("")
    with pytest.raises(StartupError, match="--data-dir"):
        SQLiteStore(tmp / "file" / "store")


def test_a_file_that_is_no_store_is_refused_and_left_alone(tmp: Path) -> None:
    (tmp / "metrics.db").write_bytes(b"something else" * 1000)
    with pytest.raises(StartupError, match="expected a store of this version"):
        SQLiteStore(tmp)
    assert (tmp / "metrics.db").read_bytes() == b"something else" * 1000


def test_a_store_of_a_later_version_is_refused(tmp: Path) -> None:
    with closing(sqlite3.connect(tmp / "metrics.db")) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(StartupError, match="version 99"):
        SQLiteStore(tmp)
