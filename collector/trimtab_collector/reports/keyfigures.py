"""Key figures of a time, held against their targets."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np

from trimtab_collector.contract.kpis import FIGURES, Kpi, KpiResult
from trimtab_collector.contract.quantities import QUANTITIES
from trimtab_collector.reads.measures import MeasureReads, attribute, calls_of
from trimtab_collector.reads.presence import PROCESS
from trimtab_collector.reads.ranges import TimeRange
from trimtab_collector.reads.reader import StoreReader
from trimtab_collector.reads.utilization import CPU_USE, by_machine
from trimtab_collector.reports.saying import PHRASES
from trimtab_collector.reports.uptime import ServiceUptime
from trimtab_collector.storage.columns import Array, quantiles_us, rekey
from trimtab_collector.storage.merging import merge
from trimtab_collector.storage.store import (
    GaugeRows,
    GaugeSelection,
    MeasureSelection,
    Rows,
    TooMuchError,
)

__all__ = ["KeyFigures", "Measured"]

_TASK: Final = "messaging.process.duration"
_QUERY: Final = "db.client.operation.duration"
_MEMORY: Final = "process.memory.usage"
_DISK: Final = ("system.disk.read.rate", "system.disk.write.rate")
_MINUTE_S: Final = 60
#: as many minutes, those of the busiest steps, are looked at one by one
_MINUTES: Final = 1440
_NETWORK: Final = ("system.network.receive.rate", "system.network.transmit.rate")


class Measured(NamedTuple):
    """A figure: its value and what it is of; where there is none, the key of the text why."""

    value: float | None
    of: int = 0
    note: str | None = None
    #: the key of the text what it is, where it differs from the one of the figure
    how: str = ""


class KeyFigures:
    """Measures the figures of one time; reads what several need once."""

    def __init__(
        self,
        reader: StoreReader,
        time_range: TimeRange,
        requests: Sequence[tuple[int, int, float]],
        overall: Mapping[str, float | None],
        uptimes: Sequence[ServiceUptime],
    ) -> None:
        """Take what is known: start, requests and seconds of each step, figures of all."""
        self._reader = reader
        self._range = time_range
        self._requests = requests
        self._overall = overall
        self._uptimes = uptimes
        self._routes: Rows | None = None
        self._tasks: MeasureReads | None = None
        self._hosts_known: frozenset[str] | None = None

    def results(self, kpis: Sequence[Kpi], language: str = "en") -> list[KpiResult]:
        """Return the targets that are enabled, with what was measured; raises TooMuchError."""
        return [self._result(kpi, language) for kpi in kpis if kpi.enabled]

    def _result(self, kpi: Kpi, language: str) -> KpiResult:
        figure = FIGURES[kpi.figure]
        found = self.measure(kpi)
        status = _status(kpi, found.value)
        note = found.note
        demand = kpi.figure in ("requestsPerSecond", "queriesPerSecond")
        if demand and status == "fail":
            # Fewer came than could have been served: that proves nothing.
            status, note = "notTested", "why_demand"
        return KpiResult(
            id=kpi.id,
            name=kpi.name,
            figure=kpi.figure,
            unit=figure.unit,
            target=kpi.target,
            allowed=kpi.allowed,
            status=status,
            value=found.value,
            count=found.of,
            how=PHRASES.say(
                language,
                f"how_{found.how or kpi.figure}",
                step=QUANTITIES[language].duration(self._step_s),
            ),
            note=PHRASES.say(language, note) if note else None,
        )

    def measure(self, kpi: Kpi) -> Measured:
        """Return the figure that a target is about; raises TooMuchError."""
        match kpi.figure:
            case "responseTime":
                return self._response_time(kpi.match)
            case "taskTime":
                return self._task_time(kpi.match)
            case "requestsPerSecond":
                return self._busiest()
            case "queriesPerSecond":
                return self._queries()
            case "memoryMean" | "memoryPeak":
                return self._memory(peak=kpi.figure == "memoryPeak")
            case "cpuMean" | "cpuPeak":
                return self._cpu(peak=kpi.figure == "cpuPeak")
            case "diskRate":
                return self._rate(_DISK)
            case "networkRate":
                return self._rate(_NETWORK)
            case "uptime":
                return self._uptime()
            case "errorRate":
                requests = int(self._overall["requests"] or 0)
                value = self._overall["error_rate"] if requests else None
                return Measured(value, requests, None if requests else "why_requests")
            case "recoveryTime":
                return self._recovery()

    @property
    def _step_s(self) -> int:
        step = self._range.step
        return step if isinstance(step, int) else 0

    def _busiest(self) -> Measured:
        """Return the rate of the busiest minute, which a mean over a step would hide."""
        if not self._requests:
            return Measured(None, 0, "why_requests")
        minutes = self._of_minutes()
        if len(minutes):
            return Measured(float(minutes.max()), len(minutes))
        rates = [requests / seconds for _, requests, seconds in self._requests]
        return Measured(max(rates), len(rates), how="step")

    def _of_minutes(self) -> Array:
        """Return the rates of minutes of the busiest steps; none where no minutes are kept."""
        by_rate = sorted(self._requests, key=lambda step: -step[1] / step[2])
        most = max(1, _MINUTES * _MINUTE_S // max(1, self._step_s))
        chosen = {begin_s for begin_s, _, _ in by_rate[:most]}
        steps = self._range.selection.edges_s
        edges = [
            edge
            for begin_s, end_s in pairwise(steps)
            for edge in (range(begin_s, end_s, _MINUTE_S) if begin_s in chosen else (begin_s,))
        ]
        selection = replace(self._range.selection, edges_s=(*edges, steps[-1]))
        fine = replace(self._range, selection=selection)
        try:
            rows = self._reader.rows(fine)
        except TooMuchError:
            return np.zeros(0)
        seconds = fine.seconds_of(rows.t)
        # Whole minutes only: what the first seconds of one bring says nothing of the rest.
        minute = (seconds == _MINUTE_S) & (rows.resolution_s <= _MINUTE_S)
        rates: Array = rows.columns.value("requests")[minute] / _MINUTE_S
        return rates

    def _response_time(self, patterns: Sequence[str]) -> Measured:
        if self._routes is None:
            self._routes = self._reader.rows(self._range.whole(), ("method", "route"))
        rows = self._routes
        fits = np.array([_fits(f"{name[0]} {name[1]}", patterns) for name in rows.groups], bool)
        keep = fits[rows.group] if len(rows.groups) else np.zeros(len(rows.t), bool)
        merged = merge([rekey(rows.columns, np.zeros(int(keep.sum()), np.int64), keep)])
        requests = int(merged.value("requests").sum())
        if not requests:
            return Measured(None, 0, "why_routes")
        return Measured(float(quantiles_us(merged, (0.95,))[0, 0]) / 1000, requests)

    def _task_time(self, patterns: Sequence[str]) -> Measured:
        if self._tasks is None:
            self._tasks = MeasureReads(self._reader, self._range.whole(), (_TASK,))
        parts = [
            part for part in self._tasks.of() if _fits(attribute(part, "trimtab.task"), patterns)
        ]
        calls = calls_of(parts, self._range.seconds)
        return Measured(calls.p95, calls.count, None if calls.count else "why_tasks")

    def _queries(self) -> Measured:
        selection = self._range.selection
        where = {name: text for name, text in selection.where.items() if name != "route"}
        parts = self._reader.store.read_measures(
            MeasureSelection(selection.edges_s, (_QUERY,), where, (), ())
        )
        counts = np.zeros(len(selection.edges_s) - 1)
        for part in parts:
            counts[part.step] += part.delta.count
        if not counts.any():
            return Measured(None, 0, "why_queries")
        seconds = self._range.seconds_of(np.array(selection.edges_s[:-1]))
        return Measured(float((counts / seconds).max()), len(counts))

    def _memory(self, *, peak: bool) -> Measured:
        selection = self._range.whole().selection
        by = ("name", "environment", "service", "instance")
        rows = self._reader.store.read_gauges(
            GaugeSelection(selection.edges_s, (_MEMORY,), self._owners(), by)
        )
        values = rows.max if peak else rows.mean
        return _largest(values, len(rows.groups), "why_processes")

    def _cpu(self, *, peak: bool) -> Measured:
        rows = self._host_rows(CPU_USE, whole=not peak)
        places = by_machine(
            ((host, name, place) for place, (name, host) in enumerate(rows.groups)), CPU_USE
        )
        hosts = self._own_hosts()
        keep = [place for host, place in places.items() if not hosts or host in hosts]
        return _largest(rows.mean[np.isin(rows.group, keep)], 0, "why_hosts")

    def _rate(self, names: Sequence[str]) -> Measured:
        return _largest(self._hosts(names), 0, "why_hosts")

    def _host_rows(self, names: Sequence[str], *, whole: bool = False) -> GaugeRows:
        """Return gauges of hosts by name and host, of all hosts."""
        time_range = self._range.whole() if whole else self._range
        return self._reader.store.read_gauges(
            GaugeSelection(time_range.selection.edges_s, tuple(names), {}, ("name", "instance"))
        )

    def _hosts(self, names: Sequence[str]) -> Array:
        """Return for each host and step the sum of the means of gauges."""
        rows = self._host_rows(names)
        hosts = self._own_hosts()
        sums: dict[tuple[str, int], float] = {}
        for place, t, mean in zip(
            rows.group.tolist(), rows.t.tolist(), rows.mean.tolist(), strict=True
        ):
            host = rows.groups[place][1]
            if not hosts or host in hosts:
                sums[host, t] = sums.get((host, t), 0.0) + mean
        return np.array(list(sums.values()))

    def _own_hosts(self) -> frozenset[str]:
        """Return the hosts of the processes chosen; empty when all were."""
        owners = self._owners()
        if self._hosts_known is None:
            found: frozenset[str] = frozenset()
            if owners:
                edges_s = self._range.whole().selection.edges_s
                by = ("name", "instance")
                rows = self._reader.store.read_gauges(
                    GaugeSelection(edges_s, (PROCESS,), owners, by)
                )
                found = frozenset(group[1].rpartition("#")[0] for group in rows.groups)
            self._hosts_known = found or frozenset([""] if owners else [])
        return self._hosts_known

    def _owners(self) -> Mapping[str, str]:
        where = self._range.selection.where
        return {name: where[name] for name in ("environment", "service") if name in where}

    def _uptime(self) -> Measured:
        up_s = sum(each.up_s for each in self._uptimes)
        watched_s = up_s + sum(each.down_s for each in self._uptimes)
        if not watched_s:
            return Measured(None, 0, "why_processes")
        return Measured(up_s / watched_s, watched_s // 60)

    def _recovery(self) -> Measured:
        ended = [
            outage.to_s - outage.from_s
            for each in self._uptimes
            for outage in each.outages
            if not outage.open
        ]
        if not ended:
            return Measured(None, 0, "why_outages")
        return Measured(1000 * sum(ended) / len(ended), len(ended))


def _status(kpi: Kpi, value: float | None) -> str:
    if value is None:
        return "notMeasured"
    lower = FIGURES[kpi.figure].lower

    def meets(line: float) -> bool:
        return value <= line if lower else value >= line

    if meets(kpi.target):
        return "pass"
    return "allowed" if kpi.allowed is not None and meets(kpi.allowed) else "fail"


def _fits(text: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(text, pattern) for pattern in patterns)


def _largest(values: Array, count: int, note: str) -> Measured:
    if not len(values):
        return Measured(None, 0, note)
    return Measured(float(values.max()), count or len(values))
