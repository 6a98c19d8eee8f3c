"""A key that takes too much CPU waits while others send, and never alone."""

import pytest

from support.clock import Clock
from trimtab_collector.contract.errors import ApiError
from trimtab_collector.cpushares import CpuShares, paced_s
from trimtab_collector.storage.catalogue import rows_of
from trimtab_core.batches import SeriesKey, pack_series
from trimtab_core.errors import BatchError


def refused(shares: CpuShares, key: str) -> bool:
    try:
        shares.check(key)
    except ApiError as error:
        return (error.status, error.code, error.headers["Retry-After"]) == (503, "busy", "2")
    return False


@pytest.fixture
def clock() -> Clock:
    return Clock(1_000.0)


def test_a_key_alone_may_take_all(clock: Clock) -> None:
    shares = CpuShares(clock)
    for _ in range(20):
        shares.spend("only", 1.0)
        clock.advance_s(1.0)
        assert not refused(shares, "only")


def test_a_key_that_takes_what_others_leave_goes_on(clock: Clock) -> None:
    shares = CpuShares(clock)
    shares.spend("small", 0.5)
    shares.spend("large", 3.4)
    assert not refused(shares, "large")
    shares.spend("large", 0.2)
    assert refused(shares, "large")
    assert not refused(shares, "small")


def test_who_takes_less_than_an_equal_share_is_never_refused(clock: Clock) -> None:
    shares = CpuShares(clock)
    for key in ("one", "two", "three"):
        shares.spend(key, 0.9)
    shares.spend("flood", 9.0)
    assert [key for key in ("one", "two", "three", "flood") if refused(shares, key)] == ["flood"]


def test_what_was_taken_is_forgotten_within_two_spans(clock: Clock) -> None:
    shares = CpuShares(clock)
    shares.spend("flood", 8.0)
    clock.advance_s(5.0)
    shares.spend("honest", 0.1)
    assert refused(shares, "flood")
    clock.advance_s(3.0)
    assert not refused(shares, "flood")
    clock.advance_s(2.0)
    shares.spend("honest", 0.1)
    assert not refused(shares, "flood")
    assert not shares._before.get("flood")


def test_names_events_and_ranges_are_paced_while_others_send(clock: Clock) -> None:
    shares = CpuShares(clock)
    shares.spend("honest", 0.001, paced_s(200, 1000, 3, 0.0))
    shares.spend("names", 0.01, paced_s(5_000, 0, 0, 0.0))
    shares.check("names")
    shares.spend("names", 0.01, paced_s(4_000, 0, 0, 0.0))
    shares.spend("events", 0.01, paced_s(0, 4 * 1024 * 1024, 0, 0.0))
    shares.spend("ranges", 0.01, paced_s(0, 0, 30_000, 0.0))
    for key, pause in (("names", "4"), ("events", "3"), ("ranges", "1")):
        with pytest.raises(ApiError, match="faster than there is room for") as found:
            shares.check(key)
        assert found.value.headers["Retry-After"] == pause
    shares.check("honest")
    clock.advance_s(2.0)
    shares.check("ranges")
    assert refused_at_all(shares, "names")
    clock.advance_s(2.0)
    shares.check("names")


def test_what_is_over_a_quota_takes_a_hundredth_of_a_core(clock: Clock) -> None:
    shares = CpuShares(clock)
    took_s = 0.0
    for _ in range(100_000):
        clock.advance_s(0.02)
        shares.spend("honest", 0.0001)
        if not refused_at_all(shares, "flood"):
            shares.spend("flood", 0.02, paced_s(0, 0, 0, 0.02))
            took_s += 0.02
    assert took_s <= 0.011 * 2_000


def test_a_key_alone_is_not_paced_and_no_pause_is_longer_than_half_a_minute(clock: Clock) -> None:
    shares = CpuShares(clock)
    for _ in range(100):
        shares.spend("only", 0.01, paced_s(50_000, 0, 0, 0.0))
        shares.check("only")
    assert shares.is_heavy("only")
    shares.spend("honest", 0.0001)
    assert refused_at_all(shares, "only")
    clock.advance_s(30.0)
    shares.spend("honest", 0.0001)
    shares.check("only")


def refused_at_all(shares: CpuShares, key: str) -> bool:
    try:
        shares.check(key)
    except ApiError:
        return True
    return False


def test_a_name_that_is_too_long_is_refused_while_it_is_read() -> None:
    def of(length: int) -> bytes:
        return pack_series([SeriesKey("test", "x" * length, "", "", "/", "GET", "2xx")])

    with pytest.raises(BatchError):
        rows_of(of(257))
    assert len(rows_of(of(256))) == 1
