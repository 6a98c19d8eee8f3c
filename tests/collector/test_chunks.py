"""Chunks: what is put in comes out, damage is noticed, and the bytes are what the docs promise."""

import random
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab_collector.storage.columns import VALUES, Columns
from trimtab_collector.storage.merging import merge
from trimtab_collector.storage.sqlite.chunks import ChunkError, decode_chunk, encode_chunk
from trimtab_collector.storage.sqlite.tierfile import pieces
from trimtab_collector.storage.statuses import Statuses, no_statuses
from trimtab_core.sketch import BUCKETS, bucket_of

NOON = 1_700_006_400
whole = st.integers(0, 2**53)
sketches = st.dictionaries(st.integers(0, BUCKETS - 1), st.integers(1, 2**32 - 1), max_size=12)
rows = st.lists(
    st.tuples(
        st.integers(0, 2**31 - 1),
        st.integers(0, 400),
        sketches,
        st.dictionaries(st.sampled_from(VALUES), whole, max_size=6),
        st.dictionaries(st.integers(0, 599), st.integers(1, 2**32), max_size=3),
    ),
    min_size=1,
    max_size=30,
    unique_by=lambda row: row[:2],
)
#: series, window, sketch, values, requests by status code
Row = tuple[int, int, Mapping[int, int], Mapping[str, int], Mapping[int, int]]


def columns(rows: Sequence[Row], width_s: int = 10) -> Columns:
    """Return rows as columns, in order of key."""
    rows = sorted(rows, key=lambda row: row[:2])
    buckets = [sorted(row[2].items()) for row in rows]
    flat = [pair for row in buckets for pair in row]
    statuses = [sorted(row[4].items()) for row in rows]
    codes = [pair for row in statuses for pair in row]
    return Columns(
        np.array([row[0] << 32 | (NOON + row[1] * width_s) for row in rows], np.int64),
        {
            "requests": np.array([sum(row[2].values()) for row in rows], np.int64),
            **{name: np.array([row[3].get(name, 0) for row in rows], np.int64) for name in VALUES},
        },
        np.array([len(row) for row in buckets], np.int64),
        np.array([bucket for bucket, _ in flat], np.uint16),
        np.array([count for _, count in flat], np.int64),
        Statuses(
            np.array([len(row) for row in statuses], np.int64),
            np.array([code for code, _ in codes], np.uint16),
            np.array([count for _, count in codes], np.int64),
        ),
    )


def same(one: Columns, other: Columns) -> None:
    assert one.key.tolist() == other.key.tolist()
    assert one.buckets.tolist() == other.buckets.tolist()
    assert one.indexes.tolist() == other.indexes.tolist()
    assert one.counts.tolist() == other.counts.tolist()
    for name in {*one.values, *other.values}:
        assert one.value(name).tolist() == other.value(name).tolist(), name
    statuses = [each.statuses or no_statuses(len(each.key)) for each in (one, other)]
    for before, after in zip(*statuses, strict=True):
        assert before.tolist() == after.tolist()


@settings(deadline=None)
@given(rows, st.sampled_from([10, 60, 3600]))
def test_a_chunk_gives_back_what_it_was_given(given_rows: list[Row], width_s: int) -> None:
    before = columns(given_rows, width_s)
    same(decode_chunk(encode_chunk(before, width_s)), before)


@settings(deadline=None)
@given(rows, st.lists(st.integers(0, 9), min_size=400, max_size=400))
def test_pieces_are_ordered_by_route_and_add_up_to_the_whole(
    given_rows: list[Row], routes: list[int]
) -> None:
    small = [(number % 400, *rest) for number, *rest in given_rows]
    before = columns({row[:2]: row for row in small}.values())  # type: ignore[arg-type]
    found = list(pieces(before, np.array(routes), 1))
    assert [first for first, _, _ in found] == sorted(first for first, _, _ in found)
    for first, last, part in found:
        own = [routes[number] for number in (part.key >> 32).tolist()]
        assert (min(own), max(own)) == (first, last)
        same(decode_chunk(encode_chunk(part, 10)), part)
    same(merge([part for _, _, part in found]), before)


def test_every_flipped_bit_is_noticed() -> None:
    chunk = encode_chunk(columns([(7, 1, {700: 3}, {"sum_us": 9, "bytes": 5}, {404: 2})]), 10)
    for bit in range(8 * len(chunk)):
        data = bytearray(chunk)
        data[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ChunkError):
            decode_chunk(bytes(data))


@pytest.mark.parametrize("damage", [b"", b"garbage", bytes(60)])
def test_what_is_no_chunk_is_said_to_be_none(damage: bytes) -> None:
    with pytest.raises(ChunkError, match="expected a chunk"):
        decode_chunk(damage)


def test_a_chunk_without_a_point_is_not_made() -> None:
    with pytest.raises(ValueError, match="at least one point"):
        encode_chunk(merge([]), 10)


@pytest.mark.parametrize("requests", [1, 10, 100])
def test_a_minute_takes_few_bytes(requests: int) -> None:
    """The promise of docs/collector.md: 5 bytes a point and 0.8 a bucket, for usual traffic."""
    chance = random.Random(requests)
    points: list[Row] = []
    for series in range(30):
        median = chance.lognormvariate(9.9, 1.0)
        for t in range(60):
            durations = [int(median * chance.lognormvariate(0, 0.5)) for _ in range(requests)]
            sketch: dict[int, int] = {}
            for us in durations:
                sketch[bucket_of(us)] = sketch.get(bucket_of(us), 0) + 1
            sums = {"sum_us": sum(durations), "max_us": max(durations), "bytes": 1834 * requests}
            points.append((series, t, sketch, sums, {200: requests}))
    found = columns(points, 60)
    assert len(encode_chunk(found, 60)) <= 5 * len(found.key) + 0.8 * len(found.indexes)
