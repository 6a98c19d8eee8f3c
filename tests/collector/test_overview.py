"""The overview: what it says first in each situation, and how it names what it read."""

import re
from collections.abc import Iterator, Mapping, Sequence
from zoneinfo import ZoneInfo

import pytest

from support.alerts import an_alert
from support.stores.towns import (
    DAY_S,
    HOUR_S,
    NOW_S,
    FiredAlerts,
    Town,
    counted,
    key,
    steady,
    town,
)
from trimtab_collector.contract.errors import instant
from trimtab_collector.overview.wording import PHRASES
from trimtab_collector.reports.reporter import Reporter
from trimtab_core.batches import Point, SeriesKey
from trimtab_core.measures import COUNTER, MeasureKey
from trimtab_core.names import clean_name
from trimtab_core.rows import EventRow, MeasureRow


@pytest.fixture(scope="module")
def calm() -> Iterator[Town]:
    """Three hours in which nothing changes."""
    with town() as place:
        names = ("shop", "books")
        place.fill(NOW_S - 3 * HOUR_S, NOW_S, steady(place, *names), services=names)
        yield place


@pytest.fixture(scope="module")
def slow() -> Iterator[Town]:
    """Three hours; for 24 minutes orders of shop have waited for the database, after a deploy."""
    with town() as place:
        began_s = NOW_S - 24 * 60

        def points(t: int) -> Mapping[SeriesKey, Point]:
            late = t >= began_s
            version = "2.8.1" if late else "2.8.0"
            orders = place.times(400, db=350) if late else place.times(100, db=50)
            return {
                key("/orders/{id}", version=version): orders,
                key("/cart", version=version): place.times(80),
                key(service="books"): place.times(50),
            }

        place.fill(NOW_S - 3 * HOUR_S, NOW_S, points, services=("shop", "books"))
        place.world.marks.add("deploy", "2.8.1", "live", "shop", began_s - 60)
        yield place


def test_when_all_is_well_it_says_so_and_names_what_is_closest_to_trouble(calm: Town) -> None:
    found = calm.ask()
    sentence = found["sentence"]
    assert sentence["text"] == "All is well: everything is as usual."
    assert (sentence["severity"], sentence["since"]) == ("ok", None)
    assert (
        sentence["detail"] == "Closest to trouble: memory usage of host is 40 %; 80 % is a warning."
    )
    assert sentence["links"] == [{"page": "hosts", "params": {"instance": "host"}, "text": "host"}]
    assert {each["judgement"] for each in found["tiles"]} == {"ordinary"}
    assert [each["state"] for each in found["services"]] == ["ok", "ok"]


def test_a_slow_service_is_named_with_its_beginning_its_cause_and_the_deploy(slow: Town) -> None:
    found = slow.ask(tz="Asia/Seoul")
    sentence = found["sentence"]
    assert sentence["text"].startswith("shop has been slower than usual since 19:36: p95 is 5")
    assert sentence["text"].endswith(" ms, usually 129 ms.")
    assert (sentence["severity"], sentence["since"]) == (
        "warning", instant(NOW_S - 24 * 60, ZoneInfo("Asia/Seoul"))
    )  # fmt: skip
    assert re.fullmatch(
        r"9\d % of the rise is database time, most of it in GET /orders/{id}\. Version 2\.8\.1 was "
        r"deployed at 19:35\. See why\. Other services are as usual\.",
        sentence["detail"],
    )
    leads = {each["text"]: (each["page"], each["params"]) for each in sentence["links"]}
    place = {"environment": "live", "service": "shop"}
    assert leads["shop"] == ("service", place)
    assert leads["GET /orders/{id}"] == ("route", {**place, "route": "/orders/{id}"})
    assert all(text in f"{sentence['text']} {sentence['detail']}" for text in leads)
    tiles = {each["name"]: each for each in found["tiles"]}
    assert tiles["p95"]["judgement"] == "worse"
    assert tiles["p95"]["change"] > 2
    assert [each["service"] for each in found["services"]] == ["shop", "books"]
    assert [each["state"] for each in found["services"]] == ["warning", "ok"]
    assert found["services"][0]["shares"]["database"] > 0.5
    assert [(each["kind"], each["text"]) for each in found["happened"]] == [
        ("deploy", "shop 2.8.1 deployed")
    ]


def test_a_service_says_it_of_itself_and_others_do_not(slow: Town) -> None:
    of_shop = slow.ask(environment="live", service="shop")
    assert of_shop["sentence"]["text"] == slow.ask()["sentence"]["text"]
    assert "Other services" not in of_shop["sentence"]["detail"]
    assert [each["service"] for each in of_shop["services"]] == ["shop"]
    assert slow.ask(service="books")["sentence"]["text"] == (
        "books is well: everything is as usual."
    )


