"""The store in memory: what it holds is bounded, counted to the byte, and let go of in time."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from support.clock import Clock
from support.processes.servers import wait_for
from support.stores.appending import append, received
from support.stores.batches import a_batch, key_of, point_of
from support.stores.engines import NOON
from support.stores.rowbatches import batch_of, row_of
from trimtab_collector.storage.memory.engine import MemoryStore
from trimtab_collector.storage.memory.seen import SeenBatches
from trimtab_collector.storage.store import GaugeSelection, Selection, UnavailableError
from trimtab_core.batches import GaugeRow
from trimtab_core.rows import EventRow

HOUR_S = 3600


@contextmanager
def opened(clock: Clock, **limits: int) -> Iterator[MemoryStore]:
    store = MemoryStore(clock=clock, **limits)
    try:
        yield store
    finally:
        store.close()


def requests(store: MemoryStore) -> int:
    rows = store.read(Selection((NOON - 10 * HOUR_S, NOON + 10 * HOUR_S)))
    return int(rows.columns.value("requests").sum())


def test_its_helper_drops_what_is_too_old() -> None:
    clock = Clock(NOON)
    with opened(clock, keep_s=HOUR_S) as store:
        append(store, a_batch(0, window_s=NOON - HOUR_S), a_batch(1, window_s=NOON - HOUR_S + 10))
        clock.now_s += 10
        assert requests(store) == 2
        store.start()
        wait_for(lambda: requests(store) == 1, "the older window to go")


def test_a_helper_that_fails_is_told_by_health() -> None:
    def broken() -> float:
        raise OSError("no clock")

    store = MemoryStore(clock=broken)
    assert store.health().compaction == ""
    store.start()
    wait_for(lambda: "dropped: no clock" in store.health().compaction, "the failure")
    store.close()


def test_of_all_that_was_dropped_no_byte_is_left() -> None:
    clock = Clock(NOON)
    with opened(clock, keep_s=HOUR_S) as store:
        sizes = []
        for n in range(60):
            window_s = NOON + 10 * (n % 7)
            event = {"kind": "request", "at_us": window_s * 10**6}
            gauges = [GaugeRow("test", "shop", f"pod-{n}", "cpu", float(n))]
            append(
                store,
                a_batch(n, {key_of(f"/{n}"): point_of([n])}, window_s=window_s, gauges=gauges),
                batch_of(
                    1000 + n,
                    [row_of([1.0], text=str(n))],
                    window_s,
                    [EventRow("test", "shop", "host#0", event)],
                ),
            )
            sizes.append(store.health().recent_bytes)
        assert sizes == sorted(sizes)
        clock.now_s = NOON + HOUR_S + 30
        store.compact(clock.now_s)
        # Four windows are left, and of gauges those that they have.
        assert 0 < store.health().recent_bytes < sizes[-1]
        rows = store.read_gauges(GaugeSelection((NOON, NOON + HOUR_S)))
        left = {f"pod-{n}" for n in range(60) if n % 7 >= 3}
        assert {instance for *_, instance, _ in rows.groups} == left
        clock.now_s += HOUR_S
        store.compact(clock.now_s)
        assert store.health().recent_bytes == 0


def test_lives_of_agents_are_counted_and_those_silent_the_longest_are_forgotten() -> None:
    clock = Clock(NOON)
    seen = SeenBatches(20_000)
    for number in range(1_000):
        for seq in (0, 1, 5):
            batch = a_batch(seq, {}, agent=f"agent-{number}")
            assert not seen.has("k", batch)
            seen.add("k", batch, NOON)
            assert seen.has("k", batch)
    assert 20 < len(seen) < 40
    assert 15_000 < seen.size_bytes <= 20_000
    assert seen.has("k", a_batch(5, {}, agent="agent-999"))
    assert not seen.has("k", a_batch(4, {}, agent="agent-999"))
    assert not seen.has("k", a_batch(5, {}, agent="agent-0"))
    seen.forget(clock.now_s + 1)
    assert (len(seen), seen.size_bytes) == (0, 0)


def test_a_life_with_gaps_without_end_takes_a_bounded_place() -> None:
    seen = SeenBatches(1_000_000)
    for seq in range(0, 10_000, 2):
        seen.add("k", a_batch(seq, {}), NOON)
    assert seen.size_bytes < 300_000
    assert seen.has("k", a_batch(9_998, {}))
    assert not seen.has("k", a_batch(9_997, {}))


def test_what_is_remembered_of_agents_counts_for_the_bound() -> None:
    clock = Clock(NOON)
    with opened(clock, max_bytes=30_000, keep_s=HOUR_S) as store:
        number = 0
        while not store.health().trouble:
            number += 1
            append(store, a_batch(0, {}, agent=f"{number:0128}", window_s=NOON))
        with pytest.raises(UnavailableError, match="memory is full"):
            append(store, a_batch(1, {}, window_s=NOON))
        assert store.health().recent_bytes < 26_000, "windows alone are under the bound"
        # Names of agents alone never fill the store for days.
        clock.now_s += 2 * HOUR_S
        store.compact(clock.now_s)
        assert store.health().trouble == ""


def test_live_summaries_over_the_bound_push_out_the_oldest() -> None:
    clock = Clock(NOON)
    with opened(clock, max_bytes=40_000) as store:
        for second in range(60):
            clock.now_s = NOON + second + 1
            points = {key_of(f"/{n}"): point_of([n]) for n in range(20)}
            batch = a_batch(second, points, window_s=NOON + second, step_s=1, live=True)
            store.show(received(store, batch))
        rows = store.read(Selection(tuple(range(NOON, NOON + 61)), live=True))
        kept = [t - NOON for t in rows.t.tolist()]
        assert kept == list(range(60 - len(kept), 60))
        assert 1 < len(kept) < 20
