"""What alerts ask of the rest of the collector: signals to judge, and what changed with an alert.

Budgets and analyses are computed at most once a minute, in the evaluator's thread.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC
from math import nextafter
from typing import Any, Final

import msgspec

from trimtab_collector.alerts.metrics import METRICS
from trimtab_collector.alerts.reading import Signal
from trimtab_collector.alerts.rules import Rule
from trimtab_collector.contract.alerts import ANALYSIS, BURN_RATE, SERVICE_GONE
from trimtab_collector.contract.analysis import (
    CRITICAL,
    HEALTHY,
    WARNING,
    Analysis,
    Issue,
    ServiceAnalysis,
)
from trimtab_collector.contract.languages import DEFAULT_LANGUAGE
from trimtab_collector.contract.parameters import Parameters
from trimtab_collector.contract.slos import SloSettings
from trimtab_collector.marks import Mark, Marks, is_suspect
from trimtab_collector.notify.notice import Change, Promise
from trimtab_collector.objectives.burning import PAIRS, Burn, budget, burn
from trimtab_collector.objectives.slos import SloBook
from trimtab_collector.reads.analysis import alert_of, analysis_of
from trimtab_collector.reads.departures import Departures
from trimtab_collector.reads.explain import LargestShare, largest_share
from trimtab_collector.reads.failures import MostErrors, most_errors
from trimtab_collector.reads.judging.facts import Facts
from trimtab_collector.reads.judging.findings import HIGH, MEDIUM
from trimtab_collector.reads.reader import StoreReader
from trimtab_collector.storage.store import GaugeSelection, TooMuchError

__all__ = ["Circumstances"]

_EVERY_S: Final = 60
#: what an analysis looks at, and the end of it in which requests must be bad, too
_ANALYSED_S: Final = 300
_LATELY_S: Final = 60
_MOST_ISSUES: Final = 1000
#: marks that may have to do with an alert are at most so old when it begins
_MARKS_S: Final = 1800
#: a version is noted with the first batch that has it, which may come after the first bad window
_NOTED_S: Final = 30
_MOST_MARKS: Final = 5
#: the shortest and longest time in which the cause of a change is looked for
_SHORTEST_S, _LONGEST_S = 60, 900
_SCALE: Final = {HEALTHY: 0.0, WARNING: 1.0, CRITICAL: 2.0}
_CPU, _PROCESS_CPU = "cpuUsage", "process.cpu.utilization"
#: processes that are named where CPU is short, and what each takes at least, of one core
_BUSIEST: Final = 2
_BUSY: Final = 0.1
#: labels that requests have
_PLACES: Final = frozenset({"environment", "service", "route", "instance", "version"})
#: figures of which it is told where requests fail
_ERRORS: Final = frozenset({"errorRate", BURN_RATE})
#: figures of requests that time explains
_TIMES: Final = frozenset(
    name
    for name, metric in METRICS.items()
    if metric.kind == "requests" and metric.unit == "ms" and metric.figure != "queue"
)


class Circumstances:
    """Signals and changes; from the evaluator's thread alone, `metadata` and `changes` from any."""

    def __init__(self, reader: StoreReader, slos: SloBook, marks: Marks) -> None:
        self._reader = reader
        self._slos = slos
        self._marks = marks
        self._departures = Departures(reader)
        self._burns: list[Signal] = []
        #: environment, service and name of an objective -> it, and the pair that burns
        self._burning: dict[tuple[str, str, str], tuple[SloSettings, Burn | None]] = {}
        self._statuses: list[Signal] = []
        self._burnt_s = self._analysed_s = -float("inf")
        #: the last analysis that was not healthy, by (environment, service)
        self._analyses: dict[tuple[str, str], Analysis] = {}
        #: issue of the last analysis -> when it was found first; None: with the first analysis
        self._issues: dict[bytes, float | None] | None = None

    def burns(self, now_s: float) -> Iterable[Signal]:
        """Return how fast each budget burns: by the fastest pair of windows that does."""
        if abs(now_s - self._burnt_s) >= _EVERY_S:
            self._burnt_s, self._burning = now_s, {}
            self._burns = [
                signal for slo in self._slos.every() for signal in self._burn(slo.settings, now_s)
            ]
        return self._burns

    def analyses(self, now_s: float) -> Iterable[Signal]:
        """Return how each service does by the rules of the analysis: 0 healthy to 2 critical."""
        if abs(now_s - self._analysed_s) >= _EVERY_S:
            self._analysed_s = now_s
            self._statuses = list(self._analyse(now_s))
        return self._statuses

    def departures(self, now_s: float) -> Iterable[Signal]:
        """Yield for how long each service that had requests has had no process, 0 with one."""
        for (environment, service), gone_s in self._departures.missed(now_s).items():
            labels = {"environment": environment, "service": service}
            yield Signal(SERVICE_GONE, labels, gone_s)

    def began(self, rule: Rule, labels: Mapping[str, str]) -> float | None:
        """Return since when what an alert tells of goes on; None for what its line says."""
        found = self._analyses.get((labels.get("environment", ""), labels.get("service", "")))
        if rule.metric != ANALYSIS or found is None:
            return None
        severity = HIGH if found.status == CRITICAL else MEDIUM
        since_s = self._issues or {}
        times = [since_s.get(_issue_key(each)) for each in found.issues
                 if each.severity == severity]  # fmt: skip
        # Of issues that were there when this process began, the alert knows more than it does.
        known = [each for each in times if each is not None]
        return min(known) if known and len(known) == len(times) else None

    def changes(
        self, rule: Rule, labels: Mapping[str, str], since_s: float, at_s: float
    ) -> Sequence[Change]:
        """Return marks before its beginning, what is slower or fails, and who takes CPU.

        Any thread, too.
        """
        environment, service = labels.get("environment", ""), labels.get("service", "")
        # What came later is no cause.
        latest_s = min(at_s, since_s + _NOTED_S)
        marks = self._marks.between(since_s - _MARKS_S, latest_s, environment, service)
        suspects = [mark for mark in marks if is_suspect(mark)]
        found = [_of_mark(mark, environment, service) for mark in suspects[-_MOST_MARKS:]]
        where = {name: text for name, text in labels.items() if text and name in _PLACES}
        length_s = min(_LONGEST_S, max(_SHORTEST_S, at_s - since_s))
        if rule.metric in _ERRORS:
            worst = most_errors(self._reader, where, at_s - length_s, at_s, at_s)
            if worst is not None:
                place = f"{worst.method} {worst.route}".strip()
                failed = f"{worst.error}: {worst.site}" if worst.error else worst.site
                found.append(Change("errors", place, failed, None, worst.share, of=_of(worst)))
        if rule.metric in _TIMES:
            share = largest_share(self._reader, where, at_s - length_s, at_s, at_s)
            if share is not None:
                place = f"{share.method} {share.route}".strip()
                found.append(
                    Change("share", share.cause, place, None, share.cause_share, of=_of(share))
                )
        if rule.metric == _CPU:
            found += self._busiest(labels.get("agent", ""), at_s)
        return found

    def _busiest(self, agent: str, at_s: float) -> Iterable[Change]:
        """Yield the processes that took most of a machine's CPU lately, the busiest first."""
        edges_s = (int(at_s) - _SHORTEST_S, int(at_s) + 1)
        rows = self._reader.store.read_gauges(
            GaugeSelection(edges_s, (_PROCESS_CPU,), {"agent": agent} if agent else {})
        )
        cells = zip(rows.mean.tolist(), rows.group.tolist(), strict=True)
        for cores, group in sorted(cells, reverse=True)[:_BUSIEST]:
            _, environment, service, instance, _ = rows.groups[group]
            if cores >= _BUSY:
                name = f"{service} {instance}"
                yield Change("process", name, environment, None, cores)

    def promised(
        self, rule: Rule, labels: Mapping[str, str], at_s: float
    ) -> tuple[Promise | None, float | None]:
        """Return the objective that a rule is about, and the rate that its burning pair has."""
        key = (labels.get("environment", ""), labels.get("service", ""), labels.get("slo", ""))
        found = self._burning.get(key)
        if rule.metric != BURN_RATE or found is None:
            return None, None
        settings, burning = found
        left = None
        with suppress(TooMuchError):
            left = budget(self._reader.store, settings, at_s).left
        promise = Promise(
            settings.objective, settings.target, settings.window_days, settings.below, left
        )
        if burning is None:
            return promise, None
        pair = burning.pair
        return replace(promise, long_s=pair.long_s, short_s=pair.short_s), pair.rate

    def metadata(self, rule: Rule, labels: Mapping[str, str]) -> dict[str, Any] | None:
        """Return what an alert of the analysis carries along: the analysis."""
        if rule.metric != ANALYSIS:
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

    def _burn(self, settings: SloSettings, now_s: float) -> Iterable[Signal]:
        try:
            burns = burn(self._reader.store, settings, now_s)
        except TooMuchError:
            return
        place = settings.environment, settings.service, settings.name
        value, burning = _fastest(burns)
        self._burning[place] = settings, burning
        if value is not None:
            names = ("environment", "service", "slo")
            yield Signal(BURN_RATE, dict(zip(names, place, strict=True)), value)

    def _analyse(self, now_s: float) -> Iterable[Signal]:
        whole, lately = (
            Facts(self._reader, Parameters({}, now_s - seconds, now_s, now_s, UTC, {}, {}))
            for seconds in (_ANALYSED_S, _LATELY_S)
        )
        self._analyses = {}
        try:
            everything = analysis_of(whole, DEFAULT_LANGUAGE, _MOST_ISSUES, lately=lately)
        except TooMuchError:
            return
        first_s = None if self._issues is None else now_s
        before = self._issues or {}
        self._issues = {key: before.get(key, first_s) for key in map(_issue_key, everything.issues)}
        for each in everything.services:
            if each.p99 is None and not each.issues:
                continue
            if each.status != HEALTHY:
                self._analyses[each.environment, each.service] = _of_service(everything, each)
            labels = {"environment": each.environment, "service": each.service}
            yield Signal(ANALYSIS, labels, _SCALE[each.status])


