"""The texts of messages: what they say, in which order, and that no name can do harm in them."""

import re
import string
from dataclasses import replace
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.notices import AT_S, notice
from trimtab_collector.alerts.metrics import METRICS
from trimtab_collector.contract.explanation import CAUSES
from trimtab_collector.notify.channel import Message
from trimtab_collector.notify.languages import LANGUAGES
from trimtab_collector.notify.notice import Change, Member, Notice, NoticeKind, Where, pack, unpack
from trimtab_collector.notify.texts import Texts, WrittenMessage, clean, moment

UTC = ZoneInfo("UTC")
KINDS: tuple[NoticeKind, ...] = (
    "firing",
    "escalated",
    "updated",
    "reminder",
    "resolved",
    "expired",
    "flapping",
    "test",
)


def written(
    *notices: Notice, lang: str = "en", tz: str = "UTC", sent_s: float = AT_S, base_url: str = ""
) -> WrittenMessage:
    texts = Texts(lang, ZoneInfo(tz), base_url)
    return texts.write(Message("k", notices, sent_s))


def places(text: str) -> set[str]:
    return {name.lower() for _, name, _, _ in string.Formatter().parse(text) if name}


def test_all_languages_have_the_same_keys_and_fill_only_places_that_exist() -> None:
    english, korean = LANGUAGES["en"], LANGUAGES["ko"]
    assert set(english.words) == set(korean.words)
    assert set(english.metrics) == set(korean.metrics)
    assert {k: len(v) for k, v in english.hints.items()} == {
        k: len(v) for k, v in korean.hints.items()
    }
    for key, text in english.words.items():
        if not key.startswith(("title.", "lead.")):
            assert places(text) == places(korean.words[key]), key
    assert {"warning", "critical"} == {
        k.partition(".")[2] for k in english.words if k.startswith("severity.")
    }


def test_every_cause_of_a_slow_request_has_a_name_that_people_read() -> None:
    named = {key.partition(".")[2] for key in LANGUAGES["en"].words if key.startswith("part.")}
    assert named == set(CAUSES)


def test_every_metric_that_a_rule_may_judge_has_a_name_that_people_read() -> None:
    named = set(LANGUAGES["en"].metrics)
    assert set(METRICS) - named == set()


def test_the_title_says_the_most_important_first() -> None:
    found = written(notice())
    assert found.title == (
        "[critical] checkout /cart/{id}: response time p95 5.23 s over 5 s (since 14:03)"
    )


def test_a_message_says_what_where_since_when_what_changed_and_what_to_look_at() -> None:
    changes = (
        Change("mark", "1.4.2", "1.4.1 → 1.4.2", AT_S - 200, mark="deploy"),
        Change("share", "database", "GET /cart", share=0.81),
        Change("process", "shop vm#1", "live", share=1.25),
    )
    members = tuple(
        Member(Where(instance=f"web-{n}/0"), 5000.0 + n, "critical", AT_S - 120) for n in (1, 2)
    )
    links = (("alerts", "/api/performance/alerts?state=all"),)
    full = replace(
        notice(), changes=changes, members=members, members_left_out=3, links=links,
        description="Call the shop team.",
    )  # fmt: skip
    body = written(full, base_url="https://trimtab.example.com/").plain()
    for line in (
        "Response time p95 of checkout /cart/{id}: 5.23 s over 5 s, since 14:03 UTC.",
        "Rule:         Slow pages",
        "Worst:        7 s",
        "Duration:     2 min",
        "Version:      1.4.2",
        "  - web-1/0: 5.001 s (critical, since 14:03)",
        "  - and 3 more",
        "  - 14:01: deploy 1.4.2 (1.4.1 → 1.4.2)",
        "  - 81 % of the change is database (GET /cart)",
        "  - shop vm#1 takes 125 % of a core (live)",
        "  - Call the shop team.",
        "  - trimtab alert list --service checkout",
    ):
        assert line in body.splitlines()
    assert "GET /explain" in body
    # Nobody's browser has a token: an address would lead to a refusal.
    assert "https://" not in body


