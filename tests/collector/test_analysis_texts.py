"""What an analysis says in each language, as an alert, and as sentences."""

from collections.abc import Callable
from typing import Any

import pytest

from support.stores.planted import Planted
from trimtab_collector.contract.analysis import Analysis
from trimtab_collector.reads.advice import advice
from trimtab_collector.reads.analysis import alert_of, analysis, sentences

DURATION = "db.client.operation.duration"
QUERY: dict[str, Any] = {"db_query_text": "SELECT ?", "db_system_name": "postgresql"}


@pytest.fixture
def planted() -> Planted:
    return Planted()


def test_texts_come_in_the_language_asked_for(planted: Planted) -> None:
    planted.requests(1500, each=100)
    english, korean = (planted.ask("/analysis", lang=name) for name in ("en", "ko"))
    assert english["issues"][0]["description"].startswith("Response times of shop are high")
    assert korean["issues"][0]["description"].startswith("shop의 응답이 느립니다")
    assert korean["issues"][0]["metrics"] == english["issues"][0]["metrics"]


def judged(planted: Planted, language: str) -> Analysis:
    planted.settle()
    return analysis(planted.reader, planted.parameters("/analysis", lang=language))


def test_what_is_not_healthy_is_an_alert(planted: Planted) -> None:
    planted.durations(DURATION, 0.6, each=100, **QUERY)
    found = judged(planted, "en")
    alert = alert_of(found, "en")
    assert alert is not None
    assert (alert.type, alert.title) == ("performance", "An issue in shop")
    assert alert.message.startswith("Queries of shop are slow")
    assert alert.metadata == {"analysis": found}
    planted.requests(1500, each=100)
    planted.requests(1500, each=100, service="books")
    alert = alert_of(judged(planted, "ko"), "ko")
    assert alert is not None
    assert (alert.type, alert.title) == ("critical", "전체 서비스: 심각한 문제 2건")


def test_what_is_healthy_is_no_alert(planted: Planted) -> None:
    planted.requests(5, each=100)
    assert alert_of(judged(planted, "en"), "en") is None


@pytest.mark.parametrize(
    ("plant", "language", "expected"),
    [
        (lambda _: None, "en", ["No requests were measured in this time."]),
        (lambda each: each.requests(5, each=100), "en",
         ["All is well: no rule found anything wrong.",
          "shop answers quickly: 99% of requests within 5 ms.",
          "shop answers almost without errors (0.00%)."]),
        (lambda each: each.requests(5, each=100), "ko",
         ["모두 정상입니다. 어떤 규칙에서도 문제가 발견되지 않았습니다."]),
    ],
    ids=["nothing", "good", "korean"],
)  # fmt: skip
def test_sentences_have_good_news_too(
    planted: Planted, plant: Callable[[Planted], None], language: str, expected: list[str]
) -> None:
    plant(planted)
    found = judged(planted, language)
    advised = advice(planted.reader, planted.parameters("/advice", lang=language))
    assert sentences(found, advised, language)[: len(expected)] == expected


def test_sentences_begin_with_the_worst(planted: Planted) -> None:
    planted.requests(1500, each=100)
    found = judged(planted, "en")
    advised = advice(planted.reader, planted.parameters("/advice"))
    first = sentences(found, advised, "en")[0]
    assert first == f"{found.issues[0].description} {found.issues[0].recommendation}"
