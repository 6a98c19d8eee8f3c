"""What a message tells people to ask: paths, parameters and values exist, and commands run."""

import json
import re
import shlex
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit
from zoneinfo import ZoneInfo

import pytest

from support.notices import AT_S, notice
from trimtab_collector.api.endpoints import ENDPOINTS
from trimtab_collector.contract.kinds import Moment
from trimtab_collector.notify.channel import Message
from trimtab_collector.notify.languages import LANGUAGES
from trimtab_collector.notify.notice import Change, Notice, Promise, Where
from trimtab_collector.notify.texts import Texts

UTC = ZoneInfo("UTC")
ASKED = re.compile(r"GET (/[a-z/-]+)(\?[A-Za-z0-9=&]+)?")


def plain(each: Notice, lang: str = "en", base_url: str = "https://trimtab.example.com") -> str:
    return Texts(lang, UTC, base_url).write(Message("k", (each,), AT_S)).plain()


def commands(each: Notice) -> list[str]:
    lines = plain(each).splitlines()
    begin = lines.index("Commands that show more:") + 1
    return [line.removeprefix("  - ") for line in lines[begin:] if line.startswith("  - ")]


@pytest.mark.parametrize("lang", sorted(LANGUAGES))
def test_every_path_parameter_and_value_that_a_hint_names_exists(lang: str) -> None:
    table = {path: row for row in ENDPOINTS if row.method == "GET" for path in row.paths}
    found = [
        asked
        for texts in LANGUAGES[lang].hints.values()
        for text in texts
        for asked in ASKED.findall(text)
    ]
    assert len(found) > 12
    for path, query in found:
        known = {each.name: each for each in table[path].parameters}
        for name, value in parse_qsl(query.removeprefix("?"), strict_parsing=bool(query)):
            known[name].read(value, Moment(AT_S, UTC))


PAGE = "/performance/dashboard/alert?id=1"


@pytest.mark.parametrize("lang", sorted(LANGUAGES))
def test_hints_name_pages_where_the_message_leads_to_pages(lang: str) -> None:
    language = LANGUAGES[lang]
    texts = Path(__file__).parents[2] / "collector" / "dashboard" / "src" / "words" / lang
    shown = {
        text
        for name in ("shell", "service")
        for text in json.loads((texts / f"{name}.json").read_text()).values()
    }
    for phrase in language.pages.values():
        assert set(re.findall('"([^"]+)"', phrase)) <= shown
    for metric in language.hints:
        for kind in ("errors", "latency"):
            promise = Promise(kind, 0.999, 30, None, 0.42, 3600, 300)
            for plainly in (False, True):
                about = notice(metric=metric, links=(("alert", PAGE),), promise=promise)
                message = Message("k", (about,), AT_S, plain=plainly)
                body = Texts(lang, UTC, "https://trimtab.example.com").write(message).plain()
                assert "GET /" not in body, metric
                assert not re.search(r"- [a-z]", body), metric


def test_a_message_states_no_comparison_that_is_not_true_now() -> None:
    about = notice("updated", metric="cpuUsage", unit="ratio", threshold=0.9, value=0.869)
    found = Texts("en", UTC, "").write(Message("k", (about,), AT_S))
    assert "CPU usage 86.9 %, was over 90 % (since 14:03)" in found.title
    assert "86.9 %, was over 90 %, since 14:03" in found.lead
    about = replace(about, value=0.95)
    assert "CPU usage 95 % over 90 %" in Texts("en", UTC, "").title(about, AT_S)
    korean = Texts("ko", UTC, "").title(replace(about, value=0.869), AT_S)
    assert "86.9%, 임계값 90% 초과였음" in korean


def test_the_silence_of_an_agent_names_it_once() -> None:
    about = notice(metric="agentSilence", unit="s", threshold=25.0, value=40.0,
                   where=Where(subject="vm-1", subject_kind="agent"))  # fmt: skip
    lead = Texts("en", UTC, "").write(Message("k", (about,), AT_S)).lead
    assert lead.startswith("Agent silence of agent vm-1: 40 s over 25 s")


