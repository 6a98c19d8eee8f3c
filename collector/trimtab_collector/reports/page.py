"""A report as one page of HTML that needs nothing else: no script, no file, no address."""

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from trimtab_collector.contract.errors import epoch
from trimtab_collector.contract.history import HistoryRow
from trimtab_collector.contract.quantities import DASH, QUANTITIES, number
from trimtab_collector.contract.reports import ReportBody
from trimtab_collector.contract.zones import zone_of
from trimtab_collector.reports.markup import Markup, el, joined
from trimtab_collector.reports.plots import (
    Frame,
    Label,
    Series,
    Span,
    latency_plot,
    requests_plot,
)
from trimtab_collector.reports.saying import PHRASES
from trimtab_collector.reports.sections import Sections
from trimtab_collector.reports.style import POLICY, STYLE

__all__ = ["page_of"]

#: hours between ticks of a day
_HOURS: Final = 4
#: the space between a number and its unit
_UNIT: Final = re.compile(r"(?<=\d) (?=(?:%|ms|s|min|h|d|B|[KMGT]i?B)\b|%)")
#: a number and its unit, which may stand before it
_QUANTITY: Final = re.compile(r"(\D*?)([\N{MINUS SIGN}\d][\d.,]*) ?(\D*)")
#: changes from which on they are coloured
_MOVED: Final = 0.1


def page_of(report: ReportBody, made_at: str) -> str:
    """Return the page of a report; made_at is shown at its foot."""
    return f"<!doctype html>\n{_Page(report).html(made_at)}\n"


