"""What there is by name: of series, gauges, measures and rules, from memory alone.

Names are those of the catalogue of series, which has what memory holds, and of all measures that
are kept. They are put in order once for all questions of some seconds: no question reads data.
"""

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple, TypeVar

from trimtab_collector.alerts.bodies import rule_page
from trimtab_collector.alerts.metrics import GAUGE_FIGURES, METRICS, JudgedMetric
from trimtab_collector.alerts.ruleset import RuleSet
from trimtab_collector.contract.names import (
    FOUND,
    KIND_FOUND,
    LISTED,
    MATCH,
    SEARCHED,
    GaugeName,
    JudgedName,
    KnownNames,
    MeasureName,
    SearchHit,
    SearchHits,
)
from trimtab_collector.contract.pagelink import PageLink
from trimtab_collector.contract.parameters import Parameters
from trimtab_collector.keeping import Computed
from trimtab_collector.naming import FoundName, NameIndex, folded, ranked
from trimtab_collector.reads.presence import HOST
from trimtab_collector.storage.store import Store
from trimtab_core.catalog import CATALOG
from trimtab_core.measures import MeasureKey
from trimtab_core.names import RESERVED_PREFIXES

__all__ = ["NameFinder", "names", "search"]

_T = TypeVar("_T")
#: how old names may be, unless they take long to gather
_KEPT_S: Final = 10.0
_LONGEST: Final = 200
_QUERY: Final = "db.query.text"
#: kind -> the page that shows it
_PAGES: Final = {
    "service": "service",
    "route": "route",
    "statement": "databases",
    "metric": "metrics",
    "host": "hosts",
}


class _NamesNow(NamedTuple):
    """Everything with a name, as of a moment."""

    #: environment, service, version, instance, route; some empty
    series: Sequence[tuple[str, ...]]
    measures: Sequence[tuple[str, str, str, MeasureKey]]
    #: of hosts, and of servers that agents read
    hosts: list[str]
    #: environment, service, instance, name
    gauges: list[tuple[str, str, str, str]]
    named: NameIndex


class NameFinder:
    """Answers for names; reading threads."""

    def __init__(self, store: Store, rules: RuleSet) -> None:
        self._store = store
        self._rules = rules
        self._lock = threading.Lock()
        self._known: Computed[_NamesNow] | None = None
        self._known_s = 0.0

    def known(self, now_s: float) -> _NamesNow:
        """Return what there is, some seconds old."""
        with self._lock:
            known = self._known
            if known is None or abs(now_s - self._known_s) > known.kept_s(shortest_s=_KEPT_S):
                known = self._known = Computed.by(lambda: self._gathered(now_s))
                self._known_s = now_s
            return known.value

    def rules(self) -> list[FoundName]:
        """Return the rules that there are now."""
        every = ((rule, rule_page(rule, {})) for rule in self._rules.rules())
        return [
            FoundName(
                *("rule", rule.name, folded(rule.name), tuple(link.params.items())), page=link.page
            )
            for rule, link in every
        ]

    def _gathered(self, now_s: float) -> _NamesNow:
        # In one pass each: there may be many.
        every = dict.fromkeys(key[:5] for key in self._store.series_names())
        series = [row for row in every if row[1]]
        measures = self._store.measure_names()
        latest = self._store.latest_gauges(now_s)
        hosts = {gauge.instance for gauge in latest if gauge.name == HOST and not gauge.service}
        gauges = [(each.environment, each.service, each.instance, each.name) for each in latest]
        services = {(row.environment, row.service) for row in self._store.accounting()}
        services.update((row[0], row[1]) for row in series)
        found = [
            *_services(services),
            *_routes(row for row in series if row[4]),
            *_statements(measures),
            *_metrics(measures),
            *(_host(host) for host in hosts),
        ]
        return _NamesNow(series, measures, sorted(hosts), gauges, NameIndex(found))


def names(finder: NameFinder, parameters: Parameters) -> KnownNames:
    """Return the names that there are, for forms."""
    known = finder.known(parameters.now_s)
    text, limit = folded(parameters[MATCH] or ""), parameters[LISTED]
    left_out: dict[str, int] = {}

    def listed(name: str, rows: Iterable[_T], key: Callable[[_T], str]) -> list[_T]:
        every = sorted({key(row): row for row in rows if key(row)}.items())
        chosen = [row for label, row in every if not text or text in folded(label)]
        if len(chosen) > limit:
            left_out[name] = len(chosen) - limit
        return chosen[:limit]

    def texts(name: str, place: int) -> list[str]:
        return listed(name, (row[place] for row in series), str)

    series = list(known.series)
    if parameters.where:
        series = [row for row in series if parameters.chooses(environment=row[0], service=row[1])]
    # A service without requests may well have gauges.
    series += [
        (row[0], row[1], "", row[2], "")
        for row in known.gauges
        if row[1] and parameters.chooses(environment=row[0], service=row[1])
    ]
    measures = [
        row for row in known.measures if parameters.chooses(environment=row[0], service=row[1])
    ]
    gauges = {
        row[3]
        for row in known.gauges
        if not row[1] or parameters.chooses(environment=row[0], service=row[1])
    }
    return KnownNames(
        metrics=listed("metrics", map(_judged, METRICS.values()), lambda row: row.name),
        gauges=listed("gauges", map(_gauge, gauges), lambda row: row.name),
        measures=listed("measures", _measures(measures), lambda row: row.name),
        environments=texts("environments", 0),
        services=texts("services", 1),
        versions=texts("versions", 2),
        instances=texts("instances", 3),
        routes=texts("routes", 4),
        hosts=listed("hosts", known.hosts, str),
        left_out=left_out,
    )


