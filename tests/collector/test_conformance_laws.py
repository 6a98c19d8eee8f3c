"""What every store must keep to, law by law: once each, gaps, percentiles, sums, order, readers.

Each law is tried at every age of the data: in memory, unmerged, and in tiers ever wider.
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.laws import DEPTH
from support.processes.servers import short_dir
from support.stores.batches import a_batch, accounting_of, key_of, point_of
from support.stores.engines import ENGINES, NOON, Engine, Pair, Sent, ask
from support.stores.oracle import Answer, Row
from support.stores.randomcases import DAY_S, LATE_S, STARTS, a_selection, a_sent
from trimtab_collector.storage.store import Selection
from trimtab_core.batches import Point, SeriesKey

#: the hour in which Europe's clocks go back at 01:00
AUTUMN = 1_729_990_800


def sent(
    seq: int,
    window_s: int,
    points: dict[SeriesKey, Point] | None = None,
    *,
    step_s: int = 10,
    held: int = 0,
    agent: str = "agent-1",
    ranges: Sequence[tuple[int, int]] = (),
) -> Sent:
    points = {key_of(): point_of([2_000])} if points is None else points
    processes = [accounting_of(ranges, 100, {"full": seq})] if ranges else []
    batch = a_batch(seq, points, window_s=window_s, step_s=step_s, agent=agent, processes=processes)
    return Sent(batch, points, held)


def at_every_age(pair: Pair) -> Iterator[str]:
    """Yield once for each state that data goes through: memory, journal, each tier, reopened."""
    yield "new"
    pair.reopen()
    yield "reopened"
    for tier, name in zip(pair.engine.tiers, ("finest", "wider", "widest"), strict=False):
        pair.clock.now_s += 3 * 3600
        yield f"unmerged, {name}"
        pair.engine.settle()
        yield f"settled, {name}"
        pair.reopen()
        yield f"reopened, {name}"
        pair.clock.now_s = max(pair.clock.now_s, NOON + tier.kept_s)
    pair.engine.settle()


def steps(start_s: int, end_s: int, step_s: int, *group_by: str, **where: str) -> Selection:
    return Selection((*range(start_s, end_s, step_s), end_s), group_by, where)


def test_a_batch_counts_once_however_often_and_whenever_it_comes(pair: Pair) -> None:
    batches = [sent(n, NOON - 10 - 600 * (n % 9), ranges=[(n, 1)]) for n in range(40)]
    batches += [sent(3, NOON - 10, agent="agent-2")]
    pair.send(batches)
    for _ in at_every_age(pair):
        if pair.now_s <= NOON - 6_000 + LATE_S:
            pair.send(batches)
        pair.compare()
        pair.compare_accounting()


def test_gaps_stay_gaps(pair: Pair) -> None:
    busy = (NOON - 7200, NOON - 7190, NOON - 3660, NOON - 10)
    pair.send([sent(n, t) for n, t in enumerate(busy)])
    # Background work alone is something, though nobody asked for it.
    pair.send([sent(9, NOON - 5000, {key_of(): Point(backgrounds=1, background_us=5)})])
    for age in at_every_age(pair):
        for step_s in (10, 60, 600, 3600):
            found = pair.compare(steps(NOON - 10_800, NOON + 3600, step_s, "service"))
            if age in ("new", "settled, finest") or step_s == 3600:
                expected = {t - t % step_s for t in (*busy, NOON - 5000)}
                assert {t for _, t in found.rows} == expected


def test_percentiles_are_those_of_all_requests_of_a_group_and_step(pair: Pair) -> None:
    random = Random(1)
    for n in range(30):
        points = {
            key_of(route, instance=instance): point_of(
                [int(random.lognormvariate(9, 1.5)) for _ in range(random.randrange(40))]
            )
            for route in ("/a", "/b")
            for instance in ("host#0", "host#1")
        }
        pair.send([sent(n, NOON - 10 - 130 * n, points)])
    for _ in at_every_age(pair):
        for step_s in (60, 3600, 7200):
            for group_by in ((), ("route",), ("instance",), ("route", "instance"), ("service",)):
                pair.compare(steps(NOON - 7200, NOON, step_s, *group_by))


@pytest.mark.parametrize("value", [2**53, 2**53 - 1])
def test_sums_of_the_largest_values_are_exact(pair: Pair, value: int) -> None:
    points = {key_of(f"/{n}"): Point(bytes=1, db_us=value if n < 3 else 0) for n in range(1200)}
    points[key_of("/0")] = Point(
        sum_us=value, bytes=value, max_us=2**32 - 1, buckets={1027: 2**32 - 1, 0: 1}
    )
    for n in range(4):
        pair.send([sent(n, NOON - 10 - 10 * n, points)])
    for _ in at_every_age(pair):
        for group_by in ((), ("route",), ("instance",)):
            pair.compare(steps(NOON - 3600, NOON, 3600, *group_by))


def test_a_batch_of_a_long_step_is_booked_where_it_starts(pair: Pair) -> None:
    longer = [sent(n, NOON - 7200, step_s=step_s) for n, step_s in enumerate((60, 600, 3600))]
    pair.send([*longer, sent(9, NOON - 3605, step_s=1)])
    for _ in at_every_age(pair):
        found = pair.compare(steps(NOON - 7200, NOON, 3600))
        assert {t: row.sketch.count for (_, t), row in found.rows.items()} == {NOON - 7200: 4}


def test_days_on_which_clocks_change_have_23_and_25_hours(
    make: Callable[[], Engine], tmp: Path
) -> None:
    pair = Pair(make, tmp, AUTUMN + DAY_S)
    try:
        # Local midnights around the day of 25 hours.
        edges_s = (AUTUMN - 3 * 3600 - DAY_S, AUTUMN - 3 * 3600, AUTUMN + 22 * 3600)
        windows = [t + d for t in edges_s for d in (-10, 0, 10)]
        pair.send([sent(n, t) for n, t in enumerate(windows)])
        for seconds in (0, 3 * 3600, 4 * DAY_S, 15 * DAY_S):
            pair.clock.now_s += seconds
            pair.engine.settle()
            found = pair.compare(Selection(edges_s))
            assert [row.sketch.count for row in found.rows.values()] == [3, 3]
    finally:
        pair.engine.close()


def test_late_data_joins_what_is_there_and_what_has_gone(pair: Pair) -> None:
    for n, age_s in enumerate((10, 3610, DAY_S, 2 * DAY_S, 3 * DAY_S, LATE_S, 10, 3610, LATE_S)):
        pair.send([sent(n, pair.now_s - age_s - (pair.now_s - age_s) % 10 + 10)])
        pair.clock.now_s += 5 * 3600
        pair.engine.settle()
        pair.compare()
        pair.compare(steps(NOON - 10 * DAY_S, NOON + 2 * DAY_S, 3600))


def test_a_full_hour_is_merged_in_many_pieces_and_none_is_lost(pair: Pair) -> None:
    batches = [sent(n, NOON - 10 - 10 * (n % 400), agent=f"agent-{n % 7}") for n in range(2_500)]
    for begin in range(0, 2_500, 250):
        pair.send(batches[begin : begin + 250])
    for _ in at_every_age(pair):
        pair.compare()
        pair.compare(steps(NOON - 7200, NOON, 60))


def test_what_is_read_while_it_settles_is_the_same_before_and_after(pair: Pair) -> None:
    # Whole hours of what every tier still has: the answer may not change by a bit.
    end_s = pair.now_s + 3600
    asked = [
        steps(end_s - 40 * 3600, end_s, 3600, *group_by) for group_by in ((), SeriesKey._fields)
    ]
    for turn in range(8):
        hours = [NOON - 3600 * n - 10 for n in range(8)]
        pair.send([sent(100 * turn + n, t) for n, t in enumerate(hours)])
        pair.clock.now_s += 1200
        before = [pair.compare(selection).rows for selection in asked]
        settled = threading.Event()

        def reader(
            place: int,
            settled: threading.Event = settled,
            before: Sequence[Mapping[tuple[tuple[str, ...], int], Row]] = before,
        ) -> int:
            reads = 0
            while not settled.is_set() or not reads:
                assert ask(pair.engine, asked[place]).rows == before[place]
                reads += 1
            return reads

        with ThreadPoolExecutor(len(asked)) as threads:
            readers = [threads.submit(reader, place) for place in range(len(asked))]
            try:
                pair.engine.settle()
            finally:
                settled.set()
            assert all(each.result() for each in readers)
        assert [pair.compare(selection).rows for selection in asked] == before
    pair.compare_accounting()


def test_accounting_holds_whatever_arrives_late_or_never(pair: Pair) -> None:
    for n, ranges in enumerate(([(0, 10)], [(20, 10)], [(5, 10)], [(90, 20), (40, 1)], [(10, 30)])):
        pair.send([sent(n, NOON - 10 - n, step_s=1, ranges=ranges, held=5 if n == 2 else 30)])
        pair.compare_accounting()
    for _ in at_every_age(pair):
        pair.compare_accounting()


@settings(
    max_examples=6 * DEPTH,
    suppress_health_check=list(HealthCheck),
)
@given(
    st.integers(0, 2**32),
    st.integers(1, 40),
    st.sampled_from(STARTS),
    st.lists(st.sampled_from(("settle", "reopen", "an hour", "nothing")), max_size=6),
)
@pytest.mark.parametrize("engine", list(ENGINES.values()), ids=list(ENGINES))
def test_the_order_in_which_batches_arrive_changes_no_answer(
    engine: Callable[[], Engine], seed: int, count: int, start_s: int, between: list[str]
) -> None:
    made = [a_sent(seed + place, start_s, [], 10_000) for place in range(count)]
    batches = list(
        {(each.batch.agent, each.batch.boot, each.batch.seq): each for each in made}.values()
    )
    asked = [a_selection(seed + place, start_s, []) for place in range(10)]
    answers: list[list[Answer]] = []
    for order in range(2):
        with short_dir() as directory:
            pair = Pair(engine, directory, start_s, roomy=order == 0)
            try:
                arriving = list(batches)
                if order:
                    Random(seed).shuffle(arriving)
                for place, what in enumerate([*between, "nothing"] if order else ["nothing"]):
                    share = len(between) + 1 if order else 1
                    pair.send(arriving[place::share])
                    pair.clock.now_s += 3600 if what == "an hour" else 0
                    if what == "settle":
                        pair.engine.settle()
                    elif what == "reopen":
                        pair.reopen()
                pair.clock.now_s = start_s + DAY_S
                pair.engine.settle()
                answers.append([pair.compare(selection) for selection in asked])
                pair.compare_accounting()
            finally:
                pair.engine.close()
    assert answers[0] == answers[1]
