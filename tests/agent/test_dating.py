"""What was added over a span of time is shared among its windows: evenly, and to the last value."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from trimtab_agent.dating import ages_of, moment_of, moments_of, share
from trimtab_core.deltas import Events
from trimtab_core.measures import COUNTER, HISTOGRAM, Delta, value_buckets

AT_S = 1_700_006_400.0


def starts(end_s: float, span_s: float, window_s: int) -> list[int]:
    return [int(at) // window_s * window_s for at in moments_of(end_s, span_s, window_s)]


def test_a_span_of_a_window_is_that_window_even_if_its_ends_are_a_little_off() -> None:
    for begin_s, end_s in ((0, 10), (0.2, 9.9), (-0.2, 10.2), (0, 1), (9, 10), (4, 4)):
        assert starts(AT_S + end_s, end_s - begin_s, 10) == [AT_S]


def test_a_longer_span_is_shared_among_all_its_windows_and_a_long_one_among_minutes() -> None:
    assert starts(AT_S + 60, 60, 10) == [AT_S + 10 * n for n in range(6)]
    assert starts(AT_S + 10, 10, 1) == [AT_S + n for n in range(10)]
    assert starts(AT_S + 3600, 3600, 10) == [AT_S + 60 * n for n in range(60)]
    assert starts(AT_S + 10, 10, 300) == [AT_S // 300 * 300]
    assert starts(0.0, 1e9, 10) == [0] * 60


def shares(delta: Delta, parts: int) -> list[Delta | None]:
    return [share(delta, parts, index) for index in range(parts)]


def added(delta: Delta | None) -> Delta:
    return Delta() if delta is None else delta


@given(
    st.lists(st.floats(1e-6, 1e6) | st.integers(0, 1000).map(float), min_size=1, max_size=200),
    st.integers(1, 70),
    st.sampled_from([COUNTER, HISTOGRAM]),
)
def test_shares_add_up_to_the_whole_and_are_as_equal_as_can_be(
    values: list[float], parts: int, kind: str
) -> None:
    delta = Delta()
    delta.add(values)
    if kind == HISTOGRAM:
        delta.buckets = dict(value_buckets(values))
    buckets = dict(delta.buckets)
    found = shares(delta, parts)
    assert len(found) == parts
    whole = Delta()
    for part in found:
        whole.merge(added(part))
    assert (whole.count, whole.min, whole.max, whole.buckets) == (
        delta.count, delta.min, delta.max, buckets,
    )  # fmt: skip
    assert abs(whole.sum - delta.sum) <= 1e-9 * abs(delta.sum)
    if delta.sum.is_integer():
        assert whole.sum == delta.sum
    counts = [added(part).count for part in found]
    assert max(counts) - min(counts) <= 1
    if kind == HISTOGRAM:
        assert [sum(added(part).buckets.values()) for part in found] == counts


def test_few_values_lie_far_from_one_another() -> None:
    delta = Delta()
    delta.add([1.0] * 4)
    places = [at for at, part in enumerate(shares(delta, 60)) if part is not None]
    assert all(later - before > 5 for before, later in pairwise(places))


def test_a_delta_whose_buckets_do_not_fit_its_count_stays_whole() -> None:
    strange = Delta(1, 1.0, 1.0, 1.0, 1.0, {5: 7})
    assert shares(strange, 3) == [strange, None, None]


def test_events_are_as_old_as_the_clocks_of_their_frame_say() -> None:
    wall_us, mono_us = int(AT_S * 1e6), 5_000_000_000
    some = [{"kind": "request", "at_us": wall_us - ago_us} for ago_us in (0, 2_000_000, -9)]
    for off_s in (0, -10_800, 10_800, -AT_S + 60, 2_000_000_000):
        # Over the Unix socket the monotonic clock is one: the frame was sent four seconds ago.
        told = Events(some, 0, wall_us, mono_us)
        ages = ages_of(told, AT_S - off_s, mono_us + 4_000_000)
        assert [round(age) for age in ages] == [4, 6, 4]
    # By another machine's clock: what it cannot say counts as now.
    for events in (Events(some), Events(some, 0, wall_us, mono_us)):
        assert [round(age) for age in ages_of(events, AT_S + 4)] == [4, 6, 4]
        for off_s in (-10_800, 2_000_000_000):
            assert max(ages_of(events, AT_S + off_s)) < 3


def test_a_clock_of_1970_or_2100_counts_as_now() -> None:
    for wall_s in (0, 60, AT_S - 8 * 86_400, 4_102_444_800):
        assert moment_of(int(wall_s * 1e6), 0, AT_S) == AT_S
    assert moment_of(int((AT_S - 6 * 86_400) * 1e6), 0, AT_S) == AT_S - 6 * 86_400