def search(finder: NameFinder, parameters: Parameters) -> SearchHits:
    """Return what has a text in its name, and where it is shown."""
    asked = (parameters[MATCH] or "")[:_LONGEST]
    text, limit = folded(asked), parameters[SEARCHED]
    kinds = FOUND if parameters[KIND_FOUND] == "any" else (parameters[KIND_FOUND],)
    hits: list[SearchHit] = []
    left_out: dict[str, int] = {}
    known = finder.known(parameters.now_s)
    for kind in kinds if text else ():
        rows = finder.rules() if kind == "rule" else known.named.of(kind)
        best, more = ranked(rows, text, limit, parameters)
        hits += [_hit(row) for row in best]
        if more:
            left_out[kind] = more
    return SearchHits(q=asked, results=hits, left_out=left_out)


def _hit(row: FoundName) -> SearchHit:
    return SearchHit(
        kind=row.kind,
        text=row.text,
        detail=" · ".join(filter(None, (row.environment, _service_of(row)))),
        environment=row.environment,
        service=row.service,
        link=PageLink(page=row.page or _PAGES[row.kind], params=dict(row.params)),
    )


def _service_of(row: FoundName) -> str:
    """Return the service of something, empty for a service itself."""
    return "" if row.kind == "service" else row.service


def _services(pairs: Iterable[tuple[str, str]]) -> Iterable[FoundName]:
    for environment, service in pairs:
        params = (("environment", environment), ("service", service))
        yield FoundName("service", service, folded(service), params, environment, service)


def _routes(series: Iterable[tuple[str, ...]]) -> Iterable[FoundName]:
    for environment, service, route in dict.fromkeys((row[0], row[1], row[4]) for row in series):
        params = (("environment", environment), ("service", service), ("route", route))
        yield FoundName("route", route, folded(route), params, environment, service)


def _statements(measures: Iterable[tuple[str, str, str, MeasureKey]]) -> Iterable[FoundName]:
    owners: dict[str, set[tuple[str, str]]] = {}
    for environment, service, _, key in measures:
        for name, text in key.attributes:
            if name == _QUERY and text and service:
                owners.setdefault(text, set()).add((environment, service))
    for text, pairs in owners.items():
        yield _shared("statement", text, pairs, "query")


def _metrics(measures: Iterable[tuple[str, str, str, MeasureKey]]) -> Iterable[FoundName]:
    owners: dict[str, set[tuple[str, str]]] = {}
    for environment, service, _, key in measures:
        if service and not key.name.startswith(RESERVED_PREFIXES):
            owners.setdefault(key.name, set()).add((environment, service))
    for name, pairs in owners.items():
        yield _shared("metric", name, pairs, "name")


def _shared(kind: str, text: str, pairs: set[tuple[str, str]], parameter: str) -> FoundName:
    """Return something that may be of several services; of one it names it."""
    environments, services = {pair[0] for pair in pairs}, {pair[1] for pair in pairs}
    environment = environments.pop() if len(environments) == 1 else ""
    service = services.pop() if len(services) == 1 else ""
    whose = (("environment", environment), ("service", service))
    params = (*(pair for pair in whose if pair[1]), (parameter, text))
    return FoundName(kind, text, folded(text), params, environment, service)


def _host(host: str) -> FoundName:
    return FoundName("host", host, folded(host), (("instance", host),))


def _judged(metric: JudgedMetric) -> JudgedName:
    figures = GAUGE_FIGURES if metric.kind == "gauge" else ()
    ordered = sorted(figures, key=lambda each: each != metric.figure)
    return JudgedName(
        name=metric.name,
        kind=metric.kind,
        unit=metric.unit,
        fields=list(metric.fields),
        group_by=list(metric.group_by),
        figures=ordered,
    )


def _gauge(name: str) -> GaugeName:
    return GaugeName(name=name, unit=CATALOG[name].unit if name in CATALOG else None)


def _measures(rows: Iterable[tuple[str, str, str, MeasureKey]]) -> list[MeasureName]:
    found: dict[str, MeasureName] = {}
    for *_, key in rows:
        row = found.get(key.name)
        if row is None:
            own = not key.name.startswith(RESERVED_PREFIXES)
            row = found[key.name] = MeasureName(
                name=key.name, kind=key.kind, unit=key.unit, attributes=[], own=own
            )
        for name, _ in key.attributes:
            if name not in row.attributes:
                row.attributes.append(name)
    for row in found.values():
        row.attributes.sort()
    return list(found.values())
