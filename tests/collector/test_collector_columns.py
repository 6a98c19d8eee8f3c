"""Columns: what batches say, merged in any way, read as the same quantiles to the bit."""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.stores.batches import a_batch, coded, key_of, point_of
from trimtab_collector.storage.columns import (
    Columns,
    columns_of_batch,
    quantiles_us,
)
from trimtab_collector.storage.merging import merge
from trimtab_core.batches import Batch, Column, Point, decode, encode
from trimtab_core.columns import pack_column
from trimtab_core.errors import BatchError
from trimtab_core.sketch import Sketch

WINDOW = 1_700_000_000
durations = st.lists(st.integers(0, 2**32 - 1), max_size=30)
points = st.builds(
    point_of,
    durations,
    bytes=st.integers(0, 2**40),
    ttfb_us=st.integers(0, 2**40),
    queued=st.integers(0, 10),
)


def columns(points: Sequence[Point], window_s: int = WINDOW) -> Columns:
    batch = a_batch(0, {key_of(f"/{i}"): point for i, point in enumerate(points)})
    return columns_of_batch(decode(encode(batch)), np.arange(len(points)), window_s)


def rows(columns: Columns) -> dict[int, tuple[int, int, int, dict[int, int]]]:
    """Return key -> requests, sum, max and sketch, with equal keys added."""
    answer: dict[int, tuple[int, int, int, dict[int, int]]] = {}
    names = ("requests", "sum_us", "max_us", "bytes")
    table = [columns.value(name).tolist() for name in names]
    end = 0
    for place, key in enumerate(columns.key.tolist()):
        begin, end = end, end + int(columns.buckets[place])
        buckets = dict(answer[key][3]) if key in answer else {}
        for bucket, count in zip(
            columns.indexes[begin:end].tolist(), columns.counts[begin:end].tolist(), strict=True
        ):
            buckets[bucket] = buckets.get(bucket, 0) + count
        before = answer.get(key, (0, 0, 0, {}))
        requests, total, most, _ = (int(column[place]) for column in table)
        answer[key] = (before[0] + requests, before[1] + total, max(before[2], most), buckets)
    return answer


@given(st.lists(points, max_size=8), st.lists(st.sampled_from([0, 0.5, 0.9, 0.99, 0.999, 1])))
def test_quantiles_are_those_of_the_sketch_to_the_bit(
    given_points: list[Point], wanted: list[float]
) -> None:
    answer = quantiles_us(columns(given_points), wanted)
    expected = [
        [Sketch(point.buckets, point.max_us).quantile_us(q) for q in wanted]
        for point in given_points
    ]
    assert answer.tolist() == expected


@given(
    st.dictionaries(st.integers(0, 1027), st.integers(1, 2**32 - 1), max_size=40),
    st.integers(0, 2**32 - 1),
    st.lists(st.floats(0, 1), min_size=1, max_size=9),
)
def test_quantiles_of_any_sketch_are_the_same_bits(
    buckets: dict[int, int], max_us: int, wanted: list[float]
) -> None:
    answer = quantiles_us(columns([Point(max_us=max_us, buckets=buckets)]), wanted)
    sketch = Sketch(buckets, max_us)
    assert answer.tolist() == [[sketch.quantile_us(q) for q in wanted]]


@settings(deadline=None)
@given(st.lists(st.lists(points, max_size=5), min_size=1, max_size=6), st.randoms())
def test_merging_is_adding_in_any_order_and_grouping(
    batches: list[list[Point]], random: Any
) -> None:
    parts = [columns(batch, WINDOW + 10 * (i % 2)) for i, batch in enumerate(batches)]
    together = merge(parts)
    expected: dict[int, tuple[int, int, int, dict[int, int]]] = {}
    for part in parts:
        for key, (requests, total, most, buckets) in rows(part).items():
            before = expected.get(key, (0, 0, 0, {}))
            joined = dict(before[3])
            for bucket, count in buckets.items():
                joined[bucket] = joined.get(bucket, 0) + count
            expected[key] = (
                before[0] + requests,
                before[1] + total,
                max(before[2], most),
                joined,
            )
    assert rows(together) == expected
    random.shuffle(parts)
    middle = random.randrange(len(parts) + 1)
    assert rows(merge([merge(parts[:middle]), merge(parts[middle:])])) == expected


def changed(batch: Batch, **columns: list[int]) -> Batch:
    """Return a batch with other columns, as a broken agent would send it."""
    packed = {name: pack_column(values) for name, values in columns.items()}
    return decode(
        encode(
            Batch(
                batch.agent,
                batch.boot,
                0,
                WINDOW,
                10,
                0,
                batch.series,
                batch.points,
                {**batch.columns, **packed},
            )
        )
    )


