"""The compaction worker: a process that may end at any moment, and a collector that goes on."""

import os
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from support.clock import Clock
from support.processes.servers import wait_for
from support.stores.appending import append
from support.stores.batches import a_batch, key_of, point_of
from support.stores.engines import Pair, Sent, SQLiteEngine
from trimtab_collector.storage.sqlite.compactor import Compactor, locked
from trimtab_collector.storage.sqlite.engine import SQLiteStore
from trimtab_collector.storage.sqlite.supervisor import Supervisor
from trimtab_collector.storage.sqlite.tiers import Retention
from trimtab_collector.storage.sqlite.worker import Setup
from trimtab_collector.storage.store import Selection

HOUR_S = 3600
#: a full hour long ago, so that all of it is due
START_S = 1_700_006_400
NOW_S = START_S + 10 * HOUR_S


@contextmanager
def supervised(directory: Path, store: SQLiteStore, now_s: float = NOW_S) -> Iterator[Supervisor]:
    # The clock is the store's: batches of these tests lie in the past for good.
    supervisor = Supervisor(
        store.tiering, Setup(str(directory), 200_000, "info"), clock=Clock(now_s)
    )
    supervisor.start()
    try:
        yield supervisor
    finally:
        supervisor.stop()


def fill(store: SQLiteStore, first: int, count: int) -> None:
    """Append batches of three requests each, twelve windows of an hour after another."""

    batches = [
        a_batch(
            seq,
            {key_of(f"/{seq % 7}"): point_of([seq, 2 * seq, 50_000])},
            window_s=START_S + seq % 24 * 300,
        )
        for seq in range(first, first + count)
    ]
    assert not any(append(store, *batches))


def counted(store: SQLiteStore) -> int:
    rows = store.read(Selection((START_S, START_S + 2 * HOUR_S)))
    return int(rows.columns.value("requests").sum())


def fewer(store: SQLiteStore, batches: int) -> bool:
    return store.health().journal_batches < batches


def worker(store: SQLiteStore) -> int:
    """Return the worker's process id, waiting for it to be there."""
    pid = wait_for(lambda: store.health().worker, "a worker", 20)
    assert pid is not None
    return pid


def merged(store: SQLiteStore) -> bool:
    return store.health().journal_batches == 0


def test_what_is_due_is_merged_by_a_process_of_its_own(tmp: Path) -> None:
    store = SQLiteStore(tmp, clock=Clock(NOW_S))
    try:
        fill(store, 0, 600)
        before = counted(store)
        with supervised(tmp, store):
            wait_for(lambda: merged(store), "an empty journal", 30)
            assert store.health().worker not in (None, os.getpid())
            assert counted(store) == before == 1800
            assert not store.health().compaction
    finally:
        store.close()


def test_a_worker_that_is_killed_over_and_over_loses_and_doubles_nothing(tmp: Path) -> None:
    store = SQLiteStore(tmp, clock=Clock(NOW_S))
    try:
        with supervised(tmp, store) as supervisor:
            for turn in range(8):
                fill(store, turn * 400, 400)
                supervisor.wake()
                # Somewhere between its first slice and its last.
                wait_for(partial(fewer, store, store.health().journal_batches), "a slice", 20)
                os.kill(worker(store), signal.SIGKILL)
                assert counted(store) == (turn + 1) * 1200

            def merged_when_asked() -> bool:
                # After a worker that failed comes a pause, up to a minute after several.
                supervisor.wake()
                return merged(store)

            wait_for(merged_when_asked, "an empty journal", 60)
            assert counted(store) == 8 * 1200
    finally:
        store.close()