def test_an_alert_of_the_figure_gives_the_sentence_its_severity(slow: Town) -> None:
    alert = an_alert(
        severity="critical", metric="responseTime", unit="ms", threshold=400.0, value=516.0,
        environment="live", service="shop", route="", since=instant(NOW_S - 600),
    )  # fmt: skip
    found = slow.ask(alert)
    assert found["sentence"]["severity"] == "critical"
    assert found["sentence"]["since"] == instant(NOW_S - 600)
    assert found["sentence"]["text"] == (
        "Response time p95 of shop has been past its critical threshold since 10:50: 516 ms "
        "(last 1 min), over 400 ms."
    )
    assert found["sentence"]["detail"].startswith("Usually it is ")
    assert "2.8.1 was deployed at 10:35" in found["sentence"]["detail"]
    assert [each["state"] for each in found["services"]] == ["critical", "ok"]
    (event,) = [each for each in found["happened"] if each["kind"] == "alert"]
    assert event["text"].startswith("shop: response time p95 (errors) critical, ")
    assert event["link"] == {"page": "alert", "params": {"id": alert.id}}


def test_what_an_alert_is_about_is_not_said_to_be_out_of_the_ordinary_too(slow: Town) -> None:
    found = an_alert("a", metric="analysis", environment="live", service="shop", route="")
    sentence = slow.ask(found)["sentence"]
    assert "shop" in sentence["text"]
    assert "shop" not in sentence["detail"]


def test_a_silenced_alert_is_listed_and_not_what_it_opens_with(calm: Town) -> None:
    alert = an_alert(environment="live", service="books", held="silenced", since=instant(NOW_S))
    found = calm.ask(alert)
    assert found["sentence"]["severity"] == "ok"
    assert "silenced" in found["happened"][0]["detail"]


@pytest.mark.parametrize("language", ["en", "ko"])
def test_an_alert_of_a_host_is_told_with_its_line(calm: Town, language: str) -> None:
    alert = an_alert(
        severity="critical", metric="cpuUsage", unit="ratio", threshold=0.9, value=0.95,
        environment="", service="", route="", instance="host", since=instant(NOW_S - 600),
    )  # fmt: skip
    sentence = calm.ask(alert, lang=language)["sentence"]
    assert (
        sentence["text"]
        == {
            "en": "CPU usage of host has been past its critical threshold since 10:50: "
            "95 % (last 1 min), over 90 %.",
            "ko": "10:50부터 host의 CPU 사용률: 심각 상태입니다. "
            "현재 95%(최근 1분), 임계값 90% 초과.",
        }[language]
    )
    assert sentence["links"][0] == {"page": "alert", "params": {"id": alert.id}, "text": "host"}


def test_a_silent_agent_comes_before_warnings_and_after_critical_alerts(calm: Town) -> None:
    silent = an_alert(
        "silent", metric="agentSilence", unit="s", threshold=25.0, value=300.0, environment="",
        service="", route="", labels={"agent": "web-3"}, since=instant(NOW_S - 275),
    )  # fmt: skip
    warning = an_alert("warning", environment="live", since=instant(NOW_S - 3000), route="")
    found = calm.ask(warning, silent)
    assert found["sentence"]["text"] == "Agent web-3 has sent nothing since 10:55."
    (leads,) = found["sentence"]["links"]
    assert (leads["page"], leads["params"]) == ("agents", {"agent": "web-3"})
    assert ("agent", "Agent web-3 fell silent") in [
        (each["kind"], each["text"]) for each in found["happened"]
    ]
    critical = an_alert("critical", severity="critical", environment="live", since=instant(NOW_S))
    assert calm.ask(warning, silent, critical)["sentence"]["severity"] == "critical"


def test_errors_are_told_with_their_route_and_the_line_they_came_up_at() -> None:
    with town() as place:
        began_s = NOW_S - 12 * 60

        def points(t: int) -> Mapping[SeriesKey, Point]:
            found = {key(): place.times(100), key("/cart"): place.times(100)}
            if t >= began_s:
                found[key("/cart", status_class="5xx")] = place.times(100, 20, 20)
            return found

        def events(t: int) -> Sequence[EventRow]:
            if t < began_s:
                return ()
            event = {
                "kind": "request",
                "at_us": t * 1_000_000,
                "reason": "failed",
                "route": "/cart",
                "error": "KeyError",
                "error_site": "shop/cart.py:153",
            }
            return (EventRow("live", "shop", "host#0", event),)

        place.fill(NOW_S - 3 * HOUR_S, NOW_S, points, events=events)
        sentence = place.ask()["sentence"]
        assert sentence["text"] == (
            "More requests of shop have failed than usual since 10:48: 14.3 %, usually 0 %."
        )
        assert sentence["detail"].startswith(
            "100 % of the errors are in GET /cart. The latest was KeyError at shop/cart.py:153."
        )


