"""A key that takes too much CPU waits while others send, and never alone."""

import pytest

from support.clock import Clock
from trimtab_collector.contract.errors import ApiError
from trimtab_collector.cpushares import CpuShares


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
