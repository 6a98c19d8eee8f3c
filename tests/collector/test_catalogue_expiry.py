"""Names go with the last thing that uses them: deploys and hosts of the past cost nothing."""

import os
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from support.clock import Clock
from support.stores.appending import append
from support.stores.batches import a_batch, accounting_of, key_of, point_of
from trimtab_collector.storage.sqlite.engine import SQLiteStore
from trimtab_collector.storage.sqlite.tiers import Retention
from trimtab_collector.storage.sqlite.upkeep.check import check
from trimtab_collector.storage.store import MeasureSelection, Selection
from trimtab_core.batches import Batch
from trimtab_core.measures import COUNTER, Delta, MeasureKey
from trimtab_core.rows import MeasureRow, pack_rows

HOUR_S = 3600
DAY_S = 86_400
NOON = 1_700_049_600
LIVE = 6
#: days of deploys: longer than anything that is let go of is kept, and into another year
DAYS = 130
KEPT = Retention(2 * DAY_S, 9 * DAY_S, 400 * DAY_S)


@contextmanager
def opened(directory: Path, clock: Clock, max_series: int = LIVE) -> Iterator[SQLiteStore]:
    store = SQLiteStore(directory, clock=clock, retention=KEPT, max_series=max_series)
    try:
        yield store
    finally:
        store.close()


def of_deploy(day: int, seq: int, t: int) -> Batch:
    """Return a batch of all that lives on one day: new pods, a new version, the same routes."""
    points = {
        key_of(f"/{n}", instance=f"pod-{day}-{n}", version=f"v{day}"): point_of([1000 + n])
        for n in range(LIVE)
    }
    rows = [
        MeasureRow("test", "shop", f"pod-{day}-{n}", MeasureKey("orders", COUNTER), added(1.0))
        for n in range(LIVE)
    ]
    (packed,) = pack_rows(rows, [])
    process = accounting_of([(10 * seq, LIVE)], 10 * seq + LIVE, process=b"%8d" % day)
    return a_batch(
        seq, points, boot=b"boot%4d" % day, window_s=t - t % 10, processes=[process], rows=packed
    )


def added(value: float) -> Delta:
    delta = Delta()
    delta.add([value])
    return delta


def routes_of(store: SQLiteStore, start_s: int, end_s: int) -> set[tuple[str, ...]]:
    rows = store.read(Selection((start_s, end_s), ("version", "instance", "route")))
    return {rows.groups[group] for group in rows.group.tolist()}


@pytest.fixture
def fast(tmp: Path) -> Iterator[Path]:
    """A directory in memory where there is one: what survives a power cut is not asked here."""
    shared = Path("/dev/shm")
    if not os.access(shared, os.W_OK):
        yield tmp
        return
    with TemporaryDirectory(dir=shared) as directory:
        yield Path(directory)


