"""One word for one thing in every Korean text, and a word for every value that the page shows."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

import trimtab_collector
from trimtab_collector.alerts.metrics import METRICS
from trimtab_collector.contract.callers import Role
from trimtab_collector.contract.kpis import Kpi
from trimtab_collector.notify.kinds import KINDS
from trimtab_collector.notify.languages import LANGUAGES
from trimtab_collector.reads.analysis import ISSUE_RULES

ROOT = Path(__file__).parents[2]
WORDS = ROOT / "collector" / "dashboard" / "src" / "words"
HANGUL = re.compile("[가-힣]")
_TYPES = {".py", ".js", ".json", ".toml", ".html"}


def glossary() -> Iterator[tuple[str, list[str], list[str]]]:
    """Of each row: the English word, its Korean ones, and what does not stand for it."""
    for line in (ROOT / "docs" / "words.md").read_text().splitlines():
        cells = [each.strip() for each in line.strip("|").split("|")]
        if line.startswith("|") and HANGUL.search(cells[1]):
            yield cells[0], cells[1].split(", "), [each for each in cells[3].split(", ") if each]


def page_words(language: str) -> dict[str, str]:
    """Every text of the page, by its key."""
    found: dict[str, str] = {}
    for file in (WORDS / language).glob("*.json"):
        found |= json.loads(file.read_text())
    return found


def korean_texts() -> dict[Path, str]:
    """Every file with Korean of the collector and its page."""
    roots = (ROOT / "collector" / "dashboard" / "src", Path(trimtab_collector.__file__).parent)
    files = (file for root in roots for file in root.rglob("*") if file.suffix in _TYPES)
    texts = {file: file.read_text() for file in files if "static" not in file.parts}
    return {file: text for file, text in texts.items() if HANGUL.search(text)}


def test_one_word_stands_for_one_thing_in_every_korean_text() -> None:
    texts = korean_texts()
    assert len(texts) >= 12
    wrong = [
        f"{file.name}: {word} (in docs/words.md: {', '.join(right)})"
        for _, right, others in glossary()
        for word in others
        for file, text in texts.items()
        if word in text
    ]
    assert wrong == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_metric_has_one_name_on_the_page_and_in_messages(language: str) -> None:
    shown = page_words(language)
    names = LANGUAGES[language].metrics
    assert names.keys() == METRICS.keys()
    assert {each: shown[f"metric.{each}"] for each in names} == names


def test_every_word_of_the_glossary_is_in_use() -> None:
    whole = "\n".join(korean_texts().values())
    rows = list(glossary())
    assert len(rows) >= 20
    assert [word for _, right, _ in rows for word in right if word not in whole] == []


VALUES = {
    "metric": METRICS,
    "issue": [rule.type for rule in ISSUE_RULES],
    "kpi": get_args(get_type_hints(Kpi)["figure"]),
    "channelKind": KINDS,
    "role": [role.name.lower() for role in Role if role is not Role.ANYONE],
    "operator": ("gt", "gte", "lt", "lte", "eq"),
    "alertState": ("pending", "firing", "keeping", "resolved", "expired", "dismissed"),
    "held": ("silenced", "inhibited", "flapping", "agentMissing"),
    "silenceState": ("pending", "active", "expired"),
    "agentState": ("sending", "silent", "gone"),
    "delivered": ("pending", "sent", "dead", "merged", "skipped"),
    "noticeKind": {
        key.removeprefix("title.") for key in LANGUAGES["en"].words if key.count(".") == 1
        and key.startswith("title.")
    },
    "reason": ("slow", "failed", "sample"),
    "source": ("default", "api", "file"),
    "noData": ("keep", "alert", "ok"),
    "severity": ("warning", "critical"),
    "state": ("ok", "warning", "critical", "empty", "late", "quiet", "lost"),
    "tokenOrigin": ("console", "api", "first start", "settings"),
    "kind": ("alert", "agent", "deploy", "mark", "damage", "loss", "nPlusOne"),
}  # fmt: skip


@pytest.mark.parametrize("language", ["en", "ko"])
@pytest.mark.parametrize("group", VALUES)
def test_every_value_that_the_page_shows_has_a_word(language: str, group: str) -> None:
    words = page_words(language)
    assert [each for each in VALUES[group] if f"{group}.{each}" not in words] == []
