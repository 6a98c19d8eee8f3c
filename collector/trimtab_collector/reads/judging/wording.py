"""Findings and advice in words of a language, as the bodies of answers."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from trimtab_collector.contract.advice import AdviceItem, NotLookedAt, SoundSetting
from trimtab_collector.contract.analysis import (
    Evidence,
    Issue,
    NotJudged,
    Place,
    Recommendation,
)
from trimtab_collector.contract.languages import Phrases
from trimtab_collector.reads.judging.advising import AdviceRule, Advised, Unseen
from trimtab_collector.reads.judging.findings import (
    LOW,
    RANKS,
    Clue,
    FoundIssue,
    IssueRule,
    Unjudged,
)
from trimtab_collector.reads.sites import NOWHERE, AppLine

__all__ = ["PHRASES", "Phrasing", "place_text"]

PHRASES: Final = Phrases.of(Path(__file__).parent / "texts")


class Phrasing:
    """Says things in one language."""

    def __init__(self, language: str) -> None:
        self._language = language

    def say(self, key: str, /, **fields: Any) -> str:
        """Return a text of the judging part."""
        return PHRASES.say(self._language, key, **fields)

    def where(self, place: Place) -> str:
        """Return what a place is called in a sentence."""
        return place_text(place) or self.say("where.everything")

    def line(self, line: AppLine) -> str:
        """Return the line to look at first, and what it goes by way of or was called from."""
        if not line.first:
            return self.say("line.unknown")
        if line.helper:
            return self.say("line.helper", line=line.first, helper=line.helper)
        if line.caller:
            return self.say("line.caller", line=line.first, caller=line.caller)
        return line.first

    # ------------------------------------------------ analysis

    def issue(self, rule: IssueRule, finding: FoundIssue) -> Issue:
        """Return a finding in words."""
        line = self.line(finding.clues[0].line if finding.clues else NOWHERE)
        named = {"where": self.where(finding.where), "line": line}
        fields = {**finding.metrics, **finding.fields, **named}
        return Issue(
            type=rule.type,
            severity=finding.severity,
            description=self.say(f"issue.{rule.type}.what", **fields),
            metrics=finding.metrics,
            recommendation=self.say(f"issue.{rule.type}.do", **fields),
            where=finding.where,
            evidence=self.evidence(finding.clues),
        )

    def evidence(self, clues: Iterable[Clue]) -> list[Evidence]:
        """Return evidence in words."""
        return [
            Evidence(
                text=self.say(f"evidence.{clue.key}", **clue.fields),
                where=clue.where,
                query=clue.query,
                site=clue.line.first,
                helper=clue.line.helper,
                caller=clue.line.caller,
            )
            for clue in clues
        ]

    def not_judged(self, rule: IssueRule, found: Unjudged) -> NotJudged:
        """Return why a rule did not judge."""
        reason = self.say(f"unjudged.{found.key}", **found.fields)
        return NotJudged(type=rule.type, reason=reason, where=found.where)

    def recommendations(
        self, findings: Iterable[tuple[IssueRule, FoundIssue]]
    ) -> list[Recommendation]:
        """Return what to do about issues, the worst first; each once."""
        answers: dict[str, tuple[str, str]] = {}
        for rule, finding in findings:
            priority = answers.get(rule.answer, (LOW, rule.effort))[0]
            highest = max(priority, finding.severity, key=RANKS.__getitem__)
            answers[rule.answer] = (highest, rule.effort)
        return [
            Recommendation(
                type=name,
                priority=priority,
                description=self.say(f"recommend.{name}.what"),
                impact=self.say(f"recommend.{name}.impact"),
                effort=effort,
            )
            for name, (priority, effort) in sorted(
                answers.items(), key=lambda each: -RANKS[each[1][0]]
            )
        ]

    # ------------------------------------------------ advice

    def advice(self, rule: AdviceRule, found: Advised) -> AdviceItem:
        """Return a piece of advice in words."""
        fields = {**found.fields, "where": self.where(found.where)}

        def part(name: str) -> str:
            return self.say(f"advice.{rule.type}.{name}", **fields)

        return AdviceItem(
            type=rule.type,
            area=rule.area,
            priority=found.priority,
            title=part("title"),
            set_=self._setting(rule, fields),
            change=part("change"),
            why=part("why"),
            impact=part("impact"),
            effort=found.effort,
            where=found.where,
            evidence=self.evidence(found.clues),
            commands=list(found.commands),
        )

    def _setting(self, rule: AdviceRule, fields: Mapping[str, Any]) -> str:
        """Return what is set; some settings have words for none."""
        key = f"advice.{rule.type}.set"
        unlimited = rule.limit and fields[rule.limit] <= 0
        return self.say(f"{key}_none" if unlimited else key, **fields)

    def fine(self, rule: AdviceRule) -> SoundSetting:
        """Return that a rule has nothing to change."""
        text = self.say(f"advice.{rule.type}.fine")
        return SoundSetting(type=rule.type, area=rule.area, text=text)

    def not_looked_at(self, rule: AdviceRule, found: Unseen) -> NotLookedAt:
        """Return why a rule could not look."""
        reason = self.say(f"unseen.{found.key}")
        return NotLookedAt(type=rule.type, area=rule.area, reason=reason, where=found.where)


def place_text(place: Place) -> str:
    """Return a place in short: target, or method and route and service, or instance."""
    if place.route:
        route = f"{place.method} {place.route}".strip()
        return f"{route} ({place.service})" if place.service else route
    names = (place.target, place.instance, place.service)
    first = next((name for name in names if name), place.environment)
    return f"{first} ({place.service})" if first and place.service not in ("", first) else first
