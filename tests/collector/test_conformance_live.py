"""What every store must keep to now: live summaries, and which windows have arrived."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from support.clock import Clock
from support.stores.appending import append, received
from support.stores.batches import a_batch, accounting_of, key_of, point_of
from support.stores.engines import NOON, Engine, Pair
from trimtab_collector.storage.store import Selection, Store
from trimtab_core.batches import Batch

DAY_S = 86_400


def live(seq: int, second: int, route: str = "/", requests: int = 1) -> Batch:
    """Return the summary of one second, counted from noon."""
    points = {key_of(route): point_of([1_000] * requests)}
    process = accounting_of([(seq, requests)], seq + requests)
    return a_batch(seq, points, window_s=NOON + second, step_s=1, live=True, processes=[process])


def show(store: Store, *batches: Batch) -> None:
    for batch in batches:
        store.show(received(store, batch))


def seconds(store: Store, *edges: int, route: str | None = None) -> dict[int, int]:
    """Return the live requests of each second or step, counted from noon."""
    where = {} if route is None else {"route": route}
    rows = store.read(Selection(tuple(NOON + edge for edge in edges), (), where, live=True))
    assert rows.resolution_s == 1
    counts = rows.columns.value("requests").tolist()
    return {t - NOON: count for t, count in zip(rows.t.tolist(), counts, strict=True)}


def stored(store: Store) -> int:
    rows = store.read(Selection((NOON - DAY_S, NOON + DAY_S)))
    return int(rows.columns.value("requests").sum())


# ---------------------------------------------------------------- live


def test_a_live_summary_is_readable_at_once_by_the_second_and_not_stored(pair: Pair) -> None:
    store = pair.engine.store
    show(store, live(0, -2), live(1, -1, "/a", 3), live(2, -1, "/b"))
    assert seconds(store, -3, -2, -1, 0) == {-2: 1, -1: 4}
    assert seconds(store, -3, 0, route="/a") == {-3: 3}
    assert seconds(store, -30, -2) == {}
    assert stored(store) == 0
    assert store.accounting() == []
    assert store.health().batches == 0


def test_what_is_stored_is_not_live(pair: Pair) -> None:
    store = pair.engine.store
    append(store, a_batch(0, window_s=NOON - 10))
    assert seconds(store, -60, 60) == {}
    assert stored(store) == 1


def test_a_repeat_of_a_live_summary_adds_nothing_and_its_batch_may_still_come(pair: Pair) -> None:
    store = pair.engine.store
    show(store, live(0, -1), live(0, -1), live(1, -1))
    assert seconds(store, -1, 0) == {-1: 2}
    assert append(store, a_batch(0, window_s=NOON - 10)) == [False]
    assert stored(store) == 1


def test_live_summaries_are_let_go_after_two_minutes(pair: Pair) -> None:
    store = pair.engine.store
    show(store, live(0, -1), live(1, -400))
    assert seconds(store, -500, 0) == {-500: 1}
    pair.clock.now_s += 100
    show(store, live(2, 99))
    assert seconds(store, -1, 0, 100) == {-1: 1, 0: 1}
    pair.clock.now_s += 60
    assert seconds(store, -1, 0, 100) == {0: 1}
    assert store.arrived(NOON - 500, NOON + 500, 1000, live=True) == (NOON + 99, NOON + 100)
    pair.clock.now_s += 600
    assert seconds(store, -500, 500) == {}
    assert store.arrived(NOON - 500, NOON + 500, 1000, live=True) is None


def test_live_summaries_may_bring_names_that_nothing_stored_has(pair: Pair) -> None:
    store = pair.engine.store
    show(store, live(0, -1, "/only/live"))
    append(store, a_batch(1, window_s=NOON - 10))
    rows = store.read(Selection((NOON - 10, NOON), ("route",)))
    assert [rows.groups[group] for group in rows.group.tolist()] == [("/",)]


# ---------------------------------------------------------------- what has arrived


@pytest.mark.parametrize(
    ("start", "end", "gap_s", "expected"),
    [
        (-600, 0, 0, (-20, 0)),
        (-600, 0, 10, (-50, 0)),
        (-600, 0, 100, (-50, 0)),
        (-600, 0, 150, (-210, 0)),
        (-600, -10, 0, (-20, -10)),
        (-600, -20, 0, (-50, -30)),
        (-600, -40, 0, (-50, -40)),
        (-45, 0, 60, (-40, 0)),
        (-190, -60, 60, None),
        (0, 600, 60, None),
    ],
)
def test_the_latest_run_of_windows_has_no_hole_wider_than_a_gap(
    pair: Pair, start: int, end: int, gap_s: int, expected: tuple[int, int] | None
) -> None:
    store = pair.engine.store
    for seq, window in enumerate((-40, -10, -50, -210, -20, -200)):
        append(store, a_batch(seq, window_s=NOON + window))
    # One without a point has arrived as well.
    append(store, a_batch(99, {}, window_s=NOON - 20))
    found = store.arrived(NOON + start, NOON + end, gap_s)
    assert found == (expected and (NOON + expected[0], NOON + expected[1]))
    assert store.arrived(NOON + start, NOON + end, gap_s, live=True) is None


def test_live_summaries_arrive_by_the_second(pair: Pair) -> None:
    store = pair.engine.store
    show(store, live(0, -9), live(1, -5), live(2, -4), live(3, -2))
    assert store.arrived(NOON - 60, NOON, 0, live=True) == (NOON - 2, NOON - 1)
    assert store.arrived(NOON - 60, NOON, 1, live=True) == (NOON - 5, NOON - 1)
    assert store.arrived(NOON - 60, NOON, 3, live=True) == (NOON - 9, NOON - 1)
    assert store.arrived(NOON - 60, NOON, 60) is None


# ---------------------------------------------------------------- helpers


def test_helpers_work_beside_commits_and_end_with_the_store(
    make: Callable[[], Engine], tmp: Path
) -> None:
    engine = make()
    engine.open(tmp, Clock(NOON))
    try:
        store = engine.store
        store.start()
        sent = [a_batch(n, window_s=NOON - 10 * n) for n in range(20)]
        assert append(store, *sent) == [False] * 20
        assert stored(store) == 20
    finally:
        engine.close()
    running = {thread.name for thread in threading.enumerate()}
    assert not any(name.startswith("trimtab-") for name in running)