CODES = {"statuses": [1, 1], "status_codes": [200, 404], "status_counts": [1, 1]}


@pytest.mark.parametrize(
    ("columns", "word"),
    [
        ({"series": [0, 2]}, "series below 2, got 2"),
        ({"series": [0, 2**63]}, "series below 2"),
        ({"indexes": [1028, 1]}, "indexes below 1028"),
        ({"indexes": [2**63, 1]}, "indexes below 1028"),
        ({"indexes": [700, 700], "buckets": [2, 0]}, "indexes below 1028, got 1400"),
        ({"indexes": [700, 0], "buckets": [2, 0]}, "ascending order"),
        ({"counts": [1, 0]}, "at least 1"),
        ({"counts": [1, 2**40]}, "counts up to"),
        ({"sum_us": [1, 2**60]}, "sum_us up to"),
        ({"max_us": [1, 2**33]}, "max_us up to"),
        ({"errors": [0, 2]}, "as many errors as requests"),
        ({**CODES, "status_codes": [99, 200]}, "status codes of 100 to 599, or 0"),
        ({**CODES, "status_codes": [200, 600]}, "status codes of 100 to 599, or 0"),
        ({**CODES, "status_codes": [200, 2**63]}, "status codes of 100 to 599, or 0"),
        ({**CODES, "status_counts": [1, 0]}, "at least 1, got a status code with 0"),
        ({**CODES, "status_counts": [1, 2]}, "as many status codes as requests"),
        ({**CODES, "status_counts": [1, 2**63]}, "as many status codes as requests"),
        ({**CODES, "statuses": [2, 0], "status_codes": [200, 200]}, "in ascending order"),
        ({**CODES, "statuses": [2, 0], "status_codes": [404, 200]}, "in ascending order"),
    ],
)
def test_values_no_agent_sends_are_refused(columns: dict[str, list[int]], word: str) -> None:
    batch = a_batch(0, {key_of("/a"): point_of([5]), key_of("/b"): point_of([9])})
    with pytest.raises(BatchError, match=word):
        columns_of_batch(changed(batch, **columns), np.arange(2), WINDOW)


def test_codes_that_no_agent_knows_are_all_of_one_kind() -> None:
    batch = a_batch(0, {key_of("/a"): point_of([5]), key_of("/b"): point_of([9])})
    unknown = changed(batch, statuses=[1, 1], status_counts=[1, 1])
    found = columns_of_batch(unknown, np.arange(2), WINDOW).statuses
    assert found is not None
    assert found.codes.tolist() == [0, 0]


@pytest.mark.parametrize("codes", [range(200, 205), range(100, 600)])
def test_status_codes_add_up_however_many_there_are(codes: range) -> None:
    chance = random.Random(len(codes))
    parts, expected = [], Counter[int]()
    for place in range(30):
        sent = {code: chance.randrange(1, 9) for code in chance.sample(codes, 3)}
        expected.update(sent)
        point = coded(point_of([5] * sum(sent.values())), sent)
        parts.append(columns([*[point_of([7])] * place, point]))
    one = [replace(part, key=part.key * 0 + WINDOW) for part in parts]
    (whole, apart) = (merge(one).statuses, merge(parts).statuses)
    assert whole is not None
    assert apart is not None
    assert dict(zip(whole.codes.tolist(), whole.counts.tolist(), strict=True)) == expected
    assert apart.sizes.tolist() == [3] * 30


def test_durations_below_a_microsecond_survive_the_journey() -> None:
    found = columns([point_of([0, 0, 0])])
    assert found.value("requests").tolist() == [3]
    assert quantiles_us(found, [0.5]).tolist() == [[0.0]]


def test_wide_columns_are_taken_as_they_are() -> None:
    batch = a_batch(0, {key_of("/a"): point_of([5, 900]), key_of("/b"): point_of([9])})
    wide = {
        name: Column("Q", np.array(_values(column), "<u8").tobytes())
        for name, column in batch.columns.items()
    }
    broad = Batch("a", b"12345678", 0, WINDOW, 10, 0, batch.series, 2, wide)
    one = columns_of_batch(broad, np.arange(2), WINDOW)
    other = columns_of_batch(batch, np.arange(2), WINDOW)
    assert rows(merge([one, other, one])) == rows(merge([other, other, other]))


def _values(column: Column) -> list[int]:
    kinds = {"B": "u1", "H": "<u2", "I": "<u4", "Q": "<u8"}
    return [int(value) for value in np.frombuffer(column.data, kinds[column.kind])]
