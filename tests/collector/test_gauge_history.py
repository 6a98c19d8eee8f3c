"""The history of gauges: over restarts, late data, repeats, retention, damage, and in few bytes."""

import math
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from support.clock import Clock
from support.stores.appending import append, received
from support.stores.batches import a_batch
from support.stores.gaugeoracle import GaugeOracle, ask
from trimtab_collector.storage.sqlite import gaugehistory
from trimtab_collector.storage.sqlite.compactor import Compactor, locked
from trimtab_collector.storage.sqlite.engine import SQLiteStore
from trimtab_collector.storage.sqlite.gaugehead import GaugeHead
from trimtab_collector.storage.store import GaugeSelection, TooMuchError
from trimtab_core.batches import Batch, GaugeRow

NOON = 1_700_006_400
HOUR = 3600
DAY = 86_400
MEMORY = "process.memory.usage"
LOAD = "system.cpu.load_1m"


@contextmanager
def store_in(directory: Path, clock: Clock, **limits: Any) -> Iterator[SQLiteStore]:
    store = SQLiteStore(directory, clock=clock, **limits)
    try:
        yield store
    finally:
        store.close()


def gauges(seq: int, window_s: int, value: float, *, processes: int = 2, **more: Any) -> Batch:
    """Return a batch with the memory of processes and the load of the host."""
    gauges = [
        GaugeRow("test", "shop", f"host#{number}", MEMORY, value + 8 * number)
        for number in range(processes)
    ]
    gauges.append(GaugeRow("", "", "host", LOAD, value / 4))
    return a_batch(seq, {}, window_s=window_s, gauges=gauges, **more)


def over(start_s: int, end_s: int, step_s: int = 0, **more: Any) -> GaugeSelection:
    return GaugeSelection((*range(start_s, end_s, step_s or end_s - start_s), end_s), **more)


def test_a_gauge_is_followed_from_memory_journal_and_tiers_alike(tmp: Path) -> None:
    clock, oracle = Clock(NOON), GaugeOracle()
    selections = [
        over(NOON - HOUR, NOON + 5 * HOUR, 600),
        over(NOON - 35, NOON + HOUR, 7),
        over(NOON - HOUR, NOON + HOUR, names=(MEMORY,), group_by=("name",)),
        over(NOON - HOUR, NOON + HOUR, 60, where={"instance": "host#1"}),
        over(NOON - HOUR, NOON + HOUR, 60, names=("nothing",)),
    ]
    with store_in(tmp, clock) as store:
        for seq in range(60):
            batch = gauges(seq, NOON - 300 + 10 * seq, 1000 + seq % 7)
            clock.now_s = batch.window_s + 12
            oracle.add(batch)
            append(store, batch)
        expected = [oracle.answer(selection) for selection in selections]
        assert [ask(store, selection) for selection in selections] == expected
        assert len(expected[0]) == 3 * 2
        assert expected[4] == {}
    with store_in(tmp, clock) as store:
        assert [ask(store, selection) for selection in selections] == expected
    with store_in(tmp, clock, recent_bytes=1000) as store:
        # Nothing fits into memory: the journal answers.
        assert [ask(store, selection) for selection in selections] == expected
        clock.now_s += 2 * HOUR
        assert store.compact(clock.now_s) == 60
        assert [ask(store, selection) for selection in selections] == expected
    with store_in(tmp, clock) as store:
        assert [ask(store, selection) for selection in selections] == expected


def test_of_several_gauges_the_mean_goes_over_all_and_the_total_over_their_means(
    tmp: Path,
) -> None:
    clock = Clock(NOON + 60)
    with store_in(tmp, clock) as store:
        one = [GaugeRow("test", "shop", "host#0", MEMORY, 4.0)]
        both = [*one, GaugeRow("test", "shop", "host#1", MEMORY, 10.0)]
        append(store, a_batch(0, {}, window_s=NOON, gauges=one))
        append(store, a_batch(1, {}, window_s=NOON + 10, gauges=both))
        rows = store.read_gauges(over(NOON, NOON + 60, group_by=("service", "name")))
        assert rows.groups == [("shop", MEMORY)]
        assert rows.count.tolist() == [3]
        assert (rows.mean[0], rows.min[0], rows.max[0]) == (6.0, 4.0, 10.0)
        assert rows.total.tolist() == [14.0]
        assert math.isnan(rows.last[0])
        # Where a step has one gauge only, its last value is known.
        rows = store.read_gauges(over(NOON, NOON + 60, 10, group_by=("service", "name")))
        assert rows.last[0] == 4.0
        assert math.isnan(rows.last[1])