def test_a_deploy_is_told_as_one_in_each_language() -> None:
    change = Change("mark", "1.4.2", "1.4.1 → 1.4.2", AT_S - 200, mark="deploy")
    body = written(notice(changes=(change,)), lang="ko").plain()
    assert "  - 14:01: 배포 1.4.2 (1.4.1 → 1.4.2)" in body.splitlines()
    # Other kinds are words of whoever sets the marks.
    own = written(notice(changes=(replace(change, mark="migration", detail=""),)), lang="ko")
    assert "  - 14:01: migration 1.4.2" in own.plain().splitlines()


PAGES = (
    ("alert", "/performance/dashboard/alert?id=a1"),
    ("service", "/performance/dashboard/service?service=caf%C3%A9"),
    ("alerts", "/api/performance/alerts?state=all"),
)


def test_with_an_address_a_message_leads_to_pages_and_names_no_command() -> None:
    found = written(notice(links=PAGES), base_url="https://t.example/x/")
    base = "https://t.example/x/performance/dashboard"
    assert found.pages == (
        ("This alert", f"{base}/alert?id=a1"),
        ("The service around that time", f"{base}/service?service=caf%C3%A9"),
    )
    assert [text for text, _ in found.links] == ["Alerts there"]
    lines = found.plain().splitlines()
    assert lines[lines.index("Open:") + 1] == f"  - This alert: {base}/alert?id=a1"
    assert "trimtab alert list" not in found.plain()
    assert "trimtab alert list" in written(notice(links=PAGES)).plain()
    korean = written(notice(links=PAGES), lang="ko", base_url="https://t.example").plain()
    assert "바로 가기:" in korean.splitlines()


def test_without_an_address_of_the_collector_there_are_no_links() -> None:
    assert written(notice(links=(("alerts", "/x"),))).links == ()


def test_a_link_is_never_more_than_a_path_below_the_address() -> None:
    hostile = (("alerts", "https://evil.example"), ("routes", "javascript:x"), ("explain", "/a b"))
    assert written(notice(links=hostile), base_url="https://t.example").links == ()


def test_times_are_those_of_the_channel_with_the_date_when_it_is_not_today() -> None:
    assert "(since 23:03)" in written(notice(), tz="Asia/Seoul").title
    later = written(notice(), sent_s=AT_S + 86_400).title
    assert "(since 2025-11-30 14:03)" in later
    # After midnight in Seoul, it was yesterday there.
    assert (
        "(since 2025-11-30 23:03)" in written(notice(), tz="Asia/Seoul", sent_s=AT_S + 7200).title
    )
    assert moment(AT_S, AT_S, ZoneInfo("Europe/Berlin"), zone=True) == "15:05 CET"


def test_korean_messages_are_korean() -> None:
    found = written(notice(), lang="ko", tz="Asia/Seoul")
    assert (
        found.title
        == "[심각] checkout /cart/{id}: 응답 시간 p95 5.23초, 임계값 5초 초과 (23:03부터)"
    )
    assert "확인할 것" in found.plain()


@pytest.mark.parametrize("lang", sorted(LANGUAGES))
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_can_be_written_also_with_nothing_known(lang: str, kind: NoticeKind) -> None:
    bare = replace(
        notice(kind), value=None, worst=None, threshold=None, where=Where(), operator="?",
        metric="my.metric", severity="strange", changes=(Change("mark", "x"), Change("new", "y")),
    )  # fmt: skip
    for each in (notice(kind), bare):
        found = written(each, lang=lang)
        assert found.title
        assert "{" not in found.title.replace("{id}", "")
        assert found.lead in found.plain()


def test_a_recovery_says_how_long_it_lasted_and_has_no_hints() -> None:
    found = written(notice("resolved", value=400.0))
    assert (
        found.title
        == "[resolved] checkout /cart/{id}: response time p95 back to 400 ms after 2 min"
    )
    assert "It lasted 2 min" in found.lead
    assert "What to look at" not in found.plain()


def test_a_recovery_whose_beginning_never_left_says_so() -> None:
    texts = Texts("en", UTC, "")
    found = texts.write(Message("k", (notice("resolved"),), AT_S, stands_for=2))
    assert "before a message could be delivered" in found.lead


def test_a_worst_value_of_zero_is_a_value() -> None:
    found = written(replace(notice(), metric="cacheHitRate", unit="ratio", operator="lt",
                            threshold=0.5, value=0.2, worst=0.0))  # fmt: skip
    assert ("Worst", "0 %") in found.facts


