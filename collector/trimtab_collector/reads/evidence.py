"""What stands beside an explanation: statements, hosts, and gauges of two sides."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from trimtab_collector.contract.explanation import ExplainedCalls, ExplainedGauge
from trimtab_collector.reads.measures import MeasureReads, attribute
from trimtab_collector.reads.ranges import TimeRange
from trimtab_collector.reads.reader import StoreReader
from trimtab_collector.storage.columns import WINDOW_S
from trimtab_collector.storage.store import GaugeRows, GaugeSelection, MeasurePart
from trimtab_core.catalog import CATALOG

__all__ = ["OWN", "gauges_of", "hosts_called", "owned", "pause_shares", "statements_run"]

#: fields that measures and gauges of processes have
OWN: Final = ("environment", "service", "instance")
_PAUSE, _UPTIME = "cpython.gc.pause.time", "process.uptime"
_OF_PROCESSES: Final = (
    "process.cpu.utilization", "trimtab.app.loop_delay", "http.server.active_requests",
)  # fmt: skip
_OF_HOSTS: Final = (
    "system.cpu.utilization", "container.cpu.utilization", "container.cpu.throttled",
    "trimtab.pressure.cpu",
)  # fmt: skip
#: steps in which pauses are looked at: their shortest, and most of a range
_STEP_S: Final = 60
_STEPS: Final = 30


def pause_shares(reader: StoreReader, time_range: TimeRange) -> dict[tuple[str, str], float]:
    """Return the share of time that processes stood still for garbage collection, by service.

    A process counts its pauses since its start; steps in which one started are left out.
    """
    selection = time_range.selection
    length_s = selection.end_s - selection.start_s
    step_s = -(-max(_STEP_S, length_s / _STEPS) // _STEP_S) * _STEP_S
    edges = (*range(selection.start_s, selection.end_s, int(step_s)), selection.end_s)
    where = {name: text for name, text in selection.where.items() if name in OWN}
    rows = reader.store.read_gauges(GaugeSelection(edges, (_PAUSE, _UPTIME), where, (*OWN, "name")))
    cells = {
        (rows.groups[group], t): row
        for row, (group, t) in enumerate(zip(rows.group.tolist(), rows.t.tolist(), strict=True))
    }
    paused: dict[tuple[str, str], float] = {}
    seconds: dict[tuple[str, str], float] = {}
    for (name, t), row in cells.items():
        uptime = cells.get(((*name[:3], _UPTIME), t))
        if name[3] != _PAUSE or uptime is None or rows.min[uptime] < step_s:
            continue
        service = (name[0], name[1])
        # Readings are a window apart: n of them span n - 1 windows.
        spanned = (int(rows.count[row]) - 1) * WINDOW_S
        paused[service] = paused.get(service, 0.0) + float(rows.max[row] - rows.min[row])
        seconds[service] = seconds.get(service, 0.0) + spanned
    return {
        service: min(1.0, paused[service] / whole) for service, whole in seconds.items() if whole
    }


def gauges_of(
    reader: StoreReader, ranges: Sequence[TimeRange], instances: Sequence[Iterable[str]]
) -> list[ExplainedGauge]:
    """Return gauges of the processes of both sides, and of the hosts of their instances."""
    sides = [
        {
            **_means(reader, side, _OF_PROCESSES),
            **_means(reader, side, _OF_HOSTS, {each.rpartition("#")[0] for each in mine}),
        }
        for side, mine in zip(ranges, instances, strict=True)
    ]
    return [
        ExplainedGauge(
            name=name, unit=CATALOG[name].unit, a=sides[0].get(name), b=sides[1].get(name)
        )
        for name in (*_OF_PROCESSES, *_OF_HOSTS)
        if name in sides[0] or name in sides[1]
    ]


def _means(
    reader: StoreReader, side: TimeRange, names: Sequence[str], hosts: set[str] | None = None
) -> dict[str, float]:
    """Return the mean of each gauge, of chosen processes or of some hosts."""
    where = {name: text for name, text in side.selection.where.items() if name in OWN}
    edges = (side.selection.start_s, side.selection.end_s)
    rows = reader.store.read_gauges(
        GaugeSelection(edges, tuple(names), {} if hosts is not None else where,
                       ("name", "service", "instance"))
    )  # fmt: skip
    return {name: float(mean) for name in names
            if (mean := _mean(rows, name, hosts)) is not None}  # fmt: skip


def _mean(rows: GaugeRows, name: str, hosts: set[str] | None) -> float | None:
    wanted = [
        group[0] == name and (bool(group[1]) if hosts is None else
                              not group[1] and group[2] in hosts)
        for group in rows.groups
    ]  # fmt: skip
    chosen = np.array(wanted, bool)[rows.group]
    if not chosen.any():
        return None
    count = rows.count[chosen]
    return float((rows.mean[chosen] * count).sum() / count.sum())


def statements_run(
    reader: StoreReader, sides: Sequence[TimeRange], requests: Sequence[int]
) -> list[ExplainedCalls]:
    """Return statements by the ms of a request that they changed, the largest first."""
    return _changed(reader, sides, requests, "db.client.operation.duration", "db.query.text")


def hosts_called(
    reader: StoreReader, sides: Sequence[TimeRange], requests: Sequence[int]
) -> list[ExplainedCalls]:
    """Return hosts that are called by the ms of a request that they changed, the largest first."""
    return _changed(reader, sides, requests, "http.client.request.duration", "server.address")


def _changed(
    reader: StoreReader, sides: Sequence[TimeRange], requests: Sequence[int], name: str, key: str
) -> list[ExplainedCalls]:
    found: list[Mapping[str, tuple[float, float]]] = []
    for side, count in zip(sides, requests, strict=True):
        measures = MeasureReads(reader, side, (name,))
        found.append(_per_request(measures.of(), key, count))
    a, b = found
    nothing = (0.0, 0.0)
    rows = [
        ExplainedCalls(
            what=what,
            a=a.get(what, nothing)[0],
            b=b.get(what, nothing)[0],
            difference=b.get(what, nothing)[0] - a.get(what, nothing)[0],
            calls_a=a.get(what, nothing)[1],
            calls_b=b.get(what, nothing)[1],
        )
        for what in {*a, *b}
    ]
    return sorted(rows, key=lambda row: (-abs(row.difference), row.what))


def _per_request(
    parts: Iterable[MeasurePart], key: str, requests: int
) -> dict[str, tuple[float, float]]:
    """Return ms and calls of a request, by an attribute; measures without it are left out."""
    sums: dict[str, tuple[float, float]] = {}
    for part in parts:
        what = attribute(part, key)
        if what:
            ms, calls = sums.get(what, (0.0, 0.0))
            sums[what] = (
                ms + part.delta.sum * 1000 / requests, calls + part.delta.count / requests
            )  # fmt: skip
    return sums


def owned(time_range: TimeRange) -> TimeRange:
    """Return a range with those of its filters that measures know, too."""
    where = {name: text for name, text in time_range.selection.where.items() if name in OWN}
    return replace(time_range, selection=replace(time_range.selection, where=where))
