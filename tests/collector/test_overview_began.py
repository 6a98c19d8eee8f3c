"""The overview of what began lately: rates are over the time that was watched."""

import pytest

from support.alerts import an_alert
from support.stores.towns import DAY_S, HOUR_S, NOW_S, key, steady, town
from trimtab_collector.contract.errors import instant


@pytest.mark.parametrize("lived_s", [40, 170])
def test_the_rate_of_what_began_lately_is_over_the_time_since_and_is_not_fewer_than_usual(
    lived_s: int,
) -> None:
    with town() as place:
        began_s = NOW_S - lived_s
        # A day of which the end is still on its way: nobody was heard for hours.
        place.fill(NOW_S - DAY_S - 2 * HOUR_S, NOW_S - 5 * HOUR_S,
                   lambda t: {key(): place.times(100, 200)})  # fmt: skip
        place.fill(began_s, NOW_S, steady(place, "shop"), step_s=10)
        found = place.ask()
    tile = {each["name"]: each for each in found["tiles"]}["requests"]
    assert tile["value"] == pytest.approx(6)
    assert tile["from"] == found["services"][0]["from"] == instant(began_s)
    assert found["services"][0]["requestsPerSecond"] == pytest.approx(6)
    assert tile["judgement"] == "ordinary"
    assert "fewer" not in found["sentence"]["text"]


def test_a_service_that_joins_others_has_its_own_rate_from_its_first_window_on() -> None:
    with town() as place:
        began_s = NOW_S - 40
        place.fill(NOW_S - 3 * HOUR_S, began_s, steady(place, "books"), services=("books",))
        both = ("books", "shop")
        place.fill(began_s, NOW_S, steady(place, *both), services=both, step_s=10)
        found = place.ask()
    services = {each["service"]: each for each in found["services"]}
    assert services["shop"]["requestsPerSecond"] == pytest.approx(6)
    assert services["books"]["from"] == found["latelyFrom"]


def test_fewer_requests_are_not_dated_before_anything_was_watched() -> None:
    with town() as place:
        began_s = NOW_S - 400
        place.fill(NOW_S - DAY_S - 2 * HOUR_S, NOW_S - 5 * HOUR_S,
                   lambda t: {key(): place.times(100, 200)})  # fmt: skip
        place.fill(began_s, NOW_S, steady(place, "shop"), step_s=10, services=("shop",))
        since = place.ask()["sentence"]["since"]
    assert since is None or since >= instant(began_s - began_s % 60)


@pytest.mark.parametrize(("lasts_s", "told"), [(11, False), (40, True)])
def test_a_cpu_that_is_busy_for_some_seconds_may_be_of_a_start(lasts_s: int, told: bool) -> None:
    with town() as place:
        place.fill(NOW_S - 3 * HOUR_S, NOW_S, steady(place, "shop"))
        alert = an_alert(state="pending", metric="cpuUsage", unit="ratio", threshold=0.9,
                         value=0.977, instance="host", since=instant(NOW_S - lasts_s))  # fmt: skip
        text = place.ask(alert)["sentence"]["text"]
    assert ("over 90" in text) is told
