"""Reports of a day or a week: everything is read in one reading thread, each part bounded."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, Final

from msgspec.structs import replace as renamed

from trimtab_collector.contract.alerts import AlertBody, AlertHistory, lasted_s
from trimtab_collector.contract.callers import Page
from trimtab_collector.contract.errors import bad_parameter, epoch
from trimtab_collector.contract.history import HistoryRow
from trimtab_collector.contract.languages import language_of
from trimtab_collector.contract.parameters import Parameters
from trimtab_collector.contract.reports import (
    DATE,
    FORMAT,
    REPORT_PERIOD,
    AlertSpan,
    GapSpan,
    LossReport,
    OutageBody,
    ReportBody,
    ReportTotals,
    SloReport,
    UptimeBody,
)
from trimtab_collector.marks import Mark, Marks, mark_body
from trimtab_collector.objectives.answers import Objectives, budget_body, slo_note
from trimtab_collector.objectives.burning import budget, count
from trimtab_collector.objectives.kpis import KpiBook
from trimtab_collector.overview.overviews import Overviews
from trimtab_collector.overview.wording import OverviewWords
from trimtab_collector.reads.comparison import alike
from trimtab_collector.reads.figures import Figures
from trimtab_collector.reads.history import filled
from trimtab_collector.reads.presence import GAP, PROCESS
from trimtab_collector.reads.ranges import TimeRange
from trimtab_collector.reads.reader import StoreReader
from trimtab_collector.reads.services import accounting_of
from trimtab_collector.reports.hosts import host_reports
from trimtab_collector.reports.keyfigures import KeyFigures
from trimtab_collector.reports.page import page_of
from trimtab_collector.reports.periods import Period, period_of
from trimtab_collector.reports.routes import route_lists
from trimtab_collector.reports.saying import notes_of, opening_of, summary_of
from trimtab_collector.reports.style import POLICY
from trimtab_collector.reports.uptime import (
    Outage,
    ServiceUptime,
    uptime,
)
from trimtab_collector.storage.store import GaugeSelection

__all__ = ["Reporter", "report", "report_of"]

#: rows of the lists of a report
_SHOWN: Final = 50
_SHOWN_HOSTS: Final = 20
_SHOWN_OUTAGES: Final = 20
_CHANGED: Final = ("requests", "error_rate", "p50", "p95", "p99")


@dataclass(frozen=True, slots=True)
class Reporter:
    """What a report is made of; from reading threads."""

    reader: StoreReader
    marks: Marks
    objectives: Objectives
    kpis: KpiBook
    alerts: AlertHistory
    overviews: Overviews


def report(reporter: Reporter, parameters: Parameters) -> ReportBody | Page:
    """Return a day or a week in figures, as JSON or as a page with plots."""
    found = report_of(reporter, parameters)
    if parameters[FORMAT] == "json":
        return found
    made_at = parameters.shown(parameters.now_s)[:16].replace("T", " ")
    return Page(page_of(found, made_at), POLICY)


def report_of(reporter: Reporter, parameters: Parameters) -> ReportBody:
    """Return a day or a week in figures; raises TooMuchError, ApiError 422 for one to come."""
    kind = parameters[REPORT_PERIOD]
    day = parameters[DATE]
    period = period_of(kind, day, parameters.now_s, parameters.tz)
    if period.from_s > parameters.now_s:
        today = parameters.shown(parameters.now_s)[:10]
        raise bad_parameter(DATE.name, f"a day of a period that has begun, up to {today}", f"{day}")
    return _Work(reporter, parameters, period).report()


class _Work:
    """One report in the making."""

    def __init__(self, reporter: Reporter, parameters: Parameters, period: Period) -> None:
        self._reporter = reporter
        self._reader = reporter.reader
        self._store = reporter.reader.store
        self._parameters = parameters
        self._period = period
        self._where = parameters.where
        self._now = self._range(period.from_s, period.to_s)
        self._before = self._range(period.before_s, period.from_s)
        self._until_s = min(period.to_s, int(parameters.now_s))

    def report(self) -> ReportBody:
        parameters, period = self._parameters, self._period
        now, now_figures = self._totals(self._now)
        before, _ = self._totals(self._before)
        series, resolution_s = self._series(self._now)
        series_before, _ = self._series(self._before)
        alerts = self._alerts()
        uptimes = uptime(self._store, alerts, period.from_s, period.to_s, parameters.now_s,
                         self._where)  # fmt: skip
        uptimes.sort(key=lambda each: (-each.down_s, -each.slow_s, each.environment, each.service))
        rates = [(int(epoch(row.t)), row.requests, row.seconds) for row in series if row.requests]
        key_figures = KeyFigures(self._reader, self._now, rates, now_figures, uptimes)
        routes = route_lists(self._reader, self._now.whole(), self._before.whole())
        hosts = host_reports(self._store, self._now.selection.edges_s, self._hosts())
        marks = self._marks()
        losses = self._losses()
        found = ReportBody(
            period=period.kind,
            from_=parameters.shown(period.from_s),
            to=parameters.shown(period.to_s),
            complete=period.to_s <= parameters.now_s,
            timezone=str(getattr(parameters.tz, "key", "UTC")),
            language=language_of(parameters),
            environment=self._where.get("environment"),
            service=self._where.get("service"),
            step=period.step_s,
            resolution=resolution_s,
            sentence=self._reporter.overviews.sentence(
                parameters, period.from_s, max(period.from_s + 10, self._until_s)
            ),
            summary=[],
            now=now,
            before=before,
            change=_change(now, before),
            series=series,
            series_before=series_before,
            slos=self._slos(),
            kpis=key_figures.results(self._reporter.kpis.targets(), language_of(parameters)),
            routes=routes.most_time,
            routes_left_out=routes.left_out,
            slower=routes.slower,
            failing=routes.failing,
            alerts=[self._alert(alert) for alert in alerts[:_SHOWN]],
            alerts_left_out=max(0, len(alerts) - _SHOWN),
            marks=[mark_body(mark, parameters) for mark in marks[:_SHOWN]],
            marks_left_out=max(0, len(marks) - _SHOWN),
            uptime=[self._uptime(each) for each in uptimes[:_SHOWN]],
            uptime_left_out=max(0, len(uptimes) - _SHOWN),
            hosts=hosts[:_SHOWN_HOSTS],
            hosts_left_out=max(0, len(hosts) - _SHOWN_HOSTS),
            accounting=losses[:_SHOWN],
            accounting_left_out=max(0, len(losses) - _SHOWN),
            gaps=self._gaps(series, began=bool(before.requests)),
            notes=[],
        )
        found.summary = [*opening_of(found), *summary_of(found)]
        found.notes = notes_of(found)
        return found

    def _range(self, from_s: int, to_s: int) -> TimeRange:
        """Return a range in the steps of the period."""
        whole = self._reader.ranges.stored(self._parameters, from_s, to_s)
        selection = replace(whole.selection, edges_s=self._period.edges(from_s, to_s))
        return replace(whole, selection=selection, step=self._period.step_s)

    def _totals(self, time_range: TimeRange) -> tuple[ReportTotals, Mapping[str, Any]]:
        whole = time_range.whole()
        figures = self._reader.figures(whole)
        found: Mapping[str, Any] = figures.dicts()[0] if len(figures) else {}
        requests = found.get("requests", 0)

        def mean_ms(column: str) -> float | None:
            value = figures.rows.columns.value(column)
            return float(value[0]) / requests / 1000 if requests else None

        totals = ReportTotals(
            from_=self._parameters.shown(whole.selection.start_s),
            to=self._parameters.shown(whole.selection.end_s),
            requests=requests,
            seconds=whole.seconds,
            requests_per_second=requests / whole.seconds,
            **{name: found.get(name) for name in _TIMES},
            errors=found.get("errors", 0),
            error_rate=found["errors"] / requests if requests else None,
            apdex=found.get("apdex"),
            database_time=mean_ms("db_us"),
            external_time=mean_ms("external_us"),
            cache_time=mean_ms("cache_us"),
            bytes=found.get("bytes", 0),
        )
        return totals, {"requests": requests, "error_rate": totals.error_rate}

    def _series(self, time_range: TimeRange) -> tuple[list[HistoryRow], int]:
        figures: Figures = self._reader.figures(time_range)
        times, arrived = figures.rows.t.tolist(), figures.seconds.tolist()
        rows = [
            HistoryRow(t=self._parameters.shown(t), seconds=long, **row)
            for t, long, row in zip(times, arrived, figures.dicts(), strict=True)
        ]
        return filled(self._reader, time_range, figures.rows.t, rows), figures.rows.resolution_s

    def _slos(self) -> list[SloReport]:
        """Return the objectives of what was chosen, those with the least budget first."""
        found = []
        for slo in self._reporter.objectives.book.every():
            settings = slo.settings
            if not self._parameters.chooses(
                environment=settings.environment or self._where.get("environment", ""),
                service=settings.service or self._where.get("service", ""),
            ):
                continue
            whole = budget(self._store, settings, self._parameters.now_s, self._until_s)
            (part,) = count(self._store, settings, (self._period.from_s, self._period.to_s))
            body = SloReport(
                id=slo.id,
                name=settings.name,
                target=settings.target,
                objective=settings.objective,
                below=settings.below,
                window_days=settings.window_days,
                budget=budget_body(whole, self._parameters),
                requests=part.requests,
                bad=part.bad,
                taken=part.bad / whole.allowed if whole.counted.requests else None,
                note=slo_note(settings),
            )
            found.append((1.0 if whole.left is None else whole.left, body))
        found.sort(key=lambda row: (row[0], row[1].name))
        return [body for _, body in found[:_SHOWN]]

    def _alerts(self) -> list[AlertBody]:
        """Return the alerts that fired in the period, the latest first, with titles for people."""
        parameters, where = self._parameters, self._where
        words = OverviewWords(language_of(parameters), parameters.tz, parameters.now_s)
        found = self._reporter.alerts.between(
            self._period.from_s,
            self._until_s,
            where.get("environment", ""),
            where.get("service", ""),
        )
        return [renamed(alert, title=words.title(alert)) for alert in found]

    def _alert(self, alert: AlertBody) -> AlertSpan:
        fired_s = epoch(alert.fired_at or self._parameters.shown(self._period.from_s))
        shown = self._parameters.shown
        return AlertSpan(
            id=alert.id,
            title=alert.title,
            rule=alert.rule_name,
            severity=alert.severity,
            type=alert.type,
            metric=alert.metric,
            threshold=alert.threshold,
            worst=alert.worst,
            unit=alert.unit,
            environment=alert.environment,
            service=alert.service,
            route=alert.route,
            instance=alert.instance,
            fired_at=shown(fired_s),
            recovered_at=alert.recovered_at and shown(epoch(alert.recovered_at)),
            resolved_at=alert.resolved_at and shown(epoch(alert.resolved_at)),
            since=shown(epoch(alert.since)),
            seconds=lasted_s(alert, self._until_s),
        )

    def _marks(self) -> list[Mark]:
        where = self._where
        return self._reporter.marks.between(
            self._period.from_s,
            self._period.to_s,
            where.get("environment", ""),
            where.get("service", ""),
        )

    def _uptime(self, found: ServiceUptime) -> UptimeBody:
        return UptimeBody(
            environment=found.environment,
            service=found.service,
            share=found.share,
            up_seconds=found.up_s,
            down_seconds=found.down_s,
            slow_seconds=found.slow_s,
            unknown_seconds=found.unknown_s,
            recovery_seconds=found.recovery_s,
            outages=[self._outage(each) for each in found.outages[:_SHOWN_OUTAGES]],
            outages_left_out=max(0, len(found.outages) - _SHOWN_OUTAGES),
        )

    def _outage(self, outage: Outage) -> OutageBody:
        return OutageBody(
            from_=self._parameters.shown(outage.from_s),
            to=self._parameters.shown(outage.to_s),
            seconds=outage.to_s - outage.from_s,
            kind=outage.kind,
            causes=list(outage.causes),
            open=outage.open,
        )

    def _hosts(self) -> frozenset[str] | None:
        """Return the hosts of the processes chosen; None when all were."""
        owners = {name: text for name, text in self._where.items()
                  if name in ("environment", "service")}  # fmt: skip
        if not owners:
            return None
        edges_s = self._now.whole().selection.edges_s
        rows = self._store.read_gauges(
            GaugeSelection(edges_s, (PROCESS,), owners, ("name", "instance"))
        )
        return frozenset(group[1].rpartition("#")[0] for group in rows.groups)

    def _losses(self) -> list[LossReport]:
        """Return the accounting of the services chosen, those that lost most first."""
        found = []
        for row in self._store.accounting():
            if not self._parameters.chooses(environment=row.environment, service=row.service):
                continue
            dropped = sum(row.dropped.values())
            lost, whole = row.agent_lost + dropped, row.sent + dropped
            body = LossReport(
                environment=row.environment,
                service=row.service,
                accounting=accounting_of(row),
                lost_share=lost / whole if whole else None,
            )
            found.append((-lost, row.environment, row.service, body))
        return [row[3] for row in sorted(found, key=lambda row: row[:3])]

    def _gaps(self, series: list[HistoryRow], *, began: bool) -> list[GapSpan]:
        """Return the gaps; what lies before the first data of all is none."""
        found = []
        for state, rows in groupby(series, key=lambda row: row.state):
            if state != GAP:
                began = True
            elif began:
                some = list(rows)
                from_s = epoch(some[0].t)
                to_s = epoch(some[-1].t) + some[-1].seconds
                found.append(
                    GapSpan(from_=some[0].t, to=self._parameters.shown(to_s), seconds=to_s - from_s)
                )
        return found


_TIMES: Final = ("mean", "p50", "p90", "p95", "p99", "p999", "max")


def _change(now: ReportTotals, before: ReportTotals) -> dict[str, float | None]:
    found: dict[str, float | None] = {}
    for name in _CHANGED:
        new, old = getattr(now, name), getattr(before, name)
        key = "errorRate" if name == "error_rate" else name
        found[key] = (new - old) / old if new is not None and old else None
    if not alike(now.seconds, before.seconds):
        # Counts of different times say nothing; rates beside them do.
        found["requests"] = None
    return found
