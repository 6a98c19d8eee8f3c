"""Batches that repeat a series or a measure: what they add is exact, what they cost is bounded."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.processes.servers import Collector
from support.stores.appending import append
from support.stores.batches import Sender, a_batch, coded, key_of, point_of, window
from support.stores.rowbatches import batch_of, delta_of, row_of
from trimtab_collector.storage.columns import columns_of_batch
from trimtab_collector.storage.distinct import DistinctSeries
from trimtab_collector.storage.merging import merge
from trimtab_collector.storage.sqlite.engine import SQLiteStore
from trimtab_collector.storage.store import MeasureSelection
from trimtab_core.batches import (
    MAX_BATCH,
    Batch,
    Point,
    SeriesKey,
    columns_of,
    decode,
    decode_series,
    encode,
    pack_series,
)
from trimtab_core.columns import MAX_VALUE
from trimtab_core.errors import BatchError

NOON = 1_700_006_400
ROUTES = [key_of(route=f"/{n}") for n in range(4)]


def batch_with(series: Sequence[SeriesKey], points: Sequence[tuple[int, Point]]) -> Batch:
    """Return a batch with any places of series in its points."""
    return replace(
        a_batch(1, window_s=NOON),
        series=pack_series(series),
        points=len(points),
        columns=columns_of(points),
    )


def summed(batch: Batch) -> dict[SeriesKey, object]:
    """Return what a batch adds to each series, as any reader would add it up."""
    rows = decode_series(batch.series)
    numbers = {key: n for n, key in enumerate(dict.fromkeys(rows))}
    ids = np.array([numbers[key] for key in rows])
    points = merge([columns_of_batch(decode(encode(batch)), ids, NOON)])
    ends = np.cumsum(points.buckets).tolist()
    codes = points.statuses
    found: dict[SeriesKey, object] = {}
    for place, number in enumerate((points.key >> 32).tolist()):
        begin, end = ends[place] - int(points.buckets[place]), ends[place]
        found[list(numbers)[number]] = (
            {name: int(some[place]) for name, some in points.values.items() if some[place]},
            points.indexes[begin:end].tolist(),
            points.counts[begin:end].tolist(),
            None if codes is None else codes.part(place, place + 1).counts.tolist(),
        )
    return found


a_point = st.builds(
    lambda durations, errors, bytes_: coded(
        point_of(durations, min(errors, len(durations)), bytes=bytes_),
        {200: len(durations)} if durations else {},
    ),
    st.lists(st.integers(0, 10**7), max_size=4),
    st.integers(0, 2),
    st.sampled_from([0, 1, 70_000, 2**40]),
)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.sampled_from(ROUTES), min_size=1, max_size=6),
    st.lists(st.tuples(st.integers(0, 5), a_point), min_size=1, max_size=12),
)
def test_points_of_a_series_that_is_repeated_are_one_and_nothing_is_lost(
    series: list[SeriesKey], given_points: list[tuple[int, Point]]
) -> None:
    batch = batch_with(series, [(place % len(series), point) for place, point in given_points])
    found = DistinctSeries().once(batch)
    assert summed(found) == summed(batch)
    used = {series[place % len(series)] for place, _ in given_points}
    assert found.points == len(used)
    assert DistinctSeries().once(found) is found


def test_a_batch_whose_series_differ_stays_the_object_that_it_was() -> None:
    distinct = DistinctSeries()
    for points in ([(0, point_of([5])), (2, point_of([7]))], [(2, Point()), (0, point_of([5]))]):
        batch = batch_with(ROUTES, points)
        assert distinct.once(batch) is batch
        assert distinct.once(batch) is batch
    # As many rows as before, one of them repeated by the points alone.
    again = batch_with(ROUTES, [(2, point_of([5])), (2, point_of([7]))])
    assert distinct.once(again).points == 1


def test_points_that_add_up_to_more_than_a_point_holds_are_refused() -> None:
    most = point_of([5], bytes=MAX_VALUE)
    found = DistinctSeries().once(batch_with(ROUTES, [(0, most), (0, most)]))
    with pytest.raises(BatchError, match="expected bytes up to"):
        columns_of_batch(found, np.arange(4), NOON)


def test_a_batch_that_repeats_a_series_takes_the_memory_of_one_point(
    collector: Collector, sender: Sender
) -> None:
    full = Point(sum_us=10, max_us=10, buckets=dict.fromkeys(range(640), 1))
    for seq, (series, points) in enumerate(
        (
            ([key_of()] * 1500, [(place, full) for place in range(1500)]),
            ([key_of()], [(0, full)] * 1500),
        )
    ):
        batch = replace(batch_with(series, points), seq=seq, window_s=window(seq + 1))
        assert len(encode(batch)) < MAX_BATCH // 1000
        assert sender.post(batch) == (202, {"duplicate": False, "watchSeconds": 0.0})
        assert sender.post(batch)[1]["duplicate"]
    health = collector.api.get("/health")["store"]
    assert health["recentBytes"] < 100_000
    (service,) = collector.api.get("/services", from_="-5m")["services"]
    assert service["requests"] == 2 * 1500 * 640


def test_a_measure_that_batches_repeat_is_one_row_of_what_they_add(tmp: Path) -> None:
    rows = [row_of([1.0, n]) for n in range(500)] + [row_of([2.0], text="b")]
    store = SQLiteStore(tmp / "c", clock=lambda: NOON + 60)
    try:
        append(store, *(batch_of(seq, rows, NOON) for seq in range(3)))
        (count,) = store._writer.execute("SELECT count(*) FROM amount").fetchone()
        # One each, in each transaction; the three batches may be in several.
        assert count <= 6
        parts = store.read_measures(MeasureSelection((NOON, NOON + 10), ("work",)))
        found = {part.key.attributes[0][1]: part.delta for part in parts}
    finally:
        store.close()
    assert found["b"].count == 3
    assert found["a"] == delta_of([each for n in range(500) for each in (1.0, float(n))] * 3)