def test_a_worker_that_stands_still_does_not_hold_up_readers(tmp: Path) -> None:
    store = SQLiteStore(tmp, clock=Clock(NOW_S))
    try:
        with supervised(tmp, store) as supervisor:
            fill(store, 0, 300)
            supervisor.wake()
            wait_for(lambda: merged(store), "an empty journal", 30)
            pid = worker(store)
            os.kill(pid, signal.SIGSTOP)
            fill(store, 300, 300)
            supervisor.wake()
            assert counted(store) == 1800
            # On a busy machine it has been taken for dead by now, and replaced.
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
            wait_for(lambda: merged(store), "an empty journal", 30)
            assert counted(store) == 1800
    finally:
        store.close()


def test_a_read_between_a_commit_and_its_release_counts_once(
    tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory begins inside an hour of which only the widest windows are still kept."""
    hour_s = START_S
    points = {key_of(): point_of([2_000])}
    pair = Pair(SQLiteEngine, tmp, hour_s + 1800)
    try:
        pair.send([Sent(a_batch(0, points, window_s=hour_s - 3600), points)])
        pair.engine.settle()
        pair.send([Sent(a_batch(1, points, window_s=hour_s + 1500), points)])
        pair.clock.now_s += 13 * 24 * HOUR_S
        store: Any = pair.engine.store
        release, seen = store.tiering.release, []

        def looked(cutoff_s: int) -> None:
            seen.append(pair.compare(Selection((hour_s - 7200, hour_s + 7200))))
            release(cutoff_s)

        monkeypatch.setattr(store.tiering, "release", looked)
        pair.engine.settle()
        assert seen
    finally:
        pair.engine.close()


def test_what_is_kept_can_change_while_the_worker_runs(tmp: Path) -> None:
    # Two days later: what is kept for 48 hours holds that day in full.
    now_s = NOW_S + 48 * HOUR_S
    store = SQLiteStore(tmp, clock=Clock(now_s))
    try:
        with supervised(tmp, store, now_s) as supervisor:
            fill(store, 0, 400)
            supervisor.wake()
            wait_for(lambda: merged(store), "an empty journal", 30)
            pid = worker(store)
            files = set(tmp.glob("10s-*.db"))
            assert files
            # Shorter: the day that is over is read from the next tier, and its file goes.
            store.keep(Retention(fine_s=HOUR_S), max_bytes=0)
            supervisor.wake()
            wait_for(lambda: not files & set(tmp.glob("10s-*.db")), "the file to go", 20)
            assert worker(store) == pid
            assert counted(store) == 1200
        floor_s = store.tiering.floors()["1h"]
        store.keep(Retention(coarse_s=800 * 24 * HOUR_S), max_bytes=0)
        assert store.tiering.floors()["1h"] < floor_s
    finally:
        store.close()


def test_what_one_file_cannot_do_ends_neither_the_worker_nor_the_rest(tmp: Path) -> None:
    """A file whose series have lost numbers is put aside; the next hour is merged."""
    clock = Clock(NOW_S)
    store = SQLiteStore(tmp, clock=clock)
    fill(store, 0, 48)
    store.compact(clock.now_s)
    # Each file of an hour has a set of chunks more than it needs, and the journal is empty.
    fill(store, 48, 48)
    with locked(tmp, 10):
        for step, commit in Compactor(tmp, 200_000).steps(
            clock.now_s, store.tiering.cutoff_s(clock.now_s), store.tiering.floors()
        ):
            if step.what != "merge":
                break
            commit()
            store.tiering.apply(step)
    store.close()
    broken = sorted(tmp.glob("10s-*.db"))[0]
    with closing(sqlite3.connect(broken)) as file:
        file.execute("DELETE FROM series WHERE id = 2")
        file.commit()
    store = SQLiteStore(tmp, clock=clock)
    try:
        assert store.health().journal_batches == 0
        with supervised(tmp, store) as supervisor:
            pid = worker(store)
            wait_for(lambda: store.health().damage, "a file put aside", 20)
            assert broken.name in " ".join(store.health().damage)
            fill(store, 96, 24)
            supervisor.wake()
            wait_for(lambda: merged(store), "an empty journal", 30)
            assert worker(store) == pid
            assert not store.health().compaction
    finally:
        store.close()
