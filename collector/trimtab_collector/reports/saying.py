"""What a report says in sentences: the summary first, and what limits it."""

from collections import Counter
from typing import Final

from trimtab_collector.contract.kpis import FIGURES
from trimtab_collector.contract.languages import Phrases
from trimtab_collector.contract.quantities import QUANTITIES, Quantities, number
from trimtab_collector.contract.reports import ReportBody, UptimeBody
from trimtab_collector.reads.presence import GAP
from trimtab_collector.reports.texts import ENGLISH, KOREAN

__all__ = ["PHRASES", "kpi_name", "notes_of", "opening_of", "summary_of"]

PHRASES: Final = Phrases({"en": ENGLISH, "ko": KOREAN})
#: names of missed targets in a sentence
_NAMED: Final = 3
#: with less of the time before, it says how much it is that is compared with
_WHOLE: Final = 0.9
#: less of a budget than this is worth a sentence
_LITTLE: Final = 0.25


def kpi_name(language: str, kpi_id: str, name: str) -> str:
    """Return the name of a target; shipped ones have one in each language, unless renamed."""
    key = f"kpi_{kpi_id}"
    if key in PHRASES.keys and PHRASES.say("en", key) == name:
        return PHRASES.say(language, key)
    return name


def summary_of(report: ReportBody) -> list[str]:
    """Return what there is to say first; the first sentence is the most important one."""
    return [
        *(*_traffic(report), *_uptime(report), *_alerts(report)),
        *(*_targets(report), *_budgets(report), *_deploys(report)),
    ]


def opening_of(report: ReportBody) -> list[str]:
    """Return what the overview of the period opens with, unless nothing came in at all."""
    sentence = report.sentence
    if sentence.severity in ("empty", "late"):
        return []
    return [sentence.text, sentence.detail] if sentence.detail else [sentence.text]


def notes_of(report: ReportBody) -> list[str]:
    """Return what limits a report."""
    notes = []
    known_s = sum(row.seconds for row in report.series_before if row.state != GAP)
    whole_s = sum(row.seconds for row in report.series_before)
    if report.before.requests and known_s < _WHOLE * whole_s:
        notes.append(_say(report, "note_before_part", long=_shown(report).duration(known_s)))
    if not report.complete:
        notes.append(_say(report, "note_incomplete"))
    first = next((row for row in report.series if row.state != GAP), None)
    if first is not None and first is not report.series[0] and not report.before.requests:
        notes.append(_say(report, "note_first", at=first.t[:16].replace("T", " ")))
    missing_s = sum(gap.seconds for gap in report.gaps)
    if missing_s:
        notes.append(_say(report, "note_gaps", long=_shown(report).duration(missing_s)))
    if report.now.requests and not report.before.requests:
        notes.append(_say(report, "note_before"))
    if report.resolution > 60:
        long = _shown(report).duration(report.resolution)
        notes.append(_say(report, "note_resolution", long=long))
    lost = sum(
        row.accounting.agent_lost + sum(row.accounting.dropped.values())
        for row in report.accounting
    )
    if lost:
        notes.append(_say(report, "note_lost", count=number(lost)))
    notes.append(_say(report, "note_exact"))
    return notes


def _shown(report: ReportBody) -> Quantities:
    return QUANTITIES[report.language]


def _say(report: ReportBody, key: str, **fields: str) -> str:
    return PHRASES.say(report.language, key, **fields)


def _traffic(report: ReportBody) -> list[str]:
    now = report.now
    if not now.requests or now.p95 is None:
        return [_say(report, "sum_nothing")]
    fields = {
        "what": report.service or _say(report, "all_services"),
        "requests": f"{now.requests:,}",
        "p95": _shown(report).quantity(now.p95, "ms"),
        "errors": _shown(report).percent(now.error_rate),
    }
    moved = report.change["p95"]
    if moved is None or report.before.p95 is None:
        return [_say(report, "sum_traffic", **fields)]
    before = _shown(report).quantity(report.before.p95, "ms")
    if abs(moved) < 0.1:
        return [_say(report, "sum_same", before=before, **fields)]
    key = "sum_slower" if moved > 0 else "sum_faster"
    return [_say(report, key, before=before, change=_shown(report).change(moved), **fields)]


def _uptime(report: ReportBody) -> list[str]:
    down_s = sum(row.down_seconds for row in report.uptime)
    watched_s = down_s + sum(row.up_seconds for row in report.uptime)
    if not watched_s:
        return []
    slow = max(report.uptime, key=lambda row: row.slow_seconds)
    shown = _shown(report)
    slowly = (
        [_say(report, "sum_slow", service=slow.service, long=shown.duration(slow.slow_seconds))]
        if slow.slow_seconds
        else []
    )
    if not down_s:
        return [_say(report, "sum_up"), *slowly]
    outages = sum(len(row.outages) + row.outages_left_out for row in report.uptime)
    worst = report.uptime[0]
    share = 1 - down_s / watched_s
    return [
        _say(
            report,
            "sum_down_once" if outages == 1 else "sum_down",
            share=shown.percent(share, 5 if share > 0.99 else 3),
            outages=str(outages),
            worst=worst.service,
            how=_say(report, f"how_{_kind_of(worst)}"),
            long=shown.duration(worst.down_seconds),
        ),
        *slowly,
    ]


def _kind_of(row: UptimeBody) -> str:
    """Return what the outages of a service were: all of one kind, or several."""
    kinds = {outage.kind for outage in row.outages}
    return kinds.pop() if len(kinds) == 1 else "several"


def _alerts(report: ReportBody) -> list[str]:
    counts = Counter(alert.severity for alert in report.alerts)
    if not counts:
        return [_say(report, "sum_calm")]
    return [
        _say(
            report,
            "sum_alerts",
            critical=str(counts["critical"]),
            warning=str(counts["warning"]),
        )
    ]


def _targets(report: ReportBody) -> list[str]:
    measured = [row for row in report.kpis if row.status not in ("notMeasured", "notTested")]
    missed = [row for row in measured if row.status == "fail"]
    if not measured:
        return []
    met = {"met": str(len(measured) - len(missed)), "all": str(len(measured))}
    if not missed:
        return [_say(report, "sum_targets", **met)]
    named = [
        f"{kpi_name(report.language, row.id, row.name)} "
        f"({_shown(report).beside(row.value, row.target, FIGURES[row.figure].unit)})"
        for row in missed[:_NAMED]
    ]
    more = len(missed) - len(named)
    names = ", ".join(named) + (f" + {more}" if more else "")
    return [_say(report, "sum_missed", names=names, **met)]


def _budgets(report: ReportBody) -> list[str]:
    low = [row for row in report.slos if row.budget.left is not None]
    if not low or low[0].budget.left is None:
        return []
    left = low[0].budget.left
    if left < 0:
        return [_say(report, "sum_overdrawn", name=low[0].name)]
    if left < _LITTLE:
        shown = _shown(report).percent(left, 2)
        return [_say(report, "sum_budget", name=low[0].name, left=shown)]
    return []


def _deploys(report: ReportBody) -> list[str]:
    deploys = [mark for mark in report.marks if mark.kind == "deploy"]
    if not deploys:
        return []
    return [_say(report, "sum_deploys", count=str(len(deploys)))]