class _Page:
    def __init__(self, report: ReportBody) -> None:
        self._report = report
        self._from_s, self._to_s = epoch(report.from_), epoch(report.to)
        self._shown = QUANTITIES[report.language]
        self._frame = self._framed()
        self._sections = Sections(report, self._frame)
        self._say = self._sections.say

    def html(self, made_at: str) -> Markup:
        report = self._report
        first, *others = report.summary
        kind = self._say(f"title_{report.period}")
        if not report.complete:
            kind = f"{kind} {self._say('so_far')}"
        head = el(
            "head",
            el("meta", charset="utf-8"),
            el("meta", http_equiv="Content-Security-Policy", content=POLICY),
            el("meta", name="viewport", content="width=device-width, initial-scale=1"),
            el("meta", name="referrer", content="no-referrer"),
            el("title", f"trimtab: {kind} {self._dates()}"),
            el("style", Markup(STYLE)),
        )
        where = " / ".join(filter(None, (report.environment, report.service)))
        header = el(
            "header",
            el("p", f"{kind} · {self._dates()} · {where or self._say('everything')}"),
            el("h1", _kept(first)),
            el("p", _kept(" ".join(others)), class_="lede"),
        )
        notes = el("ul", *(el("li", note) for note in report.notes))
        main = el(
            "main",
            header,
            el("div", *self._tiles(), class_="tiles"),
            self._plots(),
            *self._sections.cards(),
            el("section", el("div", el("h2", self._say("notes")), class_="head"), notes,
               class_="card", id="notes"),
            el("footer", el("p", self._say("made", at=made_at, zone=report.timezone))),
        )  # fmt: skip
        return el("html", head, el("body", main), lang=report.language)

    def _dates(self) -> str:
        first = datetime.fromisoformat(self._report.from_).date()
        last = (datetime.fromisoformat(self._report.to) - timedelta(seconds=1)).date()
        return str(first) if first == last else f"{first} {DASH} {last}"

    def _tiles(self) -> Iterator[Markup]:
        now, before, moved = self._report.now, self._report.before, self._report.change
        below = self._shown.change(moved["requests"])
        if moved["requests"] is None and before.requests:
            rate = self._shown.quantity(now.requests_per_second, "1/s")
            was_rate = self._shown.quantity(before.requests_per_second, "1/s")
            below = f"{rate}, {self._was(was_rate)}"
        yield self._tile("requests", f"{now.requests:,}", below)
        p95 = self._shown.quantity(now.p95, "ms")
        yield self._tile(
            "=p95", p95, *self._change(moved["p95"], self._shown.quantity(before.p95, "ms"))
        )
        errors = self._shown.quantity(now.error_rate, "ratio")
        yield self._tile("errors", errors, self._was(self._shown.percent(before.error_rate)))
        apdex = DASH if now.apdex is None else f"{now.apdex:.2f}"
        apdex_was = None if before.apdex is None else f"{before.apdex:.2f}"
        yield self._tile("apdex", apdex, self._was(apdex_was))
        up_s = sum(each.up_seconds for each in self._report.uptime)
        down_s = sum(each.down_seconds for each in self._report.uptime)
        share = up_s / (up_s + down_s) if up_s + down_s else None
        yield self._tile(
            "uptime",
            self._shown.quantity(share, "ratio"),
            f"{self._say('down')} {self._shown.duration(down_s)}",
            "poor" if down_s else "",
        )
        critical = sum(alert.severity == "critical" for alert in self._report.alerts)
        warning = len(self._report.alerts) - critical
        yield self._tile(
            "alerts",
            number(critical + warning + self._report.alerts_left_out),
            self._say("critical_warning", critical=critical, warning=warning),
            "poor" if critical else "",
        )

    def _tile(self, name: str, value: str, note: str, kind: str = "") -> Markup:
        shown = name[1:] if name[0] == "=" else self._say(name)
        return el(
            "div",
            el("div", shown, class_="name"),
            el("div", *_sized(value), class_="value"),
            el("div", _kept(note), class_=f"note {kind}".strip()),
            class_="card tile",
        )

    def _was(self, before: str | None) -> str:
        missing = before is None or not self._report.before.requests
        return self._say("not_before") if missing else self._say("was", value=before)

    def _change(self, moved: float | None, before: str) -> tuple[str, str]:
        if moved is None:
            return self._was(None), ""
        kind = "poor" if moved >= _MOVED else "good" if moved <= -_MOVED else ""
        return f"{self._shown.change(moved)}, {self._was(before)}", kind

    def _plots(self) -> Markup:
        report = self._report
        now = self._series(report.series, 0.0)
        # The period before is drawn under the times of this one.
        before = self._series(report.series_before, self._from_s - epoch(report.before.from_))
        latency = el(
            "section",
            el("div", el("h2", self._say("response_time"), el("small", "ms")),
               el("div", *self._key(), class_="key"), class_="head"),
            latency_plot(self._frame, now, before, self._say("response_time")),
            class_="card",
        )  # fmt: skip
        requests = el(
            "section",
            el("div", el("h2", self._say("requests"), el("small", self._say("per_second"))),
               el("div", self._swatch("bar", "requests"), self._swatch("bad", "errors"),
                  class_="key"), class_="head"),
            requests_plot(self._frame, now, before, self._say("requests")),
            class_="card",
        )  # fmt: skip
        return joined(latency, requests)

    def _key(self) -> Iterator[Markup]:
        yield self._line("p50", "p50")
        yield self._swatch("band", "p50_p95")
        yield self._line("p99", "p99")
        yield self._line("was", self._say("p95_before"))
        kinds = {span.kind for span in self._frame.spans}
        if "gap" in kinds:
            yield self._swatch("gap", "gap")
        if "alarm" in kinds:
            yield self._swatch("alarm", "firing")

    def _swatch(self, kind: str, key: str) -> Markup:
        box = el("rect", x=0, y=0, width=10, height=10, rx=2, class_=kind)
        return el("span", el("svg", box, viewBox="0 0 10 10", width=10, height=10), self._say(key))

    def _line(self, kind: str, text: str) -> Markup:
        drawn = el("path", d="M0 5L16 5", class_=kind)
        return el("span", el("svg", drawn, viewBox="0 0 16 10", width=16, height=10), text)

    def _series(self, rows: list[HistoryRow], moved_s: float) -> Series:
        half = self._report.step / 2
        return Series(rows, [epoch(row.t) + half + moved_s for row in rows])

    def _framed(self) -> Frame:
        report = self._report
        spans = [
            Span(epoch(gap.from_), epoch(gap.to), "gap",
                 f"{PHRASES.say(report.language, 'gap')}, {self._shown.duration(gap.seconds)}")
            for gap in report.gaps
        ]  # fmt: skip
        for alert in report.alerts:
            if alert.severity == "critical":
                since_s = epoch(alert.since)
                to_s = min(since_s + alert.seconds, self._to_s)
                spans.append(Span(max(since_s, self._from_s), to_s, "alarm", alert.title))
        labels = [
            Label(epoch(mark.at), " ".join(filter(None, (mark.service, mark.name))),
                  " ".join(filter(None, (mark.kind, mark.service, mark.name, mark.detail))))
            for mark in report.marks
        ]  # fmt: skip
        return Frame(self._from_s, self._to_s, list(self._ticks()), spans, labels, report.step)

    def _ticks(self) -> Iterator[tuple[float, str]]:
        """Yield each fourth hour of a day, or each midnight of a week, in the report's zone."""
        zone = zone_of(self._report.timezone)
        day = datetime.fromtimestamp(self._from_s, zone).date()
        daily = self._report.period == "daily"
        for place in range(24 // _HOURS if daily else 7):
            hour = _HOURS * place if daily else 0
            moment = datetime(day.year, day.month, day.day, hour, tzinfo=zone)
            yield moment.timestamp(), f"{moment:%H:%M}" if daily else f"{moment:%m-%d}"
            day += timedelta(days=not daily)


def _sized(text: str) -> Iterator[str]:
    """Yield the parts of a quantity, its unit small."""
    found = _QUANTITY.fullmatch(text)
    if found is None:
        yield text
        return
    before, digits, unit = found.groups()
    yield el("small", before) if before else ""
    yield digits
    yield el("small", unit) if unit else ""


def _kept(text: str) -> str:
    """Return a text in which numbers stay with their units."""
    return _UNIT.sub("\N{NO-BREAK SPACE}", text)
