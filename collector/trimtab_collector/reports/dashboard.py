"""The first page: now, the last hour, day and week, open alerts, trends, what to do."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np

from trimtab_collector.contract.alerts import is_told
from trimtab_collector.contract.analysis import CRITICAL, HEALTHY, WARNING
from trimtab_collector.contract.dashboard import Dashboard, DashboardHistory, Trends
from trimtab_collector.contract.history import EMPTY, GROUP_BY, PERIOD, PERIODS, History
from trimtab_collector.contract.languages import language_of
from trimtab_collector.contract.parameters import STEP, Parameters
from trimtab_collector.reads.advice import advice_of
from trimtab_collector.reads.analysis import analysis_of, sentences
from trimtab_collector.reads.current import current
from trimtab_collector.reads.history import history
from trimtab_collector.reads.judging.facts import Facts
from trimtab_collector.reads.reader import StoreReader
from trimtab_collector.reports.reporter import Reporter
from trimtab_collector.reports.trends import SPAN_S, Trend, trend_of
from trimtab_collector.storage.store import GaugeSelection

__all__ = ["dashboard"]

_SHOWN: Final = 100
_NOW_S: Final = 10
_STEP_S: Final = 300
_MEMORY: Final = "process.memory.usage"
_CPU: Final = "process.cpu.utilization"
_WORSE: Final = (HEALTHY, WARNING, CRITICAL)


def dashboard(reporter: Reporter, parameters: Parameters) -> Dashboard:
    """Return what a first page shows: now, history, alerts, trends, recommendations."""
    reader, where, now_s = reporter.reader, parameters.where, parameters.now_s
    alerts = reporter.alerts.open(where.get("environment", ""), where.get("service", ""))
    facts, language = Facts(reader, parameters), language_of(parameters)
    analysis = analysis_of(facts, language)
    told = [alert.severity for alert in alerts if is_told(alert)]
    states = [analysis.status, *(CRITICAL if each == "critical" else WARNING for each in told)]
    return Dashboard(
        timestamp=parameters.shown(now_s),
        status=max(states, key=_WORSE.index),
        sentence=reporter.overviews.sentence(parameters),
        current=current(reader, _back(parameters, _NOW_S)),
        history=DashboardHistory(
            hourly=_history(reader, parameters, "hourly"),
            daily=_history(reader, parameters, "daily"),
            weekly=_history(reader, parameters, "weekly"),
        ),
        alerts=list(alerts[:_SHOWN]),
        alerts_left_out=max(0, len(alerts) - _SHOWN),
        trends=_trends(reader, parameters),
        recommendations=sentences(analysis, advice_of(facts, language), language),
    )


def _back(parameters: Parameters, seconds: float, **values: Any) -> Parameters:
    """Return the parameters of a read over the last seconds."""
    now_s = parameters.now_s
    more: Mapping[str, Any] = {**parameters.values, **values}
    return replace(parameters, from_s=now_s - seconds, to_s=now_s, values=more)


def _history(reader: StoreReader, parameters: Parameters, period: str) -> History:
    values = {PERIOD.name: period, GROUP_BY.name: (), STEP.name: None, EMPTY.name: "rows"}
    found = history(reader, _back(parameters, PERIODS[period][0], **values))
    if not isinstance(found, History):
        raise TypeError(f"expected a history without groups, got {type(found).__name__}")
    return found


def _trends(reader: StoreReader, parameters: Parameters) -> Trends:
    time_range = reader.ranges.stepped(_back(parameters, SPAN_S, **{STEP.name: _STEP_S}), 1000)
    figures = reader.figures(time_range)
    t = figures.rows.t
    whole = figures.seconds >= _STEP_S  # the first and last steps may not be whole
    requests = figures["requests"]
    rate = np.where(whole, requests / np.maximum(1, figures.seconds), np.nan)
    times = trend_of(t, np.where(requests > 0, figures["p95"], np.nan))
    failing = trend_of(t, figures["error_rate"])
    throughput = trend_of(t, rate)
    memory, cpu = (_of_gauge(reader, time_range.selection.edges_s, parameters, name)
                   for name in (_MEMORY, _CPU))  # fmt: skip
    return Trends(
        memory_trend=memory.direction,
        memory_change=memory.change,
        cpu_trend=cpu.direction,
        cpu_change=cpu.change,
        response_time_trend=times.direction,
        response_time_change=times.change,
        throughput_trend=throughput.direction,
        throughput_change=throughput.change,
        error_rate_trend=failing.direction,
        error_rate_change=failing.change,
    )


def _of_gauge(
    reader: StoreReader, edges_s: tuple[int, ...], parameters: Parameters, name: str
) -> Trend:
    owners = {
        field: text
        for field, text in parameters.where.items()
        if field in ("environment", "service", "instance")
    }
    rows = reader.store.read_gauges(GaugeSelection(edges_s, (name,), owners, ("name",)))
    return trend_of(rows.t, rows.mean)
