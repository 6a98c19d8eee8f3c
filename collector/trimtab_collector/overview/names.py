"""How the sentence names services and alerts, and how it is put together with its links."""

from collections.abc import Iterator, Sequence
from typing import Final

from trimtab_collector.contract.alerts import ANALYSIS, AlertBody
from trimtab_collector.contract.errors import instant
from trimtab_collector.contract.overview import OverviewSentence, SentenceLink
from trimtab_collector.overview.situation import Situation
from trimtab_collector.overview.wording import OverviewWords, link, of_alert, page

__all__ = ["SentenceNames"]

_NAMED: Final = 3
_ALERTS: Final = 2


class SentenceNames:
    """Names what one overview is about."""

    def __init__(self, situation: Situation, words: OverviewWords) -> None:
        self._situation = situation
        self._observed = situation.observed
        self._parameters = situation.observed.parameters
        self._words = words

    def who(self, owner: tuple[str, ...]) -> str:
        """Return a service, with its environment where several have one of that name."""
        if len(owner) < 2:
            service = self._parameters.where.get("service", "")
            return self._words.name(service) if service else self._words.part("who.everything")
        name = self._words.name(owner[1])
        same = [each for each in self._observed.owners if each[1] == owner[1]]
        return f"{name} ({self._words.name(owner[0])})" if len(same) > 1 else name

    def listed(self, owners: Sequence[tuple[str, ...]]) -> str:
        """Return the first services, and how many more there are."""
        names = ", ".join(self.who(owner) for owner in owners[:_NAMED])
        more = len(owners) - _NAMED
        return names if more <= 0 else self._words.part(
            "detail.names_more", names=names, count=more
        )  # fmt: skip

    def besides(self, alerts: Sequence[AlertBody]) -> tuple[list[str], list[SentenceLink]]:
        """Return which alerts fire besides: the first by name, the others counted."""
        words = self._words
        named = [each for each in alerts if each.metric != ANALYSIS][:_ALERTS]
        short = {
            each.id: words.part(
                "alert.short",
                what=words.metric(each.metric),
                subject=words.subject(each),
                severity=words.severity(self._situation.severity_of(each)),
            )
            for each in named
        }
        told, links = [], [link(text, of_alert(name)) for name, text in short.items()]
        if short:
            told.append(words.say("detail.also_alerts", names=", ".join(short.values())))
        if len(alerts) > len(named):
            told.append(words.say("detail.more_alerts", count=len(alerts) - len(named)))
            links.append(link(told[-1], page("alerts")))
        return told, links

    def said(
        self,
        text: str,
        severity: str,
        since_s: float | None,
        detail: str,
        links: Sequence[SentenceLink] = (),
    ) -> OverviewSentence:
        """Return the sentence, with those of its links whose text occurs in it."""
        return OverviewSentence(
            text=text,
            severity=severity,
            since=None if since_s is None else instant(since_s, self._parameters.tz),
            detail=detail,
            links=list(_occurring(links, f"{text}\n{detail}")),
        )


def _occurring(links: Sequence[SentenceLink], text: str) -> Iterator[SentenceLink]:
    """Yield links whose text occurs, each text once."""
    seen: set[str] = set()
    for each in links:
        if each.text and each.text in text and each.text not in seen:
            seen.add(each.text)
            yield each
