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

    def besides(
        self, alerts: Sequence[AlertBody], first: AlertBody | None = None
    ) -> tuple[list[str], list[SentenceLink]]:
        """Return which alerts fire besides the first: some by name, the others counted.

        Of alerts, the worst first, those about one thing are one, as bad as the worst of them.
        """
        words = self._words
        things = {} if first is None else {_thing(first): first}
        for each in alerts:
            known = things.setdefault(_thing(each), each)
            if known is not first and each.severity == "critical" != known.severity:
                things[_thing(each)] = each
        others = [each for each in things.values() if each is not first]
        short: dict[str, str] = {}
        for each in others:
            text = self._short(each)
            if each.metric != ANALYSIS and len(short) < _ALERTS:
                short.setdefault(text, each.id)
        told, links = [], [link(text, of_alert(name)) for text, name in short.items()]
        if short:
            told.append(words.say("detail.also_alerts", names=", ".join(short)))
        if len(others) > len(short):
            told.append(words.say("detail.more_alerts", count=len(others) - len(short)))
            links.append(link(told[-1], page("alerts")))
        return told, links

    def _short(self, alert: AlertBody) -> str:
        """Return an alert in few words: as severe as its page and its messages say."""
        words, recovering = self._words, self._situation.is_recovering(alert)
        return words.part(
            "alert.short_recovering" if recovering else "alert.short",
            what=words.metric(alert.metric),
            subject=words.subject(alert),
            severity=words.severity(alert.severity),
        )

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


def _thing(alert: AlertBody) -> tuple[str, ...]:
    """Return what an alert is about, whichever rule and line it is of."""
    place = (alert.environment, alert.service, alert.route, alert.instance, alert.version)
    return (
        alert.metric,
        *place,
        *(f"{name}={text}" for name, text in sorted(alert.labels.items())),
    )


def _occurring(links: Sequence[SentenceLink], text: str) -> Iterator[SentenceLink]:
    """Yield links whose text occurs, each text once."""
    seen: set[str] = set()
    for each in links:
        if each.text and each.text in text and each.text not in seen:
            seen.add(each.text)
            yield each