def test_months_of_daily_deploys_keep_every_live_series_named(
    fast: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit is one deploy wide: the last one's names are let go of before the next comes."""
    monkeypatch.setattr("trimtab_collector.storage.sqlite.measures._MOST_MEASURES", 40 * LIVE)
    clock = Clock(NOON)
    with opened(fast / "c", clock) as store:
        for day in range(DAYS):
            now_s = int(clock.now_s)
            for seq in (0, 1):
                assert append(store, of_deploy(day, seq, now_s - 20)) == [False]
            live = {(f"v{day}", f"pod-{day}-{n}", f"/{n}") for n in range(LIVE)}
            assert routes_of(store, now_s - 60, now_s) == live
            clock.now_s += DAY_S
            store.compact(clock.now_s)
            # In the tiers they are named, too.
            assert routes_of(store, now_s - 3 * HOUR_S, now_s) == live
        assert store.health().series <= LIVE
        # All of the time is there, each under the name it had.
        start_s = NOON - NOON % DAY_S
        whole = routes_of(store, start_s, int(clock.now_s))
        assert whole == {
            (f"v{day}", f"pod-{day}-{n}", f"/{n}") for day in range(DAYS) for n in range(LIVE)
        }
        rows = store.read(Selection((start_s, int(clock.now_s))))
        assert rows.columns.value("requests").sum() == DAYS * 2 * LIVE
        # Measures are kept for 90 days: those that were idle the longest have become `other`.
        (count,) = store._writer.execute("SELECT count(*) FROM measure")
        assert count[0] <= 40 * LIVE
        edges = (int(clock.now_s) - 80 * DAY_S - HOUR_S, int(clock.now_s))
        parts = store.read_measures(MeasureSelection(edges, ("orders",)))
        assert {part.instance for part in parts} >= {f"pod-{DAYS - 1}-{n}" for n in range(LIVE)}
        assert sum(part.delta.sum for part in parts) == 80 * 2 * LIVE
        # A life of an agent goes with the last number that anybody may repeat.
        (origins,) = store._writer.execute("SELECT count(*) FROM origin")
        assert origins[0] <= 10
    assert check(fast / "c", KEPT, lambda line: None, clock.now_s).sound


def test_names_that_are_in_use_stay_when_the_limit_is_reached(tmp: Path) -> None:
    clock = Clock(NOON)
    with opened(tmp / "c", clock) as store:
        append(store, of_deploy(0, 0, NOON - 20))
        append(store, of_deploy(1, 0, NOON - 20))
        named = {("v0", f"pod-0-{n}", f"/{n}") for n in range(LIVE)}
        assert routes_of(store, NOON - 60, NOON) == {*named, ("", "", "other")}
        # Both live on: the ones that were there keep their names whatever is swept.
        for step in range(1, 4):
            store.tiering.tidy(clock.now_s)
            clock.now_s += 10
            append(store, of_deploy(0, step, int(clock.now_s) - 20))
            append(store, of_deploy(1, step, int(clock.now_s) - 20))
        assert routes_of(store, NOON - 60, NOON + 60) == {*named, ("", "", "other")}
        rows = store.read(Selection((NOON - 60, NOON + 60)))
        assert rows.columns.value("requests").sum() == 4 * 2 * LIVE


def test_a_batch_that_was_numbered_before_a_sweep_is_counted_under_its_own_names(
    tmp: Path,
) -> None:
    clock = Clock(NOON)
    with opened(tmp / "c", clock, 2 * LIVE) as store:
        append(store, of_deploy(0, 0, NOON - 20))
        waiting = of_deploy(1, 0, NOON - 20)
        before = store.memory.catalogue.number(waiting, NOON - 20, lambda _: None)
        store.tiering.tidy(clock.now_s)
        assert before.origin is not store.memory.catalogue.dictionary
        append(store, waiting)
        found = routes_of(store, NOON - 60, NOON)
        assert found == {(f"v{d}", f"pod-{d}-{n}", f"/{n}") for d in (0, 1) for n in range(LIVE)}


def test_a_store_whose_small_file_was_lost_shows_the_right_names_and_says_so(tmp: Path) -> None:
    clock = Clock(NOON)
    with opened(tmp / "c", clock, 1000) as store:
        for day in range(3):
            append(store, of_deploy(day, 0, NOON - 3 * HOUR_S + 60 * day))
        store.compact(clock.now_s)
        whole = routes_of(store, NOON - 4 * HOUR_S, NOON)
        assert store.health().damage == {}
    for path in (tmp / "c").glob("metrics.db*"):
        path.unlink()
    with opened(tmp / "c", clock, 1000) as store:
        damage = store.health().damage
        assert len(damage) == 4
        assert all("another metrics.db" in text for text in damage.values())
        # Numbers of journal rows begin anew, and the marks in the files say nothing of them.
        for day in (7, 8, 9):
            append(store, of_deploy(day, 0, NOON - 3 * HOUR_S + 60 * day))
        more = {(f"v{d}", f"pod-{d}-{n}", f"/{n}") for d in (7, 8, 9) for n in range(LIVE)}
        assert routes_of(store, NOON - 4 * HOUR_S, NOON) == whole | more
        assert store.compact(clock.now_s) == 3
        assert routes_of(store, NOON - 4 * HOUR_S, NOON) == whole | more
        rows = store.read(Selection((NOON - 4 * HOUR_S, NOON)))
        assert rows.columns.value("requests").sum() == 6 * LIVE
    # It goes on saying so, also to whoever checks.
    with opened(tmp / "c", clock, 1000) as store:
        assert len(store.health().damage) == 4
    report = check(tmp / "c", KEPT, lambda line: None, clock.now_s)
    assert any("another metrics.db" in note for note in report.notes)


def test_a_tier_file_of_another_store_is_shown_under_its_own_names(tmp: Path) -> None:
    clock = Clock(NOON)
    for name, day in (("a", 1), ("b", 2)):
        with opened(tmp / name, clock, 1000) as store:
            append(store, of_deploy(day, 0, NOON - 3 * HOUR_S - DAY_S * (name == "b")))
            store.compact(clock.now_s)
    (moved,) = (tmp / "b").glob("10s-*.db")
    with closing(sqlite3.connect(moved)) as file:
        file.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    shutil.copy(moved, tmp / "a" / moved.name)
    with opened(tmp / "a", clock, 1000) as store:
        assert list(store.health().damage) == [moved.name]
        at = NOON - 3 * HOUR_S - DAY_S
        found = routes_of(store, at - 30, at + 30)
    assert {version for version, _, _ in found} == {"v2"}


def test_a_full_table_of_names_in_use_is_not_built_anew_again_and_again(tmp: Path) -> None:
    clock = Clock(NOON)
    with opened(tmp / "c", clock) as store:
        append(store, of_deploy(0, 0, NOON - 20))
        dictionary = store.memory.catalogue.dictionary
        for _ in range(3):
            store.tiering.tidy(clock.now_s)
        assert store.memory.catalogue.dictionary is dictionary


def test_series_without_an_instance_count_like_all_others(tmp: Path) -> None:
    clock = Clock(NOON)
    with opened(tmp / "c", clock) as store:
        points = {key_of(f"/{n}", instance=""): point_of([1]) for n in range(4 * LIVE)}
        append(store, a_batch(0, points, window_s=NOON - 20))
        assert len(routes_of(store, NOON - 60, NOON)) == LIVE + 1
        assert store.health().series <= LIVE + 1


def test_an_upkeep_that_fails_at_its_end_changes_no_name(
    tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was forgotten in a transaction that is rolled back is known as before."""
    monkeypatch.setattr("trimtab_collector.storage.sqlite.measures._MOST_MEASURES", LIVE)
    clock = Clock(NOON)
    with opened(tmp / "c", clock, 1000) as store:
        append(store, of_deploy(0, 0, NOON - 20))
        later_s = NOON + 2 * HOUR_S
        measures = store._measures
        before = dict(measures._ids)
        with pytest.raises(ZeroDivisionError):
            store._committer.run(lambda connection: measures.forget(connection, later_s) and 1 // 0)
        assert measures._ids == before
        clock.now_s = later_s
        append(store, of_deploy(1, 0, later_s - 20))
        edges = (NOON - HOUR_S, later_s)
        parts = store.read_measures(MeasureSelection(edges, ("orders",)))
        named = {part.instance: part.delta.sum for part in parts if part.instance}
        assert named == {f"pod-0-{n}": 1.0 for n in range(LIVE)}
        assert sum(part.delta.sum for part in parts) == 2 * LIVE


def test_idle_measures_of_many_names_leave_room_for_those_in_use(
    tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Measures without attributes have no `other` of their own: the service has one."""
    monkeypatch.setattr("trimtab_collector.storage.sqlite.measures._MOST_MEASURES", 40)
    clock = Clock(NOON)
    with opened(tmp / "c", clock, 1000) as store:
        for batch in range(10):
            rows = [
                MeasureRow("test", "shop", "", MeasureKey(f"m{batch}.{n}", COUNTER), added(1.0))
                for n in range(20)
            ]
            (packed,) = pack_rows(rows, [])
            append(store, a_batch(batch, window_s=NOON - 20, rows=packed))
        (count,) = store._writer.execute("SELECT count(*) FROM measure").fetchone()
        assert count <= 46
        clock.now_s += 2 * HOUR_S
        store.compact(clock.now_s)
        (count,) = store._writer.execute("SELECT count(*) FROM measure").fetchone()
        assert count <= 36
        whose = ("test", "bank", "pod", MeasureKey("salaries", COUNTER))
        (packed,) = pack_rows([MeasureRow(*whose, added(7.0))], [])
        append(store, a_batch(99, window_s=int(clock.now_s) - 20, rows=packed))
        edges = (NOON - HOUR_S, int(clock.now_s))
        parts = store.read_measures(MeasureSelection(edges, ("*",)))
        assert [part.delta.sum for part in parts if part[:4] == whose] == [7.0]
        assert sum(part.delta.sum for part in parts) == 10 * 20 + 7 - store._measures.left_out


def test_rows_are_never_folded_into_a_measure_that_goes_in_the_same_moment(
    tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trimtab_collector.storage.sqlite.measures._MOST_MEASURES", 10)
    clock = Clock(NOON)

    def orders(instances: Sequence[str], value: float) -> bytes:
        key = MeasureKey("orders", COUNTER)
        rows = [MeasureRow("test", "shop", each, key, added(value)) for each in instances]
        return pack_rows(rows, [])[0]

    with opened(tmp / "c", clock, 1000) as store:
        # The measure that collects others is there, and its rows have expired.
        append(store, a_batch(0, window_s=NOON - 20, rows=orders([""], 1.0)))
        store._committer.run(lambda connection: connection.execute("DELETE FROM amount"))
        pods = [f"pod-{n}" for n in range(9)]
        append(store, a_batch(1, window_s=NOON - 20, rows=orders(pods, 3.0)))
        full = [MeasureRow("test", "bank", "", MeasureKey("salaries", COUNTER), added(1.0))]
        append(store, a_batch(3, window_s=NOON - 20, rows=pack_rows(full, [])[0]))
        clock.now_s += 2 * HOUR_S
        store.compact(clock.now_s)
        selection = MeasureSelection((NOON - HOUR_S, NOON), ("orders",))
        parts = store.read_measures(selection)
        assert sum(part.delta.sum for part in parts) == 9 * 3.0
        append(store, a_batch(2, window_s=NOON - 20, rows=orders([""], 5.0)))
        parts = store.read_measures(selection)
        assert sum(part.delta.sum for part in parts) == 9 * 3.0 + 5.0


def test_an_older_state_of_the_small_file_is_noticed_and_hides_nothing(tmp: Path) -> None:
    clock = Clock(NOON)
    with opened(tmp / "c", clock, 1000) as store:
        append(store, of_deploy(0, 0, NOON - 20))
    shutil.copytree(tmp / "c", tmp / "before")
    with opened(tmp / "c", clock, 1000) as store:
        for day in range(1, 9):
            append(store, of_deploy(day, 0, NOON - 20))
        clock.now_s += HOUR_S
        store.compact(clock.now_s)
    for name in ("metrics.db", "metrics.db-wal", "metrics.db-shm"):
        (tmp / "c" / name).unlink(missing_ok=True)
        if (tmp / "before" / name).exists():
            shutil.copy(tmp / "before" / name, tmp / "c" / name)
    with opened(tmp / "c", clock, 1000) as store:
        assert store.health().damage
        for day in range(20, 28):
            append(store, of_deploy(day, 0, NOON - 20))
        store.compact(clock.now_s)
        found = {version for version, _, _ in routes_of(store, NOON - 60, NOON)}
    assert found == {f"v{day}" for day in (*range(9), *range(20, 28))}


def test_a_tier_file_of_another_version_is_put_aside_and_all_else_goes_on(tmp: Path) -> None:
    clock = Clock(NOON)
    with opened(tmp / "c", clock, 1000) as store:
        append(store, of_deploy(0, 0, NOON - 2 * HOUR_S))
        store.compact(clock.now_s)
    (path,) = (tmp / "c").glob("1m-*.db")
    with closing(sqlite3.connect(path)) as file:
        file.execute("PRAGMA user_version = 2")
    with opened(tmp / "c", clock, 1000) as store:
        append(store, of_deploy(1, 0, NOON - 2 * HOUR_S))
        assert store.compact(clock.now_s) == 1
        assert store.health().damage.keys() == {path.name + ".damaged"}
        found = {version for version, _, _ in routes_of(store, NOON - 3 * HOUR_S, NOON - HOUR_S)}
    assert found == {"v0", "v1"}