def test_a_service_whose_processes_are_gone_is_lost_since_its_last_reading() -> None:
    with town() as place:
        gone_s = NOW_S - 10 * 60
        both = steady(place, "shop", "books")
        place.fill(NOW_S - 3 * HOUR_S, gone_s, both, services=("shop", "books"), step_s=30)
        place.fill(gone_s, NOW_S, steady(place), step_s=30)
        found = place.ask()
        assert found["sentence"]["text"] == (
            "No requests have come to books since 10:50; its processes are gone."
        )
        assert found["sentence"]["severity"] == "critical"
        states = {each["service"]: each["state"] for each in found["services"]}
        assert states == {"books": "lost", "shop": "ok"}


def test_a_quiet_night_is_no_news_when_it_was_as_quiet_the_night_before() -> None:
    with town() as place:
        busy = steady(place, "shop", "books")
        for back_s in (DAY_S, 0):
            quiet_s = NOW_S - back_s - 70 * 60
            place.fill(quiet_s - 2 * HOUR_S, quiet_s, busy, services=("shop", "books"))
            place.fill(quiet_s, NOW_S - back_s, steady(place, "shop"), services=("shop", "books"))
        found = place.ask()
        assert found["sentence"]["severity"] == "ok"
        assert {each["service"]: each["state"] for each in found["services"]} == {
            "shop": "ok", "books": "quiet"
        }  # fmt: skip


def test_an_empty_collector_says_that_nothing_has_come_yet() -> None:
    with town() as place:
        found = place.ask()
        assert found["sentence"]["text"] == "Nothing has come in yet."
        assert (found["sentence"]["severity"], found["services"]) == ("empty", [])
        assert [each["value"] for each in found["tiles"]][1:] == [None] * 5
        assert all(each["why"] for each in found["tiles"][1:])
        # One point, and it is an overview.
        place.fill(NOW_S - 10, NOW_S, steady(place))
        found = place.ask()
        assert (found["sentence"]["severity"], len(found["services"])) == ("ok", 1)
        assert found["sentence"]["text"] == "Nothing is out of order."
        assert found["tiles"][1]["usual"] is None


@pytest.mark.parametrize("back_s", [600, 3 * DAY_S])
def test_when_nobody_sends_it_says_since_when(back_s: int) -> None:
    with town() as place:
        last_s = NOW_S - back_s
        place.fill(last_s - 1200, last_s, steady(place))
        sentence = place.ask()["sentence"]
        assert (sentence["severity"], sentence["since"]) == ("late", instant(last_s))
        assert place.ask(service="never")["sentence"]["severity"] == "empty"


def test_a_range_that_is_past_is_told_in_the_past(slow: Town) -> None:
    query = {"from_": NOW_S - 25 * 60, "to": NOW_S - 120}
    sentence = slow.ask(**query)["sentence"]
    assert sentence["text"].startswith("shop was slower than usual")
    empty = slow.ask(from_=NOW_S - 30 * DAY_S, to=NOW_S - 29 * DAY_S)["sentence"]
    assert empty["severity"] == "empty"
    assert empty["text"].startswith("Nothing came in between 2026-09-27 ")


def test_names_from_apps_stay_text_on_one_line_and_are_cut() -> None:
    with town() as place:
        name = "\u202e<script>alert(1)</script>{who}\n" + "x" * 200
        began_s = NOW_S - 20 * 60

        def points(t: int) -> Mapping[SeriesKey, Point]:
            return {key("/{0}<b>", name): place.times(500 if t >= began_s else 100)}

        place.fill(NOW_S - 3 * HOUR_S, NOW_S, points, services=(name,))
        found = place.ask()
        sentence = found["sentence"]
        assert sentence["text"].startswith("\ufffd<script>alert(1)</script>{who} xxx")
        for text in (sentence["text"], sentence["detail"]):
            assert not re.search(r"[\u202a-\u202e\n]", text)
            assert len(text) < 1000
        assert "GET /{0}<b>" in sentence["detail"]
        # What leads somewhere has the name as it is stored.
        assert sentence["links"][0]["params"]["service"] == clean_name(name)