def test_the_last_reading_is_the_latest_whenever_it_came(tmp: Path) -> None:
    clock = Clock(NOON + 20)
    gauge = GaugeRow("", "", "host", LOAD, 0.0)
    seconds = [3, 9, 0, 7]
    with store_in(tmp, clock) as store:
        for seq, second in enumerate(seconds):
            sent = [gauge._replace(value=float(second))]
            append(store, a_batch(seq, {}, window_s=NOON + second, step_s=1, gauges=sent))
            assert store.read_gauges(over(NOON, NOON + 10)).last[0] == max(seconds[: seq + 1])
            clock.now_s += 2 * HOUR
            store.compact(clock.now_s)
        rows = store.read_gauges(over(NOON, NOON + 10))
        assert (rows.count[0], rows.last[0], rows.min[0]) == (4, 9.0, 0.0)


def test_live_readings_and_those_that_are_no_number_are_no_history(tmp: Path) -> None:
    clock = Clock(NOON + 20)
    with store_in(tmp, clock) as store:
        strange = [
            GaugeRow("", "", "host", name, value)
            for name, value in (
                ("nan", math.nan),
                ("inf", math.inf),
                ("huge", -1e308),
                ("ok", -1.5),
            )
        ]
        append(store, a_batch(0, {}, window_s=NOON, gauges=strange))
        live = [GaugeRow("", "", "host", "live", 1.0)]
        store.show(received(store, a_batch(1, {}, window_s=NOON, gauges=live, live=True)))
        for _ in range(2):
            assert [name for *_, name in store.read_gauges(over(NOON, NOON + 60)).groups] == ["ok"]
            clock.now_s += 2 * HOUR
            store.compact(clock.now_s)


def test_each_tier_keeps_gauges_for_its_own_time_and_then_forgets_their_names(tmp: Path) -> None:
    clock = Clock(NOON + 60)
    with store_in(tmp, clock) as store:
        append(store, gauges(0, NOON, 64.0), gauges(1, NOON + 10, 32.0))
        wide = over(NOON - HOUR, NOON + HOUR, names=(MEMORY,), where={"instance": "host#0"})
        found = []
        for days in (0, 1, 5, 20, 500):
            clock.now_s = NOON + days * DAY + 2 * HOUR
            store.compact(clock.now_s)
            rows = store.read_gauges(wide)
            sharp = store.read_gauges(over(NOON + 5, NOON + 15, 10))
            found.append((rows.count.tolist(), rows.last.tolist(), sharp.resolution_s))
        assert found == [
            ([2], [32.0], 10),
            ([2], [32.0], 10),
            ([2], [32.0], 60),
            ([2], [32.0], 3600),
            ([], [], 3600),
        ]
        assert list(tmp.glob("1*-*.db")) == []


@pytest.mark.parametrize("commits", range(5))
def test_a_compaction_cut_short_between_files_counts_nothing_twice(tmp: Path, commits: int) -> None:
    clock, oracle = Clock(NOON), GaugeOracle()
    selections = [over(NOON - HOUR, NOON), over(NOON - HOUR, NOON, 60), over(NOON - 600, NOON, 10)]
    with store_in(tmp, clock) as store:
        for number in range(2):
            batches = [
                gauges(10 * number + n, NOON - 400 + 60 * n, float(n + number)) for n in range(4)
            ]
            oracle.add(*batches)
            append(store, *batches)
            clock.now_s += 2 * HOUR
            if number:
                break
            with locked(tmp, 10):
                steps = Compactor(tmp, 200_000).steps(
                    clock.now_s, store.tiering.cutoff_s(clock.now_s), store.tiering.floors()
                )
                _, commit = next(steps)
                # What commits the step is a method of the unit, which knows its files.
                files = list(commit.__self__._files.values())  # type: ignore[attr-defined]
                assert len(files) == 4
                for file in files[:commits]:
                    file.connection.execute("COMMIT")
                steps.close()  # type: ignore[attr-defined]
            for selection in selections:
                assert ask(store, selection) == oracle.answer(selection)
    with store_in(tmp, clock) as store:
        for _ in range(2):
            for selection in selections:
                assert ask(store, selection) == oracle.answer(selection)
            store.compact(clock.now_s)
        assert store.health().journal_batches == 0


