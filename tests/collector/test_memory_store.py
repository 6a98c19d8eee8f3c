"""The store in memory: what it holds is bounded, counted to the byte, and let go of in time."""

from collections.abc import Iterator
from contextlib import contextmanager

from support.clock import Clock
from support.processes.servers import wait_for
from support.stores.appending import append, received
from support.stores.batches import a_batch, key_of, point_of
from support.stores.engines import NOON
from support.stores.rowbatches import batch_of, row_of
from trimtab_collector.storage.memory.engine import MemoryStore
from trimtab_collector.storage.store import GaugeSelection, Selection
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