def test_paths_of_a_hint_are_the_same_in_every_language() -> None:
    english, korean = LANGUAGES["en"].hints, LANGUAGES["ko"].hints
    for metric, texts in english.items():
        asked = [ASKED.findall(text) for text in texts]
        assert asked == [ASKED.findall(text) for text in korean[metric]], metric


@pytest.mark.parametrize("metric", ["responseTime", "p95", "p99"])
def test_what_is_slow_is_explained_before_single_requests_are_looked_for(metric: str) -> None:
    # Those are kept from a second on: below, there would be none.
    body = plain(notice(metric=metric, value=340.0, threshold=300.0))
    assert body.index("GET /explain?against=previous") < body.index("GET /slow-requests")
    assert "1000 ms unless set" in body


def test_a_message_has_commands_instead_of_addresses_that_open_for_nobody() -> None:
    path = "/api/performance/explain?service=checkout&from=2025-11-30T13:48:00Z"
    first, second = commands(notice(links=(("alerts", "/x"), ("explain", path))))
    assert first == "trimtab alert list --service checkout"
    words = shlex.split(second)
    assert words[:2] == ["curl", "-H"]
    assert words[3] == f"https://trimtab.example.com{path}"
    assert urlsplit(words[3]).path == "/api/performance/explain"
    over = notice("resolved", links=())
    assert commands(over) == ["trimtab alert list --service checkout --state all"]


@pytest.mark.parametrize("service", ["a; rm -rf /", "$(id)", "it's", "`id`", 'a"b'])
def test_no_name_of_a_service_does_anything_in_a_shell(service: str) -> None:
    (command,) = commands(notice(where=Where(service=service)))
    assert shlex.split(command) == ["trimtab", "alert", "list", "--service", service]


def test_the_message_of_an_objective_says_what_was_promised_and_what_is_left() -> None:
    failing = Promise("errors", 0.999, 30, None, 0.42, 3600, 300)
    about = notice(
        metric="burnRate", unit="", operator="gte", value=22.0, threshold=14.4,
        where=Where(service="shop", subject="few errors", subject_kind="slo"), promise=failing,
    )  # fmt: skip
    body = plain(about)
    for line in (
        "Objective:    few errors",
        "Promise:      99.9 % of requests without an error, over 30 days",
        "Budget left:  42 %",
        "Burns over:   1 h, and still over the last 5 min",
    ):
        assert line in body.splitlines()
    assert "Instance" not in body
    assert "GET /slow-requests?reason=failed" in body
    slow = replace(failing, kind="latency", below_ms=400.0, left=-0.5)
    body = plain(replace(about, promise=slow))
    assert "99.9 % of requests within 400 ms and without an error, over 30 days" in body
    assert "none, it is overdrawn by 50 %" in body
    assert "reason=failed" not in body
    assert "GET /routes?by=p95" in body


@pytest.mark.parametrize(
    ("kind", "name", "title"),
    [
        ("agent", "web-1", "[critical] agent web-1:"),
        ("part", "compaction", "[critical] compaction:"),
        ("slo", "fast", '[critical] objective "fast":'),
    ],
)
def test_what_an_alert_is_about_is_called_what_it_is(kind: str, name: str, title: str) -> None:
    found = Texts("en", UTC, "").write(
        Message("k", (notice(where=Where(subject=name, subject_kind=kind)),), AT_S)
    )
    assert found.title.startswith(title)
    assert (kind.replace("slo", "objective").capitalize(), name) in found.facts


def test_a_share_of_a_change_is_at_most_all_of_it_and_a_rule_has_a_name_people_read() -> None:
    each = notice(rule_name="responseTime", changes=(Change("share", "app", "GET /a", None, 1.01),))
    text = plain(each)
    assert "100 % of the change is the app's own code (GET /a)" in text
    assert "Rule:         response time p95" in text


def test_a_mark_says_its_kind_and_the_place_where_that_is_not_the_alert_s() -> None:
    changes = (
        Change("mark", "1.4.2", "by ada", AT_S - 60, mark="deploy"),
        Change("mark", "tax", "", AT_S - 60, mark="config", service="billing", environment="live"),
    )
    lines = plain(notice(changes=changes)).splitlines()
    assert "  - 14:04: deploy 1.4.2 (by ada)" in lines
    assert "  - 14:04: config tax of billing live" in lines
