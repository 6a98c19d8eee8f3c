"""The sketch keeps its bound and its laws, checked against the definition on whole numbers."""

from fractions import Fraction
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab_core.sketch import BUCKET_OFFSET, BUCKETS, UPPER_US, Sketch, bucket_of, middle_us

MOST = 2**32 - 1
DURATIONS = st.one_of(
    st.integers(0, MOST),
    st.integers(0, 5000),
    # At both sides of a boundary, where an error would be.
    st.builds(
        lambda bucket, step: min(MOST, max(0, UPPER_US[bucket] + step)),
        st.integers(1, BUCKETS - 1),
        st.sampled_from((-1, 0, 1)),
    ),
)
BOUND = Fraction(11, 1000)


def _holds(bucket: int, us: int) -> bool:
    """Tell whether 2**(i/32) < us/10**6 <= 2**((i+1)/32), on integers alone."""
    index = bucket - BUCKET_OFFSET
    value = Fraction(us, 10**6) ** 32
    return Fraction(2) ** index < value <= Fraction(2) ** (index + 1)


@given(DURATIONS.filter(bool))
def test_a_duration_is_in_the_bucket_of_the_definition(us: int) -> None:
    bucket = bucket_of(us)
    assert 0 < bucket < BUCKETS
    assert _holds(bucket, us)


def test_every_boundary_is_the_exact_one() -> None:
    for bucket in range(1, BUCKETS):
        upper = UPPER_US[bucket]
        limit = Fraction(2) ** (bucket - BUCKET_OFFSET + 1)
        assert Fraction(upper, 10**6) ** 32 <= limit < Fraction(upper + 1, 10**6) ** 32


def test_zero_has_the_zero_bucket_and_the_ends_are_where_the_words_say() -> None:
    assert (bucket_of(0), bucket_of(1), bucket_of(MOST)) == (0, 2, 1026)


@given(st.integers(1, MOST))
def test_a_bucket_stands_for_its_members_to_eleven_in_a_thousand(us: int) -> None:
    error = abs(Fraction(middle_us(bucket_of(us))) - us) / us
    assert error <= BOUND


@given(st.lists(DURATIONS, min_size=1, max_size=200), st.floats(0, 1))
def test_a_quantile_is_the_nearest_rank_within_the_bound(values: list[int], q: float) -> None:
    true = sorted(values)[max(1, ceil(q * len(values))) - 1]
    got = Sketch.of(values).quantile_us(q)
    assert abs(Fraction(got) - true) <= BOUND * true
    assert got <= max(values)


@given(st.lists(DURATIONS, min_size=1))
def test_the_last_quantile_is_the_largest_value_itself(values: list[int]) -> None:
    assert Sketch.of(values).quantile_us(1) == max(values)


@given(
    st.lists(st.lists(DURATIONS, max_size=30), max_size=6).flatmap(
        lambda parts: st.tuples(st.just(parts), st.permutations(parts))
    )
)
def test_merging_is_the_same_in_any_order_bit_for_bit(
    orders: tuple[list[list[int]], list[list[int]]],
) -> None:
    parts, shuffled = orders
    left = Sketch()
    for part in parts:
        left.merge(Sketch.of(part))
    right = Sketch()
    for part in reversed(shuffled):
        # Grouped the other way round: part + (what came later).
        grouped = Sketch.of(part)
        grouped.merge(right)
        right = grouped
    assert left == right == Sketch.of(value for part in parts for value in part)
    assert left.count == sum(map(len, parts))


@given(st.lists(DURATIONS, max_size=100), st.integers(-2, 5))
def test_a_coarser_scale_counts_what_its_own_buckets_hold(values: list[int], scale: int) -> None:
    buckets = Sketch.of(values).downscaled(scale)
    assert sum(buckets.values()) == sum(value > 0 for value in values)
    for index in buckets:
        # Boundaries of the coarse scale are boundaries of the fine one, so the buckets say it all.
        first, last = index << (5 - scale), ((index + 1) << (5 - scale)) - 1
        inside = [v for v in values if v and first <= bucket_of(v) - BUCKET_OFFSET <= last]
        assert buckets[index] == len(inside)


def test_a_finer_scale_is_refused() -> None:
    with pytest.raises(ValueError, match="finer 6"):
        Sketch.of([1]).downscaled(6)


@pytest.mark.parametrize("q", [-0.01, 1.01, float("nan")])
def test_a_quantile_outside_its_range_is_refused(q: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        Sketch.of([1]).quantile_us(q)


def test_an_empty_sketch_answers_zero() -> None:
    assert (Sketch().count, Sketch().quantile_us(0.99), Sketch().downscaled(0)) == (0, 0.0, {})


@given(st.lists(DURATIONS, max_size=50))
def test_adding_one_by_one_is_the_same_as_all_at_once(values: list[int]) -> None:
    sketch = Sketch()
    for value in values:
        sketch.add(value)
    assert sketch == Sketch.of(values)
