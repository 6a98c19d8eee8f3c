"""Reports: their figures against requests counted one by one, and the page against the figures."""

import base64
import functools
import hashlib
import re
import urllib.request
from collections.abc import Iterator
from datetime import date, datetime
from typing import Any
from xml.etree import ElementTree
from zoneinfo import ZoneInfo

import pytest
from msgspec.structs import replace

from support.alerts import an_alert
from support.processes.servers import Collector, short_dir
from support.stores.apiworld import BERLIN, Request, World, digits, figures, world
from support.stores.batches import a_batch
from support.stores.engines import Sent, append
from trimtab_collector.api.endpoints import ENDPOINTS
from trimtab_collector.contract.callers import Caller, Page, Role
from trimtab_collector.contract.errors import ApiError, instant
from trimtab_collector.contract.parameters import RANGE, parse
from trimtab_collector.contract.quantities import QUANTITIES
from trimtab_collector.contract.reports import DATE, FORMAT, REPORT_PERIOD, ReportBody
from trimtab_collector.contract.slos import SloSettings
from trimtab_collector.reports.markup import el
from trimtab_collector.reports.page import page_of
from trimtab_collector.reports.periods import period_of
from trimtab_collector.reports.reporter import report_of
from trimtab_collector.reports.saying import PHRASES, notes_of, summary_of
from trimtab_collector.reports.style import STYLE
from trimtab_core.batches import GaugeRow, SeriesKey
from trimtab_core.names import clean_name

DAY_S = 86_400
#: midnight in Berlin, and the clocks go back on the 25th
DAY = datetime(2026, 10, 26, tzinfo=BERLIN)
NASTY = "<script>alert('1')</script> & \"x\" \x07\u202e"


