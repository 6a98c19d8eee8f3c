"""Reports: a day or a week in figures."""

from datetime import date, timedelta
from typing import Any, Final

from trimtab_collector.contract.body import Body
from trimtab_collector.contract.errors import bad_parameter
from trimtab_collector.contract.figures import Times
from trimtab_collector.contract.history import HistoryRow
from trimtab_collector.contract.kinds import Choice, Moment, Parameter
from trimtab_collector.contract.kpis import KpiResult
from trimtab_collector.contract.marks import MarkBody
from trimtab_collector.contract.overview import OverviewSentence
from trimtab_collector.contract.services import Accounting
from trimtab_collector.contract.slos import BudgetBody

__all__ = [
    "DATE",
    "FORMAT",
    "REPORT_PERIOD",
    "AlertSpan",
    "GapSpan",
    "HostReport",
    "LossReport",
    "OutageBody",
    "ReportBody",
    "ReportRoute",
    "ReportTotals",
    "SloReport",
    "UptimeBody",
]

REPORT_PERIOD: Final = Choice("period", "A day, or a week from Monday.", ("daily", "weekly"),
                              "daily")  # fmt: skip
FORMAT: Final = Choice("format", "JSON, or one page of HTML.", ("json", "html"), "json")


class _Day(Parameter[date | None]):
    """A day of the calendar; None where it is not given."""

    def read(self, text: str, moment: Moment) -> date | None:
        """Return the day."""
        try:
            found = date.fromisoformat(text)
            if timedelta(days=2) < found - date(1970, 1, 1) < timedelta(days=49_000):
                return found
        except ValueError:
            pass
        raise bad_parameter(self.name, "a day such as 2026-11-29", text)

    @property
    def absent(self) -> date | None:
        """None: the last period that has ended."""
        return None

    def schema(self) -> dict[str, Any]:
        """Return the schema of a day."""
        return {"type": "string", "format": "date"}


DATE: Final = _Day("date", "A day of the period, in `tz`; without it the last one that has ended.")


class ReportTotals(Times, kw_only=True):
    """Requests of a whole period; what was not measured is null."""

    from_: str
    to: str
    #: that were watched: what the rate is over
    seconds: float
    errors: int
    error_rate: float | None
    apdex: float | None
    #: mean ms of a request in each part
    database_time: float | None
    external_time: float | None
    cache_time: float | None
    bytes: int


class ReportRoute(Times, kw_only=True):
    """A route in the period, and its p95 and requests in the period before."""

    environment: str
    service: str
    route: str
    method: str
    errors: int
    error_rate: float | None
    #: of the time of all requests
    time_share: float
    requests_before: int
    p95_before: float | None
    error_rate_before: float | None
    #: of p95, (now - before) / before; null with fewer than 100 requests on a side
    change: float | None


class SloReport(Body, kw_only=True):
    """An objective at the end of the period: its budget, and what the period took of it."""

    id: str
    name: str
    target: float
    objective: str
    below: float | None
    window_days: int
    budget: BudgetBody
    #: of the period alone
    requests: int
    bad: int
    #: share of the budget that the period took; null without requests
    taken: float | None
    note: str | None


class AlertSpan(Body, kw_only=True):
    """An alert that fired in the period."""

    id: str
    title: str
    rule: str
    severity: str
    type: str
    metric: str
    threshold: float
    worst: float | None
    unit: str
    environment: str
    service: str
    route: str
    instance: str
    fired_at: str
    #: since when it has been good; null while it is not
    recovered_at: str | None
    #: null while it is open
    resolved_at: str | None
    #: since when its line was crossed
    since: str
    #: how long it lasted, from since until it was good again, also outside the period; of one that
    #: goes on until the end of the period, or now
    seconds: float


class OutageBody(Body, kw_only=True):
    """A time in which a service was not there for its callers."""

    from_: str
    to: str
    seconds: float
    #: the worst of it: down (no process) or failed (its requests)
    kind: str
    causes: list[str]
    #: whether it goes on at the end of the period
    open: bool


class UptimeBody(Body, kw_only=True):
    """How long a service was up; `unknown` is time in which nobody could see."""

    environment: str
    service: str
    #: share of the watched time; null if there was none. Too slow is not down
    share: float | None
    up_seconds: int
    down_seconds: int
    #: of the time up, in which its response time was critical
    slow_seconds: int
    unknown_seconds: int
    recovery_seconds: float | None
    outages: list[OutageBody]
    outages_left_out: int


class GapSpan(Body, kw_only=True):
    """Steps in a row in which nothing arrived."""

    from_: str
    to: str
    seconds: float


class HostReport(Body, kw_only=True):
    """A host or container over the period: shares of what it may use."""

    host: str
    cpu_mean: float | None
    cpu_peak: float | None
    memory_mean: float | None
    memory_peak: float | None
    disk_used: float | None


class LossReport(Body, kw_only=True):
    """What became of the records of a service, over the life of the store."""

    environment: str
    service: str
    accounting: Accounting
    #: share of all records, sent or not, that are in no figure for good
    lost_share: float | None


class ReportBody(Body, kw_only=True):
    """A day or a week."""

    period: str
    from_: str
    to: str
    #: whether the period has ended
    complete: bool
    timezone: str
    language: str
    environment: str | None
    service: str | None
    step: int
    #: width of the widest windows that were read, seconds
    resolution: int
    #: what the overview says of the period
    sentence: OverviewSentence
    #: what there is to say first, a few sentences; it begins with that one
    summary: list[str]
    now: ReportTotals
    before: ReportTotals
    #: of requests, errorRate, p50, p95 and p99: (now - before) / before
    change: dict[str, float | None]
    series: list[HistoryRow]
    series_before: list[HistoryRow]
    slos: list[SloReport]
    kpis: list[KpiResult]
    #: most of the time first
    routes: list[ReportRoute]
    routes_left_out: int
    #: the largest rise of p95 first
    slower: list[ReportRoute]
    #: most errors first
    failing: list[ReportRoute]
    alerts: list[AlertSpan]
    alerts_left_out: int
    marks: list[MarkBody]
    marks_left_out: int
    uptime: list[UptimeBody]
    uptime_left_out: int
    hosts: list[HostReport]
    hosts_left_out: int
    accounting: list[LossReport]
    accounting_left_out: int
    gaps: list[GapSpan]
    #: what limits the report, in sentences
    notes: list[str]