def test_a_burst_of_one_minute_is_no_news() -> None:
    with town() as place:
        burst_s = NOW_S - 240

        def points(t: int) -> Mapping[SeriesKey, Point]:
            return {key(): place.times(3000 if burst_s <= t < burst_s + 60 else 100)}

        place.fill(NOW_S - 3 * HOUR_S, NOW_S, points)
        found = place.ask()
        assert found["sentence"]["severity"] == "ok"
        assert {each["judgement"] for each in found["tiles"]} == {"ordinary"}


def test_a_change_that_began_hours_ago_is_dated_to_ten_minutes() -> None:
    with town() as place:
        began_s = NOW_S - 5 * HOUR_S - 1200
        usual = steady(place)
        for days in (7, 1):
            then_s = NOW_S - days * DAY_S
            place.fill(then_s - HOUR_S, then_s + HOUR_S, usual, step_s=120)
        place.fill(began_s - HOUR_S, began_s, usual)
        place.fill(began_s, NOW_S, steady(place, ms=300))
        sentence = place.ask()["sentence"]
        assert sentence["since"] == instant(began_s)
        assert "usually" in sentence["text"]


def test_n_plus_one_is_news_once() -> None:
    with town() as place:
        event = {"kind": "n_plus_one", "route": "/orders", "method": "GET", "query": "SELECT",
                 "site": "app.py:153", "count": 21}  # fmt: skip

        def events(t: int) -> Sequence[EventRow]:
            at_us = {"at_us": t * 1_000_000}
            old = {"site": "old.py:1"}
            some = [EventRow("live", "shop", "host#0", {**event, **at_us, **old})]
            if t >= NOW_S - 1800:
                some.append(EventRow("live", "shop", "host#0", {**event, **at_us}))
            return some

        place.fill(NOW_S - 3 * HOUR_S, NOW_S, steady(place), events=events)
        (found,) = [each for each in place.ask()["happened"] if each["kind"] == "nPlusOne"]
        assert found["text"] == "N+1 in GET /orders of shop: 21 queries"
        assert found["at"] == instant(NOW_S - 1800)


def test_fewer_reads_from_caches_are_out_of_the_ordinary() -> None:
    with town() as place:

        def rows(t: int) -> Sequence[MeasureRow]:
            hits = 10.0 if t >= NOW_S - 1200 else 95.0
            return [
                MeasureRow("live", "shop", "host#0", MeasureKey(name, COUNTER, "1", ()), delta)
                for name, delta in (
                    ("trimtab.cache.hits", counted(hits)),
                    ("trimtab.cache.misses", counted(100 - hits)),
                )
            ]

        place.fill(NOW_S - 3 * HOUR_S, NOW_S, steady(place), rows=rows)
        found = place.ask()
        assert found["sentence"]["text"] == (
            "Caches answer fewer reads than usual: 10 %, usually 95 %."
        )
        assert found["tiles"][5]["judgement"] == "worse"


def test_report_and_dashboard_open_with_the_same_sentence(slow: Town) -> None:
    overview = slow.ask()
    text = overview["sentence"]["text"]
    slow.world.parts[Reporter] = slow.world.reporter_with(FiredAlerts())
    assert slow.world.ask("/dashboard")["sentence"]["text"] == text
    report = slow.world.ask("/report", date="2026-10-27")
    assert report["sentence"]["text"] == report["summary"][0]


def test_both_languages_have_the_same_texts_and_places() -> None:
    assert list(PHRASES.differences()) == []


def test_it_says_the_same_in_korean(slow: Town) -> None:
    sentence = slow.ask(lang="ko", tz="Asia/Seoul")["sentence"]
    assert sentence["text"].startswith("19:36부터 shop의 응답이 평소보다 느립니다. p95 5")
    assert "데이터베이스 시간" in sentence["detail"]


def test_a_service_that_is_new_is_held_against_its_own_first_hour() -> None:
    with town() as place:
        slow_s = NOW_S - 8 * 60

        def points(t: int) -> Mapping[SeriesKey, Point]:
            return {key(): place.times(400 if t >= slow_s else 20, count=300)}

        place.fill(NOW_S - 50 * 60, NOW_S, points)
        found = place.ask()
    assert found["sentence"]["severity"] == "warning"
    assert "usually 2" in found["sentence"]["text"]
    tile = {each["name"]: each for each in found["tiles"]}["p95"]
    assert (tile["judgement"], tile["usual"]["against"]) == ("worse", "earlier")
