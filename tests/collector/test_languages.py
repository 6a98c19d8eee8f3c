"""Which language a request gets, and that all languages say the same things."""

import re
from typing import Any

import pytest

from support.stores.planted import NOW_S
from trimtab_collector.contract.errors import ApiError
from trimtab_collector.contract.languages import LANG, LANGUAGES, Phrases, accepted, language_of
from trimtab_collector.contract.parameters import RANGE, Parameters, parse
from trimtab_collector.reads.advice import ADVICE_RULES
from trimtab_collector.reads.analysis import ISSUE_RULES
from trimtab_collector.reads.judging.wording import PHRASES


def parameters(**query: str) -> Parameters:
    return parse((*RANGE, LANG), query.items(), NOW_S)


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("", "en"),
        ("ko", "ko"),
        ("ko-KR,ko;q=0.9,en-US;q=0.8,en;q=0.7", "ko"),
        ("de, en;q=0.5, ko;q=0.6", "ko"),
        ("KO", "ko"),
        ("en;q=0.9, ko;q=0.1", "en"),
        ("ko;q=0", "en"),
        ("*", "en"),
        ("de", "en"),
        ("ko;q=2, ;;,=", "en"),
        ("kok", "en"),
        (",".join(["de"] * 1000) + ",ko", "en"),
    ],
)
def test_the_header_chooses_the_language_it_likes_best(header: str, language: str) -> None:
    assert accepted(header) == language


def test_a_request_without_a_language_is_answered_in_english() -> None:
    assert language_of(parameters(lang="ko")) == "ko"
    assert language_of(parameters()) == "en"


def test_another_language_is_refused_with_those_there_are() -> None:
    with pytest.raises(ApiError, match="one of en, ko"):
        parameters(lang="de")


def test_every_language_has_the_same_keys_and_placeholders() -> None:
    assert list(PHRASES.differences()) == []


@pytest.mark.parametrize(
    ("korean", "expected"),
    [
        ({"a": "{count}건"}, "only one of en and ko has b"),
        ({"a": "{number}건", "b": ""}, "a: expected ['count'] in ko, got ['number']"),
    ],
)
def test_languages_that_do_not_agree_are_found(korean: dict[str, str], expected: str) -> None:
    phrases = Phrases({"en": {"a": "{count:,} of them", "b": ""}, "ko": korean})
    assert expected in list(phrases.differences())


def test_korean_texts_are_korean() -> None:
    hangul = re.compile("[가-힣]")
    plain = {"alert.message", "say.advice"}  # put together from texts
    settings = {key for key in PHRASES.keys if key.endswith((".set", ".change"))}
    for key in PHRASES.keys - plain - settings:
        blank: Any = _Anything()
        text = PHRASES.say("ko", key, **dict.fromkeys(_names(key), blank))
        assert hangul.search(text) or "p95" in text, key


def _names(key: str) -> set[str]:
    return set(re.findall(r"{(\w+)", PHRASES._texts["ko"][key]))


class _Anything:
    """What any placeholder takes."""

    def __format__(self, specification: str) -> str:
        return "…"


def test_every_rule_has_its_texts() -> None:
    keys = PHRASES.keys
    for rule in ISSUE_RULES:
        assert {f"issue.{rule.type}.what", f"issue.{rule.type}.do"} <= keys
        assert {f"recommend.{rule.answer}.what", f"recommend.{rule.answer}.impact"} <= keys
    for advised in ADVICE_RULES:
        for part in ("title", "set", "change", "why", "impact", "fine"):
            assert f"advice.{advised.type}.{part}" in keys
        assert bool(advised.limit) == (f"advice.{advised.type}.set_none" in keys)
    known = {key.split(".")[1] for key in keys if key.startswith("advice.")}
    assert known == {each.type for each in ADVICE_RULES}
    known = {key.split(".")[1] for key in keys if key.startswith("issue.")}
    assert known == {each.type for each in ISSUE_RULES}
    assert LANGUAGES == ("en", "ko")


def test_a_name_does_not_turn_the_sentence_around_it() -> None:
    phrases = Phrases({"en": {"a": "{name} has {count}"}, "ko": {"a": "{name} {count}"}})
    assert phrases.say("en", "a", name="\u202eshop\u2069\u200f", count=3) == "shop has 3"