def test_sets_of_a_period_become_one_and_answers_stay(tmp: Path) -> None:
    clock, oracle = Clock(NOON), GaugeOracle()
    with store_in(tmp, clock) as store:
        for number in range(6):
            late = [
                gauges(10 * number + n, NOON - HOUR + 60 * n, float(n), agent=f"agent-{number % 3}")
                for n in range(4)
            ]
            oracle.add(*late)
            append(store, *late)
            clock.now_s += 2 * HOUR
            store.compact(clock.now_s)
        # Tiers of single series: ten minutes are of roll-ups alone.
        for path in sorted(tmp.glob("1[0mh][s-]*.db")):
            with closing(sqlite3.connect(path)) as file:
                parts = file.execute("SELECT count(DISTINCT part) FROM gauge_chunk").fetchone()[0]
                # Files are looked at again when they were not for a while: at the next start.
                assert parts >= 1
    with store_in(tmp, clock) as store:
        store.compact(clock.now_s)
        for path in sorted(tmp.glob("1[0mh][s-]*.db")):
            with closing(sqlite3.connect(path)) as file:
                assert file.execute(
                    "SELECT DISTINCT count(DISTINCT part) FROM gauge_chunk GROUP BY period"
                ).fetchall() == [(1,)]
        for selection in (over(NOON - HOUR, NOON, 60), over(NOON - HOUR, NOON)):
            assert ask(store, selection) == oracle.answer(selection)


def test_a_damaged_chunk_costs_itself_and_is_named(tmp: Path) -> None:
    clock = Clock(NOON)
    with store_in(tmp, clock) as store:
        append(store, gauges(0, NOON - 20, 1.0), gauges(1, NOON + DAY, 2.0))
        clock.now_s += DAY + 3 * HOUR
        store.compact(clock.now_s)
        file = min(tmp.glob("10s-*.db"))
        with closing(sqlite3.connect(file)) as broken:
            broken.execute("UPDATE gauge_chunk SET payload = zeroblob(80)")
            broken.commit()
        rows = store.read_gauges(over(NOON - 25, NOON + DAY + 15, names=(MEMORY,)))
        assert rows.count.tolist() == [1, 1]
        assert file.name in store.health().damage


def test_a_read_of_too_many_readings_is_refused_with_a_way_out(
    tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gaugehistory, "_MOST_POINTS", 2)
    clock = Clock(NOON + 60)
    with store_in(tmp, clock) as store:
        append(store, gauges(0, NOON, 1.0))
        clock.now_s += 2 * HOUR
        store.compact(clock.now_s)
        with pytest.raises(TooMuchError, match="fewer names"):
            store.read_gauges(over(NOON, NOON + 60))


@pytest.mark.parametrize("wrong", [{"group_by": ("service",)}, {"where": {"name": "x"}}])
def test_gauges_of_different_names_are_never_added_up(wrong: Any) -> None:
    with pytest.raises(ValueError, match="name in group_by"):
        over(NOON, NOON + 10, **wrong)


def test_memory_for_readings_is_bounded_also_for_names_that_come_and_go() -> None:
    clock = Clock(NOON)
    ring = GaugeHead(900, 200_000, clock)
    for number in range(3_000):
        clock.now_s += 1
        window_s = int(clock.now_s) // 10 * 10 - 10
        gauges = [GaugeRow("test", "shop", f"pod-{number}#{n}", MEMORY, 1.0) for n in range(20)]
        ring.add(a_batch(number, {}, window_s=window_s, gauges=gauges), window_s)
        assert ring.size_bytes <= 200_000 + 20 * 400 * 10
    floor_s, keys, taken = ring.snapshot(0, 2**32)
    assert floor_s > NOON + 2_000
    assert {keys[place].instance.partition("#")[0] for each in taken for place in each.gauge} >= {
        "pod-2999"
    }
    clock.now_s += 10_000
    assert ring.snapshot(0, 2**32)[2] == []
    assert ring.size_bytes == 0