def test_no_figure_is_rounded_onto_the_line_that_it_crossed() -> None:
    members = (Member(Where(service="a"), 0.7999, "critical", AT_S),) * 2
    fresh = replace(notice(), metric="cacheHitRate", unit="ratio", operator="lt", threshold=0.8,
                    value=0.79994, worst=0.7999, members=members)  # fmt: skip
    found = written(fresh)
    assert "79.99 % under 80 %" in found.title
    assert ("Worst", "79.99 %") in found.facts
    assert "  - a: 79.99 % (critical, since 14:05)" in found.plain().splitlines()
    over = replace(fresh, kind="resolved", value=0.9, ended_s=AT_S)
    assert written(over).lead.endswith("the worst was 79.99 %.")


@pytest.mark.parametrize(
    ("operator", "english", "korean"),
    [
        ("gt", "6 s over 5 s", "6초, 임계값 5초 초과"),
        ("gte", "5 s, at or over 5 s", "5초, 임계값 5초 이상"),
        ("lt", "4 s under 5 s", "4초, 임계값 5초 미만"),
        ("lte", "5 s, at or under 5 s", "5초, 임계값 5초 이하"),
    ],
)
def test_the_side_of_a_line_is_told_with_the_line_or_without(
    operator: str, english: str, korean: str
) -> None:
    met = replace(notice(), operator=operator, value=1000.0 * int(english[0]))
    assert f"p95 {english} (" in written(met).title
    assert f"p95 {korean} (" in written(met, lang="ko").title


def test_a_recovery_reads_well_also_of_a_count_a_time_and_nothing() -> None:
    silence = notice("resolved", metric="agentSilence", unit="s", threshold=25.0, value=0.0)
    assert written(silence).title.endswith("silence back to 0 s after 2 min")
    rate = notice("resolved", metric="requestsPerSecond", unit="1/s", threshold=20, value=17.9)
    assert written(rate).title.endswith("request rate back to 17.9/s after 2 min")
    gone = notice("resolved", value=None)
    assert written(gone).title.endswith("response time p95 recovered after 2 min")
    assert "값 없음" not in written(gone, lang="ko").lead
    assert "회복되었습니다. 현재 5.23초," in written(notice("resolved"), lang="ko").lead


def test_a_digest_lists_alerts_the_most_severe_first() -> None:
    texts = Texts("en", UTC, "")
    some = (
        notice("resolved", 1, "a"),
        notice("firing", 1, "b", severity="warning"),
        notice("firing", 1, "c"),
    )
    found = texts.write(Message("k", some, AT_S))
    assert found.title == "[digest] 3 alerts, 1 of them critical"
    (_, lines), *_ = found.sections
    assert [line.partition("]")[0] for line in lines] == [*("[critical", "[warning", "[resolved")]


def test_a_digest_names_thirty_and_counts_the_others() -> None:
    many = tuple(notice("firing", 1, f"i{n}") for n in range(500))
    found = Texts("en", UTC, "").write(Message("k", many, AT_S))
    (_, lines), *_ = found.sections
    assert len(lines) == 31
    assert lines[-1] == "and 470 more"


HOSTILE = "a\r\nBcc: x@y\x1b]0;t\x07\u202egnp.exe\u2028<!channel>\x00"


def test_a_name_becomes_one_clean_line() -> None:
    assert clean(HOSTILE) == "a Bcc: x@y ]0;t gnp.exe <!channel>"
    assert clean("x" * 500) == "x" * 119 + "…"


@given(st.text(max_size=60))
def test_no_name_breaks_a_line_whatever_it_is(name: str) -> None:
    hostile = replace(
        notice(), rule_name=name, metric=name, where=Where(name, name, name, name, name)
    )
    found = written(hostile)
    for text in (found.title, found.lead, *(text for _, text in found.facts)):
        assert text.isprintable()
        assert not re.search("[\u200e\u200f\u202a-\u202e\u2066-\u2069]", text)


def test_a_notice_is_kept_as_json_and_comes_back() -> None:
    full = notice(changes=(Change("share", "database", share=0.5),), recipients=("ops", "a@b.c"))
    assert unpack(pack(full)) == full
    assert unpack(pack(notice(value=float("inf")))) == notice(value=None)
    assert unpack(b"{") is unpack("[1]") is None
