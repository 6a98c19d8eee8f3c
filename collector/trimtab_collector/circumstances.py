"""What alerts ask of the rest of the collector: signals to judge, and what changed with an alert.

Budgets and analyses are computed at most once a minute, in the evaluator's thread.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC
from typing import Any, Final

import msgspec

from trimtab_collector.alerts.metrics import METRICS
from trimtab_collector.alerts.reading import Signal
from trimtab_collector.alerts.rules import Rule
from trimtab_collector.contract.analysis import (
    CRITICAL,
    HEALTHY,
    WARNING,
    Analysis,
    ServiceAnalysis,
)
from trimtab_collector.contract.languages import DEFAULT_LANGUAGE
from trimtab_collector.contract.parameters import Parameters
from trimtab_collector.marks import Marks
from trimtab_collector.notify.notice import Change
from trimtab_collector.objectives.burning import burn
from trimtab_collector.objectives.slos import Slo, SloBook
from trimtab_collector.reads.analysis import alert_of, analysis_of
from trimtab_collector.reads.explain import largest_share
from trimtab_collector.reads.judging.facts import Facts
from trimtab_collector.reads.reader import StoreReader
from trimtab_collector.storage.store import TooMuchError

__all__ = ["Circumstances"]

_EVERY_S: Final = 60
#: what an analysis looks at
_ANALYSED_S: Final = 300
_MOST_ISSUES: Final = 1000
_HOUR_S: Final = 3600
#: marks that may have to do with an alert are at most so old when it begins
_MARKS_S: Final = 1800
_MOST_MARKS: Final = 5
#: the shortest and longest time in which the cause of a change is looked for
_SHORTEST_S, _LONGEST_S = 60, 900
_SCALE: Final = {HEALTHY: 0.0, WARNING: 1.0, CRITICAL: 2.0}
#: figures of requests that time explains
_TIMES: Final = frozenset(
    name
    for name, metric in METRICS.items()
    if metric.kind == "requests" and metric.unit == "ms" and metric.figure != "queue"
)


class Circumstances:
    """Signals and changes; from the evaluator's thread alone, `metadata` from any."""

    def __init__(self, reader: StoreReader, slos: SloBook, marks: Marks) -> None:
        self._reader = reader
        self._slos = slos
        self._marks = marks
        self._burns: list[Signal] = []
        self._statuses: list[Signal] = []
        self._burnt_s = self._analysed_s = -float("inf")
        #: the last analysis that was not healthy, by (environment, service)
        self._analyses: dict[tuple[str, str], Analysis] = {}

    def burns(self, now_s: float) -> Iterable[Signal]:
        """Return how fast each budget burns, by pair of windows."""
        if abs(now_s - self._burnt_s) >= _EVERY_S:
            self._burnt_s = now_s
            self._burns = [
                signal for slo in self._slos.every() for signal in self._burn(slo, now_s)
            ]
        return self._burns

    def analyses(self, now_s: float) -> Iterable[Signal]:
        """Return how each service does by the rules of the analysis: 0 healthy to 2 critical."""
        if abs(now_s - self._analysed_s) >= _EVERY_S:
            self._analysed_s = now_s
            self._statuses = list(self._analyse(now_s))
        return self._statuses

    def changes(
        self, rule: Rule, labels: Mapping[str, str], since_s: float, at_s: float
    ) -> Sequence[Change]:
        """Return marks around the beginning of an alert, and what made requests slower."""
        environment, service = labels.get("environment", ""), labels.get("service", "")
        marks = self._marks.between(since_s - _MARKS_S, at_s, environment, service)
        found = [Change("mark", mark.name, mark.detail, mark.at_s) for mark in marks[-_MOST_MARKS:]]
        if rule.metric in _TIMES:
            where = {name: text for name, text in labels.items() if text}
            length_s = min(_LONGEST_S, max(_SHORTEST_S, at_s - since_s))
            share = largest_share(self._reader, where, at_s - length_s, at_s, at_s)
            if share is not None:
                place = f"{share.method} {share.route}".strip()
                found.append(Change("share", share.cause, place, None, share.cause_share))
        return found

    def metadata(self, rule: Rule, labels: Mapping[str, str]) -> dict[str, Any] | None:
        """Return what an alert of the analysis carries along: the analysis."""
        if rule.metric != "analysis":
            return None
        place = labels.get("environment", ""), labels.get("service", "")
        found = self._analyses.get(place)
        alert = alert_of(found, DEFAULT_LANGUAGE) if found is not None and found.issues else None
        if alert is None:
            return None
        return {
            "title": alert.title,
            "message": alert.message,
            **msgspec.to_builtins(alert.metadata),
        }

    def _burn(self, slo: Slo, now_s: float) -> Iterable[Signal]:
        settings = slo.settings
        try:
            burns = burn(self._reader.store, settings, now_s)
        except TooMuchError:
            return
        for each in burns:
            if each.value is not None and each.reachable:
                hours = each.pair.long_s // _HOUR_S
                labels = {
                    "slo": settings.name,
                    "window": f"{hours}h",
                    "environment": settings.environment or "",
                    "service": settings.service or "",
                }
                yield Signal("burnRate", labels, each.value)

    def _analyse(self, now_s: float) -> Iterable[Signal]:
        parameters = Parameters({}, now_s - _ANALYSED_S, now_s, now_s, UTC, {}, {})
        self._analyses = {}
        try:
            everything = analysis_of(
                Facts(self._reader, parameters), DEFAULT_LANGUAGE, _MOST_ISSUES
            )
        except TooMuchError:
            return
        for each in everything.services:
            if each.p99 is None and not each.issues:
                continue
            if each.status != HEALTHY:
                self._analyses[each.environment, each.service] = _of_service(everything, each)
            labels = {"environment": each.environment, "service": each.service}
            yield Signal("analysis", labels, _SCALE[each.status])


def _of_service(everything: Analysis, service: ServiceAnalysis) -> Analysis:
    """Return what an analysis says of one service; recommendations are those for all."""
    issues = [
        issue
        for issue in everything.issues
        if (issue.where.environment, issue.where.service) == (service.environment, service.service)
    ]
    return msgspec.structs.replace(
        everything, status=service.status, issues=issues, services=[service]
    )
