"""A store on a disk without a byte left: it takes nothing, answers all, and goes on by itself."""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import TypeVar

import pytest

from support.clock import Clock
from support.disks.smalldisk import SmallDisk, small_disk
from support.processes.servers import Collector
from support.stores.appending import append
from support.stores.batches import Sender, a_batch, key_of, point_of, window
from trimtab_collector.room import NoRoomError
from trimtab_collector.storage.sqlite.compaction import Step
from trimtab_collector.storage.sqlite.engine import SQLiteStore
from trimtab_collector.storage.sqlite.tiering import Tiering
from trimtab_collector.storage.sqlite.tiers import Retention
from trimtab_collector.storage.store import Selection, UnavailableError
from trimtab_core.batches import Batch
from trimtab_core.errors import StartupError

_T = TypeVar("_T")
HOUR_S = 3600
DAY_S = 24 * HOUR_S
#: a midnight in UTC
START_S = 1_700_006_400 - 1_700_006_400 % DAY_S
ROUTES = 200


@pytest.fixture
def disk(tmp: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp / "disk", 12) as disk:
        yield disk


@contextmanager
def opened(disk: SmallDisk, clock: Clock, **limits: object) -> Iterator[SQLiteStore]:
    store = SQLiteStore(disk.path / "data", clock=clock, **limits)  # type: ignore[arg-type]
    try:
        yield store
    finally:
        store.close()


def batch(number: int, window_s: int) -> Batch:
    chance = Random(number)
    points = {
        key_of(f"/{n}"): point_of([chance.randrange(5_000_000), chance.randrange(1000)])
        for n in range(ROUTES)
    }
    return a_batch(number, points, window_s=window_s)


def fill(store: SQLiteStore, first: int, count: int, start_s: int) -> int:
    """Append a batch for each window from a time on; returns the next number."""
    for number in range(count):
        assert append(store, batch(first + number, start_s + 10 * number)) == [False]
    return first + count


def in_a_new_thread(work: Callable[[], _T]) -> _T:
    """Return what work returns in a thread that has no file open."""
    found: list[_T] = []
    thread = threading.Thread(target=lambda: found.append(work()))
    thread.start()
    thread.join()
    return found[0]


def batches(store: SQLiteStore, start_s: int, end_s: int, step_s: int = 10) -> float:
    """Return how many batches answer, from files that nobody has open."""

    def read() -> float:
        rows = store.read(Selection((*range(start_s, end_s, step_s), end_s)))
        return float(rows.columns.value("requests").sum() / (2 * ROUTES))

    return in_a_new_thread(read)


def test_a_full_disk_takes_nothing_answers_all_and_is_made_good_by_room(disk: SmallDisk) -> None:
    clock = Clock(START_S + 4 * HOUR_S)
    with opened(disk, clock) as store:
        taken = fill(store, 0, 60, START_S)
        store.compact(clock.now_s)
    with opened(disk, clock) as store:
        taken = fill(store, taken, 30, START_S + HOUR_S)
        disk.fill()
        with pytest.raises(UnavailableError, match="full"):
            # What was there before may have left room for some.
            taken = fill(store, taken, 1000, START_S + 2 * HOUR_S)
        number = 60 + store.health().journal_batches
        assert number >= 90
        assert "full" in store.health().trouble
        for step_s in (10, 60, HOUR_S):
            assert batches(store, START_S, START_S + 4 * HOUR_S, step_s) == number
        with pytest.raises(sqlite3.OperationalError):
            store.compact(clock.now_s)
        for step_s in (10, 60, HOUR_S):
            assert batches(store, START_S, START_S + 4 * HOUR_S, step_s) == number
        disk.give_back()
        assert append(store, batch(number, START_S + 3 * HOUR_S)) == [False]
        assert not store.health().trouble
        assert store.compact(clock.now_s) == number + 1 - 60
        for step_s in (10, 60, HOUR_S):
            assert batches(store, START_S, START_S + 4 * HOUR_S, step_s) == number + 1
        assert not store.health().damage


