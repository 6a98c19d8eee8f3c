"""What the overview says of an alert of the analysis, and since when."""

from collections.abc import Iterator
from datetime import UTC, datetime

import msgspec
import pytest

from support.alerts import an_alert
from support.stores.towns import HOUR_S, NOW_S, Town, steady, town
from trimtab_collector.contract.errors import instant
from trimtab_collector.overview.wording import PHRASES
from trimtab_collector.reads.analysis import ISSUE_RULES


@pytest.fixture(scope="module")
def calm() -> Iterator[Town]:
    """An hour in which nothing changes."""
    with town() as place:
        place.fill(NOW_S - HOUR_S, NOW_S, steady(place, "shop"), services=("shop",))
        yield place


def test_an_alert_of_the_analysis_says_what_was_found_and_since_when(calm: Town) -> None:
    def issue(kind: str, severity: str) -> dict[str, str]:
        return {"type": kind, "severity": severity}

    issues = [issue("high_latency", "high"), issue("high_error_rate", "high")]
    found = an_alert(
        "a", metric="analysis", severity="critical", environment="live", service="shop", route="",
        value=2.0, threshold=2.0, operator="gte", since=instant(NOW_S - 86_400),
        severity_since=instant(NOW_S - 600),
        metadata={"analysis": {"issues": [*issues, issue("n_plus_one", "medium")]}},
    )  # fmt: skip
    at = datetime.fromtimestamp(NOW_S - 600, UTC).strftime("%H:%M")
    assert calm.ask(found)["sentence"]["text"] == (
        f"The analysis has found critical issues in shop since {at}: slow requests, "
        "failing requests."
    )
    unnamed = msgspec.structs.replace(found, metadata=None)
    assert calm.ask(unnamed)["sentence"]["text"] == (
        f"The analysis has found critical issues in shop since {at}."
    )
    well = msgspec.structs.replace(found, value=0.0)
    sentence = calm.ask(well)["sentence"]
    assert sentence["severity"] == "warning"
    assert sentence["text"].endswith("it finds none as severe now.")


def test_every_issue_has_a_word_in_the_sentence() -> None:
    for rule in ISSUE_RULES:
        for language in ("en", "ko"):
            assert PHRASES.say(language, f"issue.{rule.type}")


def test_an_alert_without_values_is_not_only_said_to_go_on(calm: Town) -> None:
    found = an_alert(
        "a", environment="live", service="shop", route="", since=instant(NOW_S - 600),
        last_data=instant(NOW_S - 300), no_data="keep",
    )  # fmt: skip
    (told,) = [each for each in calm.ask(found)["happened"] if each["kind"] == "alert"]
    at = datetime.fromtimestamp(NOW_S - 300, UTC).strftime("%H:%M")
    assert told["detail"] == f"goes on, for 10 min so far; no value since {at}"
