"""What may have caused that a service is out of the ordinary: where time went, routes, deploys."""

from collections.abc import Mapping
from typing import Final

from trimtab_collector.contract.marks import DEPLOY
from trimtab_collector.contract.overview import SentenceLink
from trimtab_collector.marks import Mark, is_suspect
from trimtab_collector.overview.situation import Situation
from trimtab_collector.overview.usual import ERRORS_KIND, MEAN_KIND, P95_KIND, FigureKind
from trimtab_collector.overview.wording import OverviewWords, link, of_service, page
from trimtab_collector.reads.explain import largest_share
from trimtab_collector.reads.failures import most_errors

__all__ = ["Causes"]

#: the shortest and longest time in which a cause is looked for
_SHORTEST_S, _LONGEST_S = 300, 3600
#: a mark that came so long before a change, or so soon after it, may have to do with it
_BEFORE_S, _AFTER_S = 900, 120
#: one that came so short before it more likely so
_SHORTLY_S: Final = 300
_MOST: Final = 0.5
_OWNER: Final = ("environment", "service")


class Causes:
    """Names likely causes in words; raises TooMuchError."""

    def __init__(self, situation: Situation, words: OverviewWords) -> None:
        self._situation = situation
        self._observed = situation.observed
        self._words = words

    def of(
        self, kind: FigureKind | None, where: Mapping[str, str], since_s: float | None
    ) -> tuple[list[str], list[SentenceLink]]:
        """Return sentences about why a figure is as it is, and where pieces of them lead.

        where: environment and service, or more of what it is of; empty for all that was chosen. Of
        what is no figure of requests, marks alone are told.
        """
        told: list[str] = []
        links: list[SentenceLink] = []
        whole = {**self._observed.parameters.where, **where}
        if kind in (P95_KIND, MEAN_KIND):
            self._time(whole, since_s, told, links)
        elif kind is ERRORS_KIND:
            self._errors(whole, since_s, told, links)
        if since_s is not None:
            owner = tuple(where[name] for name in _OWNER if name in where)
            self._marks(owner, since_s, told, links)
        return told, links

    def _time(
        self,
        where: Mapping[str, str],
        since_s: float | None,
        told: list[str],
        links: list[SentenceLink],
    ) -> None:
        """Say which cause and which route account for most of the rise."""
        from_s, to_s = self._range(since_s)
        found = largest_share(
            self._observed.reader,
            where,
            *(from_s, to_s, self._observed.parameters.now_s),
        )
        if found is None:
            return
        words = self._words
        route = words.route(found.method, found.route)
        fields = {
            "share": words.shown.percent(min(1.0, found.cause_share), 2),
            "cause": words.cause(found.cause),
            "route": route,
        }
        if found.route_share >= _MOST:
            told.append(words.say("detail.cause_most", **fields))
        else:
            part = words.shown.percent(found.route_share, 2)
            told.append(words.say("detail.cause_route", part=part, **fields))
        owner = (found.environment, found.service)
        links.append(link(route, of_service(owner, route=found.route)))

    def _errors(
        self,
        where: Mapping[str, str],
        since_s: float | None,
        told: list[str],
        links: list[SentenceLink],
    ) -> None:
        """Say which route most errors are in, and where the latest came up."""
        from_s, to_s = self._range(since_s)
        observed, words = self._observed, self._words
        found = most_errors(observed.reader, where, from_s, to_s, observed.parameters.now_s)
        if found is None:
            return
        shown = words.route(found.method, found.route)
        share = words.shown.percent(found.share, 2)
        told.append(words.say("detail.errors_route", share=share, route=shown))
        owner = (found.environment, found.service)
        links.append(link(shown, of_service(owner, route=found.route)))
        if found.site:
            site, error = words.name(found.site), words.name(found.error)
            told.append(words.say("detail.errors_site", error=error, site=site))
            links.append(link(site, page("requests", {
                **dict(zip(("environment", "service"), owner, strict=True)), "reason": "failed",
            })))  # fmt: skip

    def _marks(
        self, owner: tuple[str, ...], since_s: float, told: list[str], links: list[SentenceLink]
    ) -> None:
        """Say what was deployed or noted when it began."""
        words = self._words
        marks = self._situation.marks(since_s - _BEFORE_S, since_s + _AFTER_S, owner)
        ranked = sorted(
            (_distance(mark, since_s), number)
            for number, mark in enumerate(marks)
            if mark.kind == DEPLOY or (is_suspect(mark) and (mark.service or mark.environment))
        )
        for mark in (marks[number] for _, number in ranked[:1]):
            name, at = words.name(mark.name), words.at(mark.at_s)
            if mark.kind == DEPLOY:
                told.append(words.say("detail.deployed", version=name, at=at))
                if mark.service:
                    place = (mark.environment, mark.service)
                    links.append(link(name, of_service(place, version=mark.name)))
            else:
                told.append(words.say("detail.mark", name=name, at=at))

    def _range(self, since_s: float | None) -> tuple[float, float]:
        """Return the first hour of what is out of the ordinary, or the last minutes."""
        spans = self._observed.spans
        if not spans.is_now:
            return float(spans.start_s), float(spans.end_s)
        end_s = float(spans.end_s)
        start_s = end_s - _LONGEST_S / 4 if since_s is None else min(since_s, end_s - _SHORTEST_S)
        return start_s, min(end_s, start_s + _LONGEST_S)


def _distance(mark: Mark, since_s: float) -> tuple[bool, bool, bool, float]:
    """Return what sorts marks: deploys of the service or its environment just before come first."""
    shortly = since_s - _SHORTLY_S <= mark.at_s
    own = bool(mark.service or mark.environment)
    return not shortly, mark.kind != DEPLOY, not own, abs(mark.at_s - since_s)