def _of(found: MostErrors | LargestShare) -> tuple[str, ...]:
    return (found.environment, found.service, found.route, found.method)


def _issue_key(issue: Issue) -> bytes:
    """Return what tells an issue from others: not its figures, which move."""
    return msgspec.json.encode((issue.type, issue.severity, issue.where))


def _fastest(burns: Sequence[Burn]) -> tuple[float | None, Burn | None]:
    """Return the rate of the pair that burns fastest, and the pair, None when none burns.

    A rate stays below the lines of severities that no pair has reached. It is not known while a
    pair has burnt and nothing says whether it still does.
    """
    critical = [each for each in burns if each.burns and each.pair.severity == "critical"]
    if critical:
        found = max(critical, key=lambda each: each.value or 0.0)
        return found.value, found
    limits = {pair.severity: pair.rate for pair in PAIRS}
    mild = next((each for each in burns if each.burns), None)
    if mild is not None and mild.value is not None:
        return min(mild.value, nextafter(limits["critical"], 0)), mild
    for each in burns:
        burnt = each.enough and each.reachable and (each.long_rate or 0.0) >= each.pair.rate
        if burnt and each.short_rate is None:
            return None, None
    known = [each.value for each in burns if each.reachable and each.value is not None]
    return (min(known[-1], nextafter(limits["warning"], 0)) if known else None), None


def _of_mark(mark: Mark, environment: str, service: str) -> Change:
    """Return a mark as a change, with its place where that is not the one of the alert."""
    return Change(
        "mark",
        mark.name,
        mark.detail,
        mark.at_s,
        mark=mark.kind,
        environment="" if mark.environment == environment else mark.environment,
        service="" if mark.service == service else mark.service,
    )


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
