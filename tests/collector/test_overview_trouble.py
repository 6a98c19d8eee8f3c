"""The overview of what is past a line, on its way there, recovering, or of few requests."""

from collections.abc import Iterator, Mapping

import pytest

from support.alerts import an_alert
from support.stores.towns import HOUR_S, NOW_S, Town, key, steady, town
from trimtab_collector.contract.alerts import AlertBody
from trimtab_collector.contract.errors import instant
from trimtab_core.batches import Point, SeriesKey


def _cpu(number: str = "cpu", **more: object) -> AlertBody:
    fields = {
        "severity": "warning", "metric": "cpuUsage", "unit": "ratio", "threshold": 0.7,
        "value": 0.95, "environment": "", "service": "", "route": "", "instance": "host",
        "since": _at(240), "fired_at": None, "state": "pending",
    }  # fmt: skip
    return an_alert(number, **{**fields, **more})


def _at(ago_s: int) -> str:
    return instant(NOW_S - ago_s)


def test_what_is_past_its_line_is_not_well_though_no_alert_fires_yet() -> None:
    with town() as place:
        place.fill(NOW_S - 3 * HOUR_S, NOW_S, steady(place))
        sentence = place.ask(_cpu())["sentence"]
        silenced = place.ask(_cpu(held="silenced"))["sentence"]
        place.lines = {"memoryUsage": (0.3, 0.9)}
        over = place.ask()["sentence"]
        held = an_alert("m", metric="memoryUsage", instance="host", service="", route="",
                        environment="", held="silenced")  # fmt: skip
        quiet = place.ask(held)["sentence"]
    assert sentence["text"] == "CPU usage of host has been over 70 % since 10:56: 95 %."
    assert (sentence["severity"], sentence["since"]) == ("warning", _at(240))
    assert silenced["severity"] == "ok"
    assert over["text"] == "Memory usage of host is 40 %, over 30 %."
    assert over["severity"] == "warning"
    assert (quiet["severity"], "40 %" in quiet["detail"]) == ("ok", False)


def test_a_route_with_few_requests_and_most_of_the_time_is_told() -> None:
    with town() as place:
        began_s = NOW_S - 20 * 60

        def points(t: int) -> Mapping[SeriesKey, Point]:
            report = place.times(5000 if t >= began_s else 1000, 3, db=800)
            return {key("/report"): report, key("/cart"): place.times(50, 120)}

        place.fill(NOW_S - 3 * HOUR_S, NOW_S, points)
        sentence = place.ask()["sentence"]
    assert sentence["text"].startswith("Requests of shop have taken longer than usual since 10:40")
    assert sentence["severity"] == "warning"
    assert "GET /report" in sentence["detail"]


def test_what_is_slow_for_the_last_minute_is_said_with_care() -> None:
    with town() as place:

        def points(t: int) -> Mapping[SeriesKey, Point]:
            return {key(): place.times(800 if t >= NOW_S - 60 else 100)}

        place.fill(NOW_S - 3 * HOUR_S, NOW_S, points, step_s=30)
        found = place.ask()
    assert found["sentence"]["text"].startswith("shop has been slower than usual for a minute: p95")
    assert found["sentence"]["severity"] == "ok"
    assert found["services"][0]["state"] == "ok"


def test_five_errors_in_five_minutes_are_no_news() -> None:
    with town() as place:

        def points(t: int) -> Mapping[SeriesKey, Point]:
            return {key(): place.times(100), key(status_class="5xx"): place.times(100, 1, 1)
                    } if t >= NOW_S - 300 else {key(): place.times(100)}  # fmt: skip

        place.fill(NOW_S - 3 * HOUR_S, NOW_S, points)
        found = place.ask()
    assert found["sentence"]["severity"] == "ok"
    assert {each["name"]: each["judgement"] for each in found["tiles"]}["errorRate"] == "ordinary"


def test_errors_by_chance_before_a_change_do_not_date_it() -> None:
    with town() as place:
        began_s = NOW_S - 8 * 60

        def points(t: int) -> Mapping[SeriesKey, Point]:
            errors = 9 if t >= began_s else 5 if t == began_s - 180 else 0
            found = {key(): place.times(100)}
            return {**found, key(status_class="5xx"): place.times(100, errors, errors)
                    } if errors else found  # fmt: skip

        place.fill(NOW_S - 3 * HOUR_S, NOW_S, points)
        assert place.ask()["sentence"]["since"] == _at(8 * 60)


@pytest.fixture
def deployed() -> Iterator[Town]:
    """A town whose shop is slow for twenty minutes."""
    with town() as place:
        began_s = NOW_S - 20 * 60
        place.fill(NOW_S - 3 * HOUR_S, began_s, steady(place))
        place.fill(began_s, NOW_S, steady(place, ms=500))
        yield place


