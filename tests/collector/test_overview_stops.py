"""The overview when something stops: said within half a minute, whatever the last minutes were."""

from typing import Any

import pytest

from support.alerts import an_alert
from support.stores.towns import HOUR_S, NOW_S, Town, key, steady, town
from trimtab_collector.contract.errors import instant


def _tiles(found: Any) -> dict[str, Any]:
    return {each["name"]: each for each in found["tiles"]}


def _fill(place: Town, began_s: int, ended_s: int, *services: str) -> None:
    """Send steady requests, each window of the last ten minutes."""
    busy_s = max(began_s, ended_s - 600)
    if began_s < busy_s:
        place.fill(
            began_s,
            busy_s,
            lambda t: {key(service=name): place.times(100, 360) for name in services},
            services=services,
        )
    place.fill(busy_s, ended_s, steady(place, *services), services=services, step_s=10)


@pytest.mark.parametrize("began_s", [NOW_S - 12 * 60, NOW_S - 3 * HOUR_S], ids=["new", "known"])
def test_an_app_whose_processes_are_gone_is_told_within_half_a_minute(began_s: int) -> None:
    with town() as place:
        gone_s = NOW_S - 40
        _fill(place, began_s, gone_s, "shop")
        place.fill(gone_s, NOW_S, lambda t: {}, step_s=10, services=())
        found = place.ask()
    sentence = found["sentence"]
    assert sentence["text"] == (
        "No requests have come to shop since 10:59; its processes are gone."
    )
    assert (sentence["severity"], sentence["since"]) == ("critical", instant(gone_s))
    (shop,) = found["services"]
    assert (shop["state"], shop["instances"], shop["requestsPerSecond"]) == ("lost", 0, 0)
    assert (shop["p95"], shop["from"], shop["to"]) == (None, instant(gone_s), instant(NOW_S))
    tiles = _tiles(found)
    assert [tiles[name]["value"] for name in ("requests", "p95", "apdex")] == [0, None, None]
    assert tiles["requests"]["from"] == instant(gone_s)
    assert tiles["cpu"]["from"] == found["latelyFrom"]


@pytest.mark.parametrize("began_s", [NOW_S - 12 * 60, NOW_S - 3 * HOUR_S], ids=["new", "known"])
def test_requests_that_stop_while_processes_run_are_told_within_half_a_minute(
    began_s: int,
) -> None:
    with town() as place:
        stopped_s = NOW_S - 40
        _fill(place, began_s, stopped_s, "shop", "books")
        place.fill(stopped_s, NOW_S, steady(place, "books"), step_s=10,
                   services=("shop", "books"))  # fmt: skip
        found = place.ask()
        assert found["sentence"]["text"] == (
            "No requests have come to shop since 10:59; its processes still run."
        )
        assert found["sentence"]["severity"] == "warning"
        states = {each["service"]: each for each in found["services"]}
        assert (states["shop"]["state"], states["shop"]["instances"]) == ("quiet", 1)
        assert states["shop"]["requestsPerSecond"] == 0
        assert states["books"]["requestsPerSecond"] == pytest.approx(6, rel=0.1)
        # What shop had is out of the rate of all at once too, but for what came a minute ago.
        assert _tiles(found)["requests"]["value"] < 8.1
        assert _tiles(found)["requests"]["from"] == instant(NOW_S - 60)
        # What is usual of five minutes says nothing of that one.
        assert _tiles(found)["requests"]["usual"] is None


def test_a_service_with_few_requests_is_not_stopped_by_a_pause() -> None:
    with town() as place:
        place.fill(NOW_S - 3 * HOUR_S, NOW_S - 50, lambda t: {key(): place.times(100, 2)})
        place.fill(NOW_S - 50, NOW_S, lambda t: {}, step_s=10)
        found = place.ask()
    assert found["sentence"]["severity"] == "ok"
    assert found["services"][0]["requestsPerSecond"] > 0


def test_what_is_gone_is_no_stop_of_requests_where_its_agent_is_silent_too() -> None:
    with town() as place:
        gone_s = NOW_S - 50
        _fill(place, NOW_S - 3 * HOUR_S, gone_s, "shop")
        sentence = place.ask()["sentence"]
    assert "processes are gone" not in sentence["text"]


def test_a_process_that_was_replaced_counts_no_more_after_half_a_minute() -> None:
    with town() as place:
        place.fill(NOW_S - HOUR_S, NOW_S - 40, steady(place), services=("shop", "shop"))
        place.fill(NOW_S - 40, NOW_S, steady(place), step_s=10)
        found = place.ask()
    assert found["services"][0]["instances"] == 1


def test_a_lost_service_comes_before_a_host_that_is_busy_and_names_it() -> None:
    cpu = an_alert(
        severity="critical", metric="cpuUsage", unit="ratio", threshold=0.9, value=0.95,
        environment="", service="", route="", instance="host", since=instant(NOW_S - 600),
    )  # fmt: skip
    with town() as place:
        _fill(place, NOW_S - 3 * HOUR_S, NOW_S - 40, "shop")
        place.fill(NOW_S - 40, NOW_S, lambda t: {}, step_s=10, services=())
        sentence = place.ask(cpu)["sentence"]
        errors = an_alert("2", severity="critical", environment="live", service="books", route="")
        of_requests = place.ask(cpu, errors)["sentence"]
    assert sentence["text"].startswith("No requests have come to shop since 10:59")
    assert "Also: CPU usage of host critical." in sentence["detail"]
    assert {
        "text": "CPU usage of host critical",
        "page": "alert",
        "params": {"id": "1"},
    } in sentence["links"]
    assert of_requests["text"].startswith(
        "Error rate of books has been past its critical threshold"
    )


def test_hosts_alone_are_no_app_until_the_first_request() -> None:
    with town() as place:
        place.fill(NOW_S - 20 * 60, NOW_S, lambda t: {}, services=())
        found = place.ask()
        assert found["sentence"]["text"] == "No app has sent anything yet."
        assert (found["sentence"]["severity"], found["services"]) == ("empty", [])
        assert "trimtab run" in found["sentence"]["detail"]
        place.fill(NOW_S - 30, NOW_S, lambda t: {}, step_s=10)
        assert place.ask()["sentence"]["text"] == "No request has come in yet."
        place.fill(NOW_S - 10, NOW_S, steady(place))
        assert place.ask()["sentence"]["severity"] == "ok"


def test_hosts_of_an_app_that_had_requests_days_ago_are_not_empty() -> None:
    with town() as place:
        place.fill(NOW_S - 72 * HOUR_S, NOW_S - 71 * HOUR_S, steady(place))
        place.fill(NOW_S - 20 * 60, NOW_S, lambda t: {}, services=())
        assert place.ask()["sentence"]["severity"] == "ok"


def test_before_the_first_data_there_are_no_requests_known_and_later_there_are_none() -> None:
    with town() as place:
        place.fill(NOW_S - 20 * 60, NOW_S - 12 * 60, steady(place))
        place.fill(NOW_S - 12 * 60, NOW_S - 5 * 60, lambda t: {})
        place.fill(NOW_S - 5 * 60, NOW_S, steady(place))
        series = _tiles(place.ask())["requests"]["series"]
        assert series[:39] == [None] * 39
        assert 0.0 in series[45:]
        assert None not in series[45:]
        later = _tiles(place.ask(from_=NOW_S - 10 * 60))["requests"]["series"]
        assert later[0] == 0.0
