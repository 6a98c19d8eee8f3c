"""The tables of a report's page, from objectives to the accounting of records."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from trimtab_collector.contract.errors import epoch
from trimtab_collector.contract.quantities import DASH, QUANTITIES, number
from trimtab_collector.contract.reports import ReportBody, ReportRoute, UptimeBody
from trimtab_collector.reports.markup import Markup, el, joined
from trimtab_collector.reports.plots import Frame, Span, bar, strip
from trimtab_collector.reports.saying import PHRASES, kpi_name

__all__ = ["Sections"]

#: less of a budget than this is coloured
_LITTLE = 0.25


class Sections:
    """Writes the cards below the plots, in the language of the report."""

    def __init__(self, report: ReportBody, frame: Frame) -> None:
        self._report = report
        self._frame = frame
        self._shown = QUANTITIES[report.language]

    def say(self, key: str, **fields: Any) -> str:
        """Return a text."""
        return PHRASES.say(self._report.language, key, **fields)

    def time(self, text: str) -> str:
        """Return a time of the report, short."""
        moment = datetime.fromisoformat(text)
        shape = "%H:%M" if self._report.period == "daily" else "%m-%d %H:%M"
        return moment.strftime(shape)

    def cards(self) -> Iterator[Markup]:
        """Yield all cards, in their order."""
        yield self._objectives()
        yield self._kpis()
        yield self._routes()
        yield self._slower()
        yield self._failing()
        yield self._alerts()
        yield self._marks()
        yield self._uptime()
        yield self._hosts()
        yield self._accounting()

    def _objectives(self) -> Markup:
        rows = []
        for slo in self._report.slos:
            left = slo.budget.left
            kind = "ok" if left is None or left >= _LITTLE else "warn" if left >= 0 else "bad"
            good = (
                self.say("no_errors")
                if slo.below is None
                else self.say("below", value=self._shown.quantity(slo.below, "ms"))
            )
            meter = bar(left or 0.0, kind, self._shown.percent(left)) if left is not None else ""
            rows.append((
                joined(slo.name, el("span", good, class_="sub")),
                self._shown.percent(slo.target, 5),
                self.say("days", count=slo.window_days),
                self._shown.percent(slo.budget.good_share, 5),
                joined(meter, " ", self._shown.percent(left, 2)),
                self._shown.percent(slo.taken, 2),
            ))  # fmt: skip
        heads = ("objective", "target", "window", "good", "budget_left", "taken")
        return self._card("objectives", heads, rows, "none_slos")

    def _kpis(self) -> Markup:
        rows = []
        for kpi in self._report.kpis:
            value = self._shown.beside(kpi.value, kpi.target, kpi.unit)
            note = joined(" ", el("span", kpi.note, class_="sub")) if kpi.note else ""
            name = kpi_name(self._report.language, kpi.id, kpi.name)
            rows.append((
                joined(el("span", class_=f"dot {kpi.status}"), name,
                       el("span", kpi.how, class_="sub")),
                self._shown.quantity(kpi.target, kpi.unit),
                DASH if kpi.allowed is None else self._shown.quantity(kpi.allowed, kpi.unit),
                joined(str(value), note),
                el("span", self.say(f"status_{kpi.status}"), class_=_STATUS[kpi.status]),
            ))  # fmt: skip
        heads = ("figure", "target", "allowed", "measured", "result")
        return self._card("key_figures", heads, rows)

    def _routes(self) -> Markup:
        rows = [
            (
                self._route(row),
                f"{row.requests:,}",
                *(self._shown.quantity(value, "ms") for value in (row.p50, row.p95, row.p99)),
                self._shown.percent(row.error_rate),
                joined(bar(row.time_share, "share", self._shown.percent(row.time_share)), " ",
                       self._shown.percent(row.time_share, 2)),
                self._moved(row),
            )
            for row in self._report.routes
        ]  # fmt: skip
        heads = ("route", "n_requests", "=p50", "=p95", "=p99", "n_errors", "share", "change")
        return self._card("routes_time", heads, rows, "none_routes", self._report.routes_left_out)

    def _slower(self) -> Markup:
        rows = [
            (
                self._route(row),
                f"{row.requests:,}",
                self._shown.quantity(row.p95_before, "ms"),
                self._shown.quantity(row.p95, "ms"),
                self._moved(row),
            )
            for row in self._report.slower
        ]
        heads = ("route", "n_requests", "p95_before", "=p95", "change")
        return self._card("routes_slower", heads, rows, "none_slower")

    def _failing(self) -> Markup:
        rows = [
            (
                self._route(row),
                f"{row.requests:,}",
                f"{row.errors:,}",
                self._shown.percent(row.error_rate),
                self._shown.percent(row.error_rate_before),
            )
            for row in self._report.failing
        ]
        heads = ("route", "n_requests", "n_errors", "share_of_requests", "before")
        return self._card("routes_failing", heads, rows, "none_failing")

    def _alerts(self) -> Markup:
        rows = []
        for alert in self._report.alerts:
            ended = (
                self.say("open")
                if alert.recovered_at is None and alert.resolved_at is None
                else self._shown.duration(alert.seconds)
            )
            worst = self._shown.beside(alert.worst, alert.threshold, alert.unit)
            rows.append((
                joined(el("span", class_=f"dot {alert.severity}"), alert.title),
                self.time(alert.since),
                ended,
                self._shown.quantity(alert.threshold, alert.unit),
                str(worst),
            ))  # fmt: skip
        heads = ("alert", "since", "lasted", "line", "worst")
        return self._card("alerts", heads, rows, "none_alerts", self._report.alerts_left_out)

    def _marks(self) -> Markup:
        rows = [
            (
                " ".join(filter(None, (mark.service, mark.name))),
                self.time(mark.at),
                mark.kind,
                joined(mark.detail, el("span", mark.by, class_="sub") if mark.by else ""),
            )
            for mark in self._report.marks
        ]
        heads = ("mark", "at", "kind", "<detail")
        return self._card("marks", heads, rows, "none_marks", self._report.marks_left_out)

    def _uptime(self) -> Markup:
        rows = [
            (
                joined(each.service, el("span", each.environment, class_="sub")),
                strip(self._frame, list(self._outages(each)), self._shown.percent(each.share, 5)),
                self._shown.percent(each.share, 5),
                self._shown.duration(each.down_seconds) if each.down_seconds else "0",
                self._shown.duration(each.slow_seconds) if each.slow_seconds else "0",
                str(len(each.outages) + each.outages_left_out),
                DASH
                if each.recovery_seconds is None
                else self._shown.duration(each.recovery_seconds),
                self._shown.duration(each.unknown_seconds) if each.unknown_seconds else "0",
            )
            for each in self._report.uptime
        ]
        heads = ("service", "up", "n_uptime", "down", "slow", "outages", "recovery", "unknown")
        return self._card("uptime", heads, rows, "none_uptime", self._report.uptime_left_out)

    def _outages(self, found: UptimeBody) -> Iterator[Span]:
        yield from (span for span in self._frame.spans if span.kind == "gap")
        for each in found.outages:
            long = self._shown.duration(each.seconds)
            how = self.say(f"how_{each.kind}")
            title = f"{self.time(each.from_)}, {long}: {how} ({', '.join(each.causes)})"
            yield Span(epoch(each.from_), epoch(each.to), "down", title)

    def _hosts(self) -> Markup:
        rows = [
            (
                host.host,
                *(self._shown.percent(value) for value in (
                    host.cpu_mean, host.cpu_peak, host.memory_mean, host.memory_peak, host.disk_used
                )),
            )
            for host in self._report.hosts
        ]  # fmt: skip
        heads = ("host", "cpu_mean", "cpu_peak", "memory_mean", "memory_peak", "disk_used")
        return self._card("hosts", heads, rows, "none_hosts", self._report.hosts_left_out)

    def _accounting(self) -> Markup:
        rows = []
        for each in self._report.accounting:
            account = each.accounting
            dropped = sum(account.dropped.values())
            why = ", ".join(f"{name} {count:,}" for name, count in account.dropped.items() if count)
            lost = account.agent_lost + dropped
            share = self._shown.percent(each.lost_share) if lost else "0"
            rows.append((
                joined(each.service, el("span", each.environment, class_="sub")),
                f"{account.sent:,}",
                f"{account.counted:,}",
                f"{account.held:,}",
                f"{account.agent_lost:,}",
                joined(f"{dropped:,}", el("span", why, class_="sub") if why else ""),
                el("span", share, class_="poor" if lost else "good"),
            ))  # fmt: skip
        heads = ("service", "sent", "counted", "held", "lost", "dropped", "lost_share")
        return self._card("accounting", heads, rows, "", self._report.accounting_left_out)

    def _route(self, row: ReportRoute) -> Markup:
        return joined(
            f"{row.method} {row.route}",
            el("span", " ".join((row.service, row.environment)), class_="sub"),
        )

    def _moved(self, row: ReportRoute) -> Markup:
        if row.change is None:
            return el("span", DASH, class_="none")
        kind = "poor" if row.change >= 0.1 else "good" if row.change <= -0.1 else "none"
        return el("span", self._shown.change(row.change), class_=kind)

    def _card(
        self,
        title: str,
        heads: Sequence[str],
        rows: Sequence[Sequence[str]],
        empty: str = "",
        left_out: int = 0,
    ) -> Markup:
        """Return a table; a head that begins with `=` is itself, one with `<` is of text."""
        if not rows:
            if not empty:
                return Markup()
            body = el("p", self.say(empty), class_="none")
        else:
            head = [
                el("th", name[1:] if name[0] == "=" else self.say(name.lstrip("<")),
                   class_="text" if name[0] == "<" else None)
                for name in heads
            ]  # fmt: skip
            lines = [
                el("tr", *(
                    el("td", cell, class_="text" if name[0] == "<" else None)
                    for name, cell in zip(heads, row, strict=True)
                ))
                for row in rows
            ]  # fmt: skip
            table = el("table", el("thead", el("tr", *head)), el("tbody", *lines))
            more = (
                el("p", self.say("more", count=number(left_out)), class_="more") if left_out else ""
            )
            body = joined(el("div", table, class_="scroll"), more)
        header = el("div", el("h2", self.say(title)), class_="head")
        kind = "card long" if len(rows) > 12 else "card"
        return el("section", header, body, class_=kind, id=title.replace("_", "-"))


_STATUS = {
    "pass": "good",
    "allowed": "so",
    "fail": "poor",
    "notMeasured": "none",
    "notTested": "none",
}