def test_a_deploy_of_the_service_just_before_comes_before_other_marks(deployed: Town) -> None:
    began_s = NOW_S - 20 * 60
    marks = deployed.world.marks
    marks.add("deploy", "old", "live", "shop", began_s - 800)
    marks.add("deploy", "2.8.1", "live", "shop", began_s - 120)
    marks.add("note", "filled with history", "", "", began_s - 10)
    marks.add("deploy", "platform", "", "", began_s - 20)
    marks.add("note", "cart is warm", "live", "shop", began_s + 60)
    assert "Version 2.8.1 was deployed at 10:38." in deployed.ask()["sentence"]["detail"]


def test_a_note_of_everything_is_no_cause(deployed: Town) -> None:
    deployed.world.marks.add("note", "filled with history", "", "", NOW_S - 20 * 60 - 10)
    assert "history" not in deployed.ask()["sentence"]["detail"]


@pytest.mark.parametrize("operator", ["gt", "gte", "eq"])
def test_an_alert_that_recovers_is_told_as_one_that_was(operator: str) -> None:
    alert = _cpu(severity="critical", state="firing", threshold=0.9, value=0.714, worst=0.97,
                 operator=operator, fired_at=_at(200))  # fmt: skip
    with town() as place:
        place.fill(NOW_S - 3 * HOUR_S, NOW_S, steady(place))
        sentence = place.ask(alert)["sentence"]
    assert sentence["text"] == (
        "CPU usage of host was critical and is recovering: now 71.4 % (last 1 min), the threshold "
        "is 90 %."
    )
    assert sentence["severity"] == "warning"


def test_what_is_below_its_critical_line_and_past_the_milder_one_does_not_recover() -> None:
    alert = _cpu(severity="critical", state="firing", threshold=0.9, value=0.714, worst=0.97,
                 warning=0.7, critical=0.9, fired_at=_at(200))  # fmt: skip
    with town() as place:
        place.fill(NOW_S - 3 * HOUR_S, NOW_S, steady(place))
        sentence = place.ask(alert)["sentence"]
    assert sentence["text"] == (
        "CPU usage of host was critical and is past its warning threshold still: now 71.4 % "
        "(last 1 min), over 70 %."
    )


def test_an_alert_names_the_deploy_also_where_nothing_is_known_to_be_usual() -> None:
    alert = an_alert(
        severity="critical", metric="responseTime", unit="ms", threshold=100.0, value=516.0,
        environment="live", service="shop", route="", since=instant(NOW_S - 200),
    )  # fmt: skip
    with town() as place:
        # Five minutes of data: too few to say what is usual.
        place.fill(NOW_S - 300, NOW_S, steady(place, "shop"), services=("shop",))
        place.world.marks.add("deploy", "2.5.0", "live", "shop", NOW_S - 220)
        sentence = place.ask(alert)["sentence"]
    assert sentence["text"].startswith("Response time p95 of shop has been past its critical")
    assert "Version 2.5.0 was deployed at" in sentence["detail"]


def test_alerts_are_listed_by_the_time_that_is_shown_and_last_since_then() -> None:
    first = _cpu("1", state="firing", since=_at(900), fired_at=_at(300))
    second = _cpu("2", state="resolved", since=_at(1200), fired_at=_at(1100), instance="other",
                  recovered_at=_at(100), resolved_at=_at(60))  # fmt: skip
    with town() as place:
        place.fill(NOW_S - 3 * HOUR_S, NOW_S, steady(place))
        happened = place.ask(first, second)["happened"]
    assert [(each["at"], each["until"]) for each in happened] == [
        (_at(900), None), (_at(1200), _at(100))
    ]  # fmt: skip
    assert happened[0]["detail"] == "goes on, for 15 min so far"
    assert happened[1]["detail"].startswith("lasted 18 min")


def test_two_alerts_about_one_thing_are_told_once_as_bad_as_the_worse() -> None:
    errors = {"environment": "live", "service": "library", "route": "", "state": "firing"}
    slow = an_alert("1", metric="responseTime", unit="ms", severity="critical", threshold=400.0,
                    value=516.0, environment="live", service="shop", route="")  # fmt: skip
    own = an_alert("2", severity="warning", value=0.2, **errors)
    shipped = an_alert("3", severity="critical", threshold=0.2, value=0.227, **errors)
    recovering = an_alert("4", severity="critical", threshold=0.2, value=0.15, **errors)
    with town() as place:
        place.fill(NOW_S - 3 * HOUR_S, NOW_S, steady(place))
        both = place.ask(slow, own, shipped)["sentence"]
        better = place.ask(slow, own, recovering)["sentence"]
        alone = place.ask(own, shipped)["sentence"]
    assert both["detail"].endswith("Also: error rate of library critical.")
    assert better["detail"].endswith("Also: error rate of library critical (recovering).")
    assert alone["severity"] == "critical"
    assert "22.7 % (last 1 min), over 20 %" in alone["text"]
    assert "library" not in alone["detail"]