def stored(found: World, day: datetime, slow: int, runs: range) -> None:
    """Send a day: requests of three routes each ten minutes, while processes run."""
    start_s = int(day.timestamp())
    requests, sent = [], []
    for number_, t in enumerate(range(start_s, start_s + DAY_S, 600)):
        hour = (t - start_s) // 3600
        gauges = [GaugeRow("", "", "web", "system.memory.usage", 1e9),
                  GaugeRow("", "", "web", "system.cpu.utilization", 0.25)]  # fmt: skip
        if hour in runs:
            gauges += [GaugeRow("live", "shop", "web#0", "process.uptime", 5.0)]
            requests += [
                Request(t, SeriesKey("live", "shop", "1", "web#0", route, method, status), us)
                for route, method, status, us in (
                    ("/", "GET", "2xx", 20_000 + number_),
                    (NASTY, "GET", "2xx", slow + 10 * number_),
                    ("/orders", "POST", "5xx" if number_ % 25 == 0 else "2xx", 90_000),
                )
            ]
        batch = a_batch(start_s // 10 + number_, {}, agent="agent", window_s=t, gauges=gauges)
        if hour != 5:
            sent.append(Sent(batch, {}))
    append(found.engine, *sent)
    found.send(requests)


@pytest.fixture(scope="module")
def town() -> Iterator[World]:
    """Two days; on the second a route is slow, no process runs before 6, nothing comes at 5."""
    with short_dir() as directory, world(directory, empty=True) as found:
        found.clock.now_s = DAY.timestamp() + DAY_S + 3600
        stored(found, datetime(2026, 10, 25, tzinfo=BERLIN), 100_000, range(24))
        stored(found, DAY, 300_000, range(6, 24))
        found.engine.settle()
        found.marks.add("deploy", "2.0", "live", "shop", DAY.timestamp() + 7200)
        found.marks.add("note", NASTY, "live", "shop", DAY.timestamp() + 9000, by=NASTY)
        ada = Caller("ada", Role.ADMIN)
        found.objectives.book.add(SloSettings(name=f"answers {NASTY}", target=0.99), ada)
        yield found


@functools.cache
def ask(town: World, **query: str) -> Any:
    return town.ask("/report", **{"date": "2026-10-26", "tz": "Europe/Berlin", **query})


def body(town: World) -> ReportBody:
    """Return the report of the day as it is before it is JSON."""
    endpoint = next(each for each in ENDPOINTS if "/report" in each.paths)
    texts = {"date": "2026-10-26", "tz": "Europe/Berlin"}.items()
    return report_of(town.reporter, parse((*endpoint.parameters, *RANGE), texts, town.clock.now_s))


@functools.cache
def page(town: World, **query: str) -> Page:
    texts = {"date": "2026-10-26", "tz": "Europe/Berlin", "format": "html", **query}
    endpoint = next(each for each in ENDPOINTS if "/report" in each.paths)
    found = endpoint.read(
        town.reporter, parse((*endpoint.parameters, *RANGE), texts.items(), town.clock.now_s)
    )
    assert isinstance(found, Page)
    return found


def tree(found: Page) -> ElementTree.Element:
    """Return a page, parsed strictly."""
    return ElementTree.fromstring(found.html.removeprefix("<!doctype html>"))


def rows(root: ElementTree.Element, card: str) -> list[list[str]]:
    """Return the texts of the table of a card."""
    (section,) = root.findall(f".//section[@id='{card}']")
    return [
        [re.sub(r"\s+", " ", "".join(cell.itertext())).strip() for cell in row]
        for row in section.findall(".//tbody/tr")
    ]


def test_totals_are_those_of_requests_counted_one_by_one(town: World) -> None:
    report = ask(town)
    mine = town.within(start_s := DAY.timestamp(), start_s + DAY_S)
    # Nothing came at 5, for an hour.
    assert 3600 <= DAY_S - report["now"]["seconds"] <= 3600 + 600
    want = figures(mine, report["now"]["seconds"])
    shown = {name: report["now"][name] for name in want if name in report["now"]}
    assert {"requests", "p95", "errorRate", "apdex"} < set(shown)
    shown["errorRate"] = digits(shown["errorRate"])
    assert shown == {name: want[name] for name in shown}
    assert sum(row["requests"] or 0 for row in report["series"]) == len(mine)
    before = town.within(start_s - DAY_S - 3600, start_s)
    assert report["before"]["requests"] == len(before)
    assert report["change"]["requests"] == pytest.approx(len(mine) / len(before) - 1)


def test_routes_stand_beside_the_day_before(town: World) -> None:
    report = ask(town)
    (slower,) = report["slower"]
    assert (slower["route"], slower["method"]) == (clean_name(NASTY), "GET")
    assert slower["change"] == pytest.approx(2, rel=0.05)
    (failing,) = report["failing"]
    assert (failing["route"], failing["errors"]) == ("/orders", report["now"]["errors"])
    assert sum(row["timeShare"] for row in report["routes"]) == pytest.approx(1)
    assert report["routes"][0]["route"] == clean_name(NASTY)


def test_a_report_tells_gaps_from_outages(town: World) -> None:
    report = ask(town)
    assert [(gap["from"], gap["seconds"]) for gap in report["gaps"]] == [
        ("2026-10-26T05:00:00.000+01:00", 3600)
    ]
    (shop,) = report["uptime"]
    assert shop["unknownSeconds"] >= 3600
    assert shop["downSeconds"] > 0
    assert {"no process"} == {cause for each in shop["outages"] for cause in each["causes"]}
    assert any("left open" in note for note in report["notes"])


def test_one_outage_is_told_as_one_and_a_share_with_the_digits_that_count(town: World) -> None:
    found = body(town)
    (row,) = found.uptime
    once = replace(row, outages=row.outages[:1], outages_left_out=0, down_seconds=720)

    def said(up_s: int, language: str = "en") -> str:
        rows = [replace(once, up_seconds=up_s)]
        return summary_of(replace(found, uptime=rows, language=language))[1]

    assert said(60) == "Uptime 7.69 %, 1 outage: shop was down for 12 min."
    assert said(86_400_000).startswith("Uptime 99.9991 %, 1 outage:")
    assert said(60, "ko") == "가동률 7.69%, 장애 1회. shop 서비스, 12분 동안 중단."
    once = replace(once, down_seconds=0, slow_seconds=720, outages=[])
    assert said(60) == "Every service was up in every minute that was watched."
    slow = summary_of(replace(found, uptime=[replace(once, up_seconds=900)]))
    assert slow[2] == "shop was up, but too slow for 12 min."


def test_a_report_says_how_much_of_the_time_before_it_compares_with(town: World) -> None:
    found = body(town)
    rows = [replace(row, state="measured") for row in found.series_before]
    says = "Of the period before there are data of"
    assert not any(says in note for note in notes_of(replace(found, series_before=rows)))
    gaps = 3 * len(rows) // 4
    rows = [replace(row, state="gap") for row in rows[:gaps]] + rows[gaps:]
    notes = notes_of(replace(found, series_before=rows))
    assert (
        "Of the period before there are data of 6 h 6 min only: changes are against those." in notes
    )


def test_an_alert_lasts_until_it_is_good_again(
    town: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    fired_s = DAY.timestamp() + 7200
    since, fired, good, over = (instant(fired_s + more) for more in (-60, 0, 600, 1500))
    alerts = (
        an_alert("1", since=since, fired_at=fired, recovered_at=good, resolved_at=over),
        an_alert("2", since=since, fired_at=fired, recovered_at=good, state="keeping"),
        an_alert("3", since=since, fired_at=fired),
    )
    monkeypatch.setattr(town.reporter.alerts, "between", lambda *_: alerts, raising=False)
    found = body(town)
    assert [row.seconds for row in found.alerts] == [660, 660, DAY_S - 7140]
    shown = rows(tree(Page(page_of(found, "now"), "")), "alerts")
    assert [row[2] for row in shown] == ["11 min", "11 min", "goes on"]


def test_a_report_has_objectives_marks_hosts_and_accounting(town: World) -> None:
    report = ask(town)
    (slo,) = report["slos"]
    assert (slo["requests"], slo["bad"]) == (report["now"]["requests"], report["now"]["errors"])
    assert slo["taken"] == pytest.approx(slo["bad"] / slo["budget"]["allowed"])
    assert [mark["name"] for mark in report["marks"]] == ["2.0", NASTY]
    assert [(host["host"], host["cpuMean"]) for host in report["hosts"]] == [("web", 0.25)]
    assert [row["service"] for row in report["accounting"]] == ["shop"]
    assert {row["id"] for row in report["kpis"]} >= {"health", "uptime", "recovery"}


def test_a_report_of_a_service_that_is_not_there_says_that_nothing_arrived(town: World) -> None:
    report = ask(town, service="nobody")
    assert report["summary"][0] == "No requests arrived."
    assert report["now"]["p95"] is report["now"]["errorRate"] is None
    assert (report["routes"], report["uptime"], report["hosts"]) == ([], [], [])
    assert tree(page(town, service="nobody")).find(".//h1") is not None


def test_what_lies_before_the_first_data_is_no_gap(town: World) -> None:
    report = ask(town, period="weekly", date="2026-10-25")
    assert report["series"][0]["state"] == "gap"
    # The day on which clocks go back is an hour longer than what was sent of it.
    assert [gap["from"] for gap in report["gaps"]] == ["2026-10-25T23:00:00.000+01:00"]
    assert any("no data before 2026-10-25 00:00" in note for note in report["notes"])


def test_a_period_that_has_not_ended_says_so(town: World) -> None:
    report = ask(town, date="2026-10-27")
    assert report["complete"] is False
    assert any("has not ended" in note for note in report["notes"])
    title = tree(page(town, date="2026-10-27")).findtext("head/title")
    assert title == "trimtab: Daily report (so far) 2026-10-27"
    # What has not happened is no gap.
    assert all(gap["to"] < "2026-10-27T01:01" for gap in report["gaps"])
    assert ask(town)["complete"] is True


@pytest.mark.parametrize("period", ["daily", "weekly"])
def test_a_period_that_has_not_begun_is_refused(town: World, period: str) -> None:
    with pytest.raises(
        ApiError, match="a day of a period that has begun, up to 2026-10-27"
    ) as raised:
        town.ask("/report", date="2030-01-01", tz="Europe/Berlin", period=period)
    assert (raised.value.status, raised.value.details) == (422, {"parameter": "date"})


def test_requests_per_second_are_those_of_the_busiest_minute(town: World) -> None:
    kpis = {row["id"]: row for row in ask(town)["kpis"]}
    # Three requests in one window of ten minutes: a step of 15 minutes has up to twice as many.
    assert kpis["requests"]["value"] == pytest.approx(3 / 60)
    assert kpis["requests"]["how"] == "rate of the busiest minute"
    assert kpis["requests"]["note"] == "no more were asked for"
    weekly = {row["id"]: row for row in ask(town, period="weekly", date="2026-10-20")["kpis"]}
    assert weekly["requests"]["value"] == pytest.approx(3 / 60)


@pytest.mark.parametrize("lang", ["en", "ko"])
@pytest.mark.parametrize("period", ["daily", "weekly"])
def test_the_page_shows_the_figures_of_the_json(town: World, lang: str, period: str) -> None:
    report = ask(town, lang=lang, period=period)
    root = tree(page(town, lang=lang, period=period))
    assert root.get("lang") == lang
    shown = QUANTITIES[lang]
    values = ["".join(tile.itertext()) for tile in root.findall(".//*[@class='value']")]
    assert values[0] == f"{report['now']['requests']:,}"
    assert values[1] == shown.quantity(report["now"]["p95"], "ms").replace(" ", "")
    assert values[2] == shown.percent(report["now"]["errorRate"]).replace(" ", "")
    for row, cells in zip(report["routes"], rows(root, "routes-time"), strict=True):
        assert cells[1] == f"{row['requests']:,}"
        assert cells[3] == shown.quantity(row["p95"], "ms")
        assert cells[7] == shown.change(row["change"])
    for row, cells in zip(report["kpis"], rows(root, "key-figures"), strict=True):
        assert cells[3].startswith(shown.quantity(row["value"], row["unit"]))
        assert cells[4] == PHRASES.say(lang, f"status_{row['status']}")
    (uptime,) = rows(root, "uptime")
    assert uptime[2] == shown.percent(report["uptime"][0]["share"], 5)
    assert uptime[3] == shown.duration(report["uptime"][0]["downSeconds"])
    assert len(root.findall(".//svg[@role='img']")) >= 2


def test_the_page_draws_no_line_where_nothing_is_known(town: World) -> None:
    root = tree(page(town))
    (p50,) = [
        [path.get("d", "") for path in svg.findall(".//path[@class='p50']")]
        for svg in root.findall(".//section[@class='card']/svg")
        if svg.find(".//path[@class='p50']") is not None
    ]
    assert len(p50) == 1  # from six o'clock on
    assert root.findall(".//rect[@class='gap']")


def test_nothing_from_outside_becomes_markup(town: World) -> None:
    html = page(town).html
    root = tree(page(town))
    assert {"script", "img", "link", "iframe", "a"}.isdisjoint(part.tag for part in root.iter())
    assert not any(name.startswith("on") for part in root.iter() for name in part.attrib)
    assert not any("style" in part.attrib for part in root.iter())
    assert re.search(r"https?://|url\((?!#)|@import|[\x00-\x08\u202e]", html) is None
    assert "&lt;script&gt;alert(" in html


def test_the_policy_lets_the_style_of_the_page_apply_and_nothing_else(town: World) -> None:
    found = page(town)
    digest = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    assert found.policy.startswith(f"default-src 'none'; style-src 'sha256-{digest}';")
    root = tree(found)
    (style,) = root.findall(".//style")
    assert style.text == STYLE
    assert [meta.get("content") for meta in root.findall(".//meta[@http-equiv]")] == [found.policy]
    assert "@media print" in STYLE
    assert "prefers-color-scheme:dark" in STYLE


def test_texts_of_both_languages_have_the_same_keys_and_placeholders() -> None:
    assert list(PHRASES.differences()) == []


@pytest.mark.parametrize(
    ("kind", "day", "first", "hours"),
    [
        ("daily", date(2026, 10, 24), "2026-10-24", 24),
        ("daily", date(2026, 10, 25), "2026-10-25", 25),
        ("daily", date(2026, 3, 29), "2026-03-29", 23),
        ("weekly", date(2026, 10, 25), "2026-10-19", 169),
        ("daily", None, "2026-10-26", 24),
        ("weekly", None, "2026-10-19", 169),
    ],
)
def test_days_and_weeks_are_those_of_the_zone(
    kind: str, day: date | None, first: str, hours: int
) -> None:
    now_s = datetime(2026, 10, 27, 0, 30, tzinfo=BERLIN).timestamp()
    found = period_of(kind, day, now_s, BERLIN)
    assert str(found.first) == first
    assert (found.to_s - found.from_s) / 3600 == hours
    edges = found.edges(found.from_s, found.to_s)
    assert (edges[0], edges[-1]) == (found.from_s, found.to_s)
    assert list(edges) == sorted(set(edges))
    assert datetime.fromtimestamp(found.before_s, BERLIN).hour == 0


def test_a_zone_of_quarter_hours_has_its_own_days() -> None:
    zone = ZoneInfo("Asia/Kathmandu")
    found = period_of("daily", date(2026, 10, 24), 2e9, zone)
    assert datetime.fromtimestamp(found.from_s, zone).isoformat() == "2026-10-24T00:00:00+05:45"


def test_attributes_and_texts_are_escaped_at_one_place() -> None:
    made = el("p", '<b>&"', el("i", "x"), title='"<&', class_="a")
    assert made == '<p title="&quot;&lt;&amp;" class="a">&lt;b&gt;&amp;&quot;<i>x</i></p>'


def test_a_collector_serves_the_page_under_its_policy(collector: Collector) -> None:
    url = f"{collector.api.base}/report?format=html&tz=Asia/Seoul"
    headers = {"Authorization": f"Bearer {collector.api.token}", "Accept-Language": "ko-KR,en;q=.5"}
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=10) as answer:
        text = answer.read().decode()
        policy = answer.headers["content-security-policy"]
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert answer.headers.get_all("content-security-policy") == [policy]
    assert "frame-ancestors 'none'" in policy
    assert "sha256-" in policy
    assert ElementTree.fromstring(text.removeprefix("<!doctype html>")).get("lang") == "ko"
    assert collector.api.get("/report", period="weekly")["period"] == "weekly"
    for query, word in (
        ({"date": "2026-13-01"}, "a day such as"),
        ({"format": "pdf"}, "json, html"),
    ):
        status, body = collector.api.request("/report", **query)
        assert (status, body["error"]["code"]) == (422, "bad_parameter")
        assert word in body["error"]["message"]
    assert {DATE.name, FORMAT.name, REPORT_PERIOD.name} == {"date", "format", "period"}


def test_alerts_of_thresholds_have_names_for_people(
    town: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    fired = instant(DAY.timestamp() + 7200)
    vm = {"metric": "cpuUsage", "instance": "vm-1", "environment": "", "service": "", "route": ""}
    alerts = (
        an_alert("1", rule_id="threshold.errorRate", route="", title="shop: errorRate",
                 since=fired, fired_at=fired),
        an_alert("2", rule_id="threshold.cpuUsage", title="vm vm-1: cpuUsage", since=fired,
                 fired_at=fired, **vm),
        an_alert("3", rule_id="own", title="shop: Basket fails", since=fired, fired_at=fired),
    )  # fmt: skip
    monkeypatch.setattr(town.reporter.alerts, "between", lambda *_: alerts, raising=False)
    assert [row.title for row in body(town).alerts] == [
        "Error rate of shop", "CPU usage of vm-1", "shop: Basket fails",
    ]  # fmt: skip
    assert [row.status for row in body(town).kpis if row.id == "requests"] == ["notTested"]
