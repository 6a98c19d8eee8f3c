"""Rates are over the time in which somebody watched."""

import pytest

from support.stores.apiworld import World
from support.stores.towns import DAY_S, HOUR_S, NOW_S, Town, steady, town


def _rate(found: World, from_s: int, to_s: int, **more: str) -> float:
    texts = {"from": str(from_s), "to": str(to_s), **more}
    return float(found.ask("/response-time", **texts)["overall"]["requestsPerSecond"])


def _filled(place: Town, *spans: tuple[int, int]) -> None:
    for begin_s, end_s in spans:
        place.fill(begin_s, end_s, steady(place))


def test_a_rate_is_not_over_the_time_before_the_first_data_nor_over_gaps() -> None:
    with town() as place:
        spans = ((NOW_S - 3600, NOW_S - 2400), (NOW_S - 1200, NOW_S))
        _filled(place, *spans)
        true = _rate(place.world, NOW_S - 1200, NOW_S - 60)
        assert _rate(place.world, NOW_S - 3 * HOUR_S, NOW_S - 60) == pytest.approx(true, rel=0.06)
        assert _rate(place.world, NOW_S - 3600, NOW_S - 60) == pytest.approx(true, rel=0.06)


def test_the_rate_of_a_step_is_the_same_however_many_steps_are_asked_for() -> None:
    with town() as place:
        hour_s = NOW_S - NOW_S % HOUR_S - HOUR_S
        _filled(place, (hour_s + 3000, NOW_S))

        def first(from_s: int) -> tuple[float, float]:
            asked = {"from": str(from_s), "to": str(hour_s + 2 * HOUR_S), "step": "3600"}
            rows = place.world.ask("/metrics/history", **asked)["series"]
            return rows[0]["seconds"], rows[0]["requestsPerSecond"]

        asked = {"from": str(hour_s), "to": str(hour_s + HOUR_S), "step": "3600"}
        (alone,) = place.world.ask("/metrics/history", **asked)["series"]
        assert alone["seconds"] == pytest.approx(600, abs=60)
        for back in (0, HOUR_S, 5 * HOUR_S, 40 * HOUR_S):
            seconds, rate = first(hour_s - back)
            assert seconds == pytest.approx(alone["seconds"], rel=0.1)
            assert rate == pytest.approx(alone["requestsPerSecond"], rel=0.1)


def test_sides_that_were_watched_for_different_lengths_are_compared_by_rates() -> None:
    with town() as place:
        day_s = NOW_S - DAY_S
        _filled(place, (day_s - 600, day_s), (NOW_S - HOUR_S, NOW_S))
        found = place.world.ask(
            "/compare", **{"from": str(NOW_S - HOUR_S), "to": str(NOW_S), "against": "day"}
        )
    assert found["a"]["seconds"] == pytest.approx(600, abs=60)
    assert found["overall"]["change"]["requests"] is None
    assert abs(found["overall"]["change"]["requestsPerSecond"]) < 0.12