def test_what_is_too_old_gives_its_room_back_although_it_was_just_read(disk: SmallDisk) -> None:
    clock = Clock(START_S + 4 * HOUR_S)
    kept = Retention(DAY_S, DAY_S, 400 * DAY_S)
    with opened(disk, clock, retention=kept) as store:
        taken = fill(store, 0, 300, START_S)
        store.compact(clock.now_s)
        # This thread has the file open from here on.
        edges = tuple(range(START_S, START_S + HOUR_S + 1, 10))
        assert store.read(Selection(edges)).columns.value("requests").sum() == 2 * ROUTES * 300
        clock.now_s = START_S + 3 * DAY_S
        fill(store, taken, 20, int(clock.now_s) - HOUR_S)
        disk.fill()
        with pytest.raises(UnavailableError, match="full"):
            fill(store, taken + 20, 1000, int(clock.now_s) - HOUR_S + 200)
        held = store.health().journal_batches
        # The finest tiers of the first day go, and what they give is enough for the rest.
        assert store.compact(clock.now_s) == held
        assert disk.free_bytes > 0
        assert append(store, batch(9999, int(clock.now_s) - 600)) == [False]
        assert batches(store, int(clock.now_s) - HOUR_S, int(clock.now_s)) == held + 1
        assert batches(store, START_S, START_S + HOUR_S, HOUR_S) == 300


def test_a_limit_for_the_store_gives_room_on_a_full_disk(disk: SmallDisk) -> None:
    clock = Clock(START_S + 4 * HOUR_S)
    with opened(disk, clock) as store:
        taken = fill(store, 0, 200, START_S)
        store.compact(clock.now_s)
        clock.now_s += DAY_S
        fill(store, taken, 20, int(clock.now_s) - HOUR_S)
    with opened(disk, clock, max_bytes=1) as store:
        disk.fill()
        assert store.compact(clock.now_s) == 20
        assert not list((disk.path / "data").glob("10s-20231115.db*"))
        for step_s in (10, 60, HOUR_S):
            # Hours answer for what finer windows no longer do.
            assert batches(store, START_S, START_S + HOUR_S, step_s) == 200
            assert batches(store, START_S, int(clock.now_s), step_s) == 220


def test_a_kill_between_a_drop_and_its_note_costs_no_answer(
    disk: SmallDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(START_S + 4 * HOUR_S)
    with opened(disk, clock) as store:
        fill(store, 0, 50, START_S)
        store.compact(clock.now_s)
    clock.now_s += 2 * DAY_S

    def killed(tiering: Tiering, step: Step) -> None:
        raise KeyboardInterrupt

    for tier in ("10s", "1m", "10m"):
        with monkeypatch.context() as patch, opened(disk, clock, max_bytes=1) as store:
            patch.setattr(Tiering, "apply", killed)
            with pytest.raises(KeyboardInterrupt):
                store.compact(clock.now_s)
        assert not (disk.path / "data" / f"{tier}-20231115.db").exists()
        with opened(disk, clock) as store:
            for step_s in (10, 60, 600, HOUR_S):
                assert batches(store, START_S, START_S + HOUR_S, step_s) == 50


def test_a_collector_starts_and_answers_on_a_full_disk_however_it_has_ended(
    disk: SmallDisk,
) -> None:
    with Collector(disk.path).start() as collector:
        with Sender(collector.port, collector.new_key()) as sender:
            assert sender.post(a_batch(0, {key_of(): point_of([5])}, window_s=window(0)))[0] == 202
        # The first start uses the room that was held, the second one what it left.
        for end in (collector.stop, collector.kill9):
            end()
            disk.fill()
            collector.start()
            row = collector.api.get("/services", service="shop", from_="-15m")["services"][0]
            assert row["requests"] == 1


def test_a_start_without_any_room_waits_for_it_and_blames_nothing_else(disk: SmallDisk) -> None:
    clock = Clock(START_S)
    with opened(disk, clock) as store:
        fill(store, 0, 1, START_S)
    disk.fill()
    for _ in range(2):
        with pytest.raises(NoRoomError, match="make room and try again"), opened(disk, clock):
            pass
    with ThreadPoolExecutor(1) as threads:
        begun = threads.submit(lambda: SQLiteStore(disk.path / "data", clock=clock, waits=True))
        with pytest.raises(TimeoutError):
            begun.result(0.2)
        disk.give_back()
        store = begun.result(10)
    assert batches(store, START_S, START_S + HOUR_S) == 1
    store.close()


def test_what_the_disk_refuses_for_another_reason_is_not_called_a_broken_store(tmp: Path) -> None:
    with opened(SmallDisk(tmp), Clock(START_S)):
        pass
    (tmp / "data" / "metrics.db-wal").mkdir()
    with pytest.raises(StartupError, match="not in question"):
        SQLiteStore(tmp / "data")
