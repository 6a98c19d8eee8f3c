"""What was measured in a range, gathered once for all rules; rules themselves read nothing."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import ceil
from typing import Any, Final, NamedTuple

import numpy as np

from trimtab_collector.contract.analysis import Place
from trimtab_collector.contract.parameters import Parameters
from trimtab_collector.reads.events import events
from trimtab_collector.reads.latest import is_probed
from trimtab_collector.reads.measures import MeasureReads, attribute
from trimtab_collector.reads.ranges import TimeRange
from trimtab_collector.reads.reader import StoreReader
from trimtab_collector.reads.routes import ROUTE_FIELDS
from trimtab_collector.reads.sites import Helpers
from trimtab_collector.reads.utilization import CPU_USE, MEMORY_USE
from trimtab_collector.storage.columns import MIDDLES_US, WINDOW_S, Array, Columns
from trimtab_collector.storage.store import GaugeSelection, MeasurePart, MeasureSelection
from trimtab_core.measures import Delta, middle
from trimtab_core.rows import EventRow

__all__ = [
    "SLOW_MS",
    "Facts",
    "GaugeTrack",
    "RequestGroup",
    "StepMean",
    "above",
    "whole",
]

#: a request over it is slow: the line of p99
SLOW_MS: Final = 1000
#: pieces of a range, to see what grows
_STEPS: Final = 12
#: the latest events looked at, of each kind
_EVENTS: Final = 2000
_DEPTH: Final = "trimtab.queue.depth"
_OWNER_FIELDS: Final = ("environment", "service", "instance")
#: gauges of hosts, processes and probed servers that rules look at
_GAUGES: Final = (
    *CPU_USE, *MEMORY_USE, "container.cpu.throttled", "container.memory.limit",
    "container.memory.usage", "postgresql.backends",
    "postgresql.backends.idle_in_transaction", "postgresql.connection.max",
    "postgresql.setting.jit", "postgresql.setting.statement_timeout", "process.cpu.utilization",
    "process.memory.usage", "redis.keys", "redis.keys.evicted", "redis.keys.expired",
    "redis.keys.volatile", "redis.keyspace.hits", "redis.keyspace.misses", "redis.maxmemory",
    "redis.memory.used", "system.memory.limit", "system.memory.usage",
    "trimtab.app.loop_delay", _DEPTH,
)  # fmt: skip
_MEASURES: Final = (
    "db.client.connection.*", "db.client.operation.duration", "http.client.request.duration",
    "messaging.process.duration", "trimtab.cache.*", "trimtab.celery.*",
    "trimtab.db.*", "trimtab.http.*", "trimtab.task.*",
)  # fmt: skip
_OF_SERVERS: Final = ("postgresql.*",)


@dataclass(frozen=True, slots=True)
class RequestGroup:
    """The requests of a service, a route or a process; times in ms, nan without requests."""

    where: Place
    requests: int
    errors: int
    p50: float
    p90: float
    p99: float
    #: shares of the time of requests that went into queries, calls and reads of caches
    database: float
    external: float
    cache: float
    #: requests over SLOW_MS
    slow: int


class StepMean(NamedTuple):
    """A piece of a range, at its start, epoch seconds."""

    t: int
    mean: float


@dataclass(frozen=True, slots=True)
class GaugeTrack:
    """One gauge over the range; steps without values are absent."""

    environment: str
    service: str
    instance: str
    name: str
    count: int
    mean: float
    max: float
    last: float
    steps: tuple[StepMean, ...]

    @property
    def growth(self) -> float:
        """How much a counter grew from the first step to the last."""
        return max(0.0, self.last - self.steps[0].mean)


class Facts:
    """The measurements of a range; lazily read, for one reading thread."""

    def __init__(self, reader: StoreReader, parameters: Parameters) -> None:
        self._reader = reader
        self.parameters = parameters
        self.range: TimeRange = reader.ranges.stored(parameters)

    @property
    def seconds(self) -> float:
        """Seconds of the range that have arrived."""
        return self.range.seconds

    # ------------------------------------------------ requests

    @cached_property
    def services(self) -> list[RequestGroup]:
        """The requests of each service, in the order of names."""
        return self._groups(("environment", "service"))

    @cached_property
    def routes(self) -> list[RequestGroup]:
        """The requests of each route, those with the most slow ones first."""
        return self._groups(ROUTE_FIELDS)

    @cached_property
    def processes(self) -> list[RequestGroup]:
        """The requests of each process, those with the most slow ones first."""
        return self._groups(("environment", "service", "instance"))

    def _groups(self, by: Sequence[str]) -> list[RequestGroup]:
        figures = self._reader.figures(self.range, by)
        points = figures.rows.columns
        slow = _over(points, 1000 * SLOW_MS)
        total_us = np.maximum(1, points.value("sum_us"))
        columns = [
            *(figures[name] for name in ("requests", "errors", "p50", "p90", "p99")),
            # Queries that run beside each other add up to more than the request took.
            *(np.minimum(1, points.value(name) / total_us)
              for name in ("db_us", "external_us", "cache_us")),
            slow,
        ]  # fmt: skip
        found = [
            RequestGroup(Place(**dict(zip(by, name, strict=True))), *values)
            for name, *values in zip(
                figures.names, *(column.tolist() for column in columns), strict=True
            )
            if values[0]
        ]
        return sorted(found, key=lambda each: (-each.slow, *_names(each.where)))

    # ------------------------------------------------ measures

    @cached_property
    def measures(self) -> list[MeasurePart]:
        """Every measure that rules look at, by process or server, and attributes."""
        of_apps = MeasureReads(self._reader, self.range, _MEASURES).of()
        return of_apps + MeasureReads(self._reader, self.range, _OF_SERVERS, of_servers=True).of()

    def of(self, *names: str) -> list[MeasurePart]:
        """Return the measures of these names."""
        return [part for part in self.measures if part.key.name in names]

    def by_service(self, *names: str) -> Mapping[tuple[str, str], list[MeasurePart]]:
        """Return the measures of these names by environment and service, in that order."""
        found: dict[tuple[str, str], list[MeasurePart]] = {}
        for part in self.of(*names):
            found.setdefault((part.environment, part.service), []).append(part)
        return dict(sorted(found.items()))

    # ------------------------------------------------ gauges

    @cached_property
    def _edges_s(self) -> tuple[int, ...]:
        start_s, end_s = self.range.selection.start_s, self.range.selection.end_s
        step_s = WINDOW_S * max(1, ceil((end_s - start_s) / _STEPS / WINDOW_S))
        return (*range(start_s, end_s, step_s), end_s)

    @cached_property
    def _tracks(self) -> dict[str, list[GaugeTrack]]:
        rows = self._reader.store.read_gauges(GaugeSelection(self._edges_s, _GAUGES))
        hosts = {""}
        if self.parameters.where:
            # Without a filter every host is chosen, and there may be very many processes.
            hosts.update(_host_of(each.where.instance) for each in self.processes)
        for _, environment, service, instance, _ in rows.groups:
            if service and self._is_chosen(environment, service, instance):
                hosts.add(_host_of(instance))
        found: dict[str, list[GaugeTrack]] = {}
        for group, (_, environment, service, instance, name) in enumerate(rows.groups):
            if not self._is_chosen(environment, service, instance, hosts):
                continue
            begin, end = np.searchsorted(rows.group, [group, group + 1]).tolist()
            count, mean = rows.count[begin:end], rows.mean[begin:end]
            track = GaugeTrack(
                environment,
                service,
                instance,
                name,
                int(count.sum()),
                float((mean * count).sum() / count.sum()),
                float(rows.max[begin:end].max()),
                float(rows.last[end - 1]),
                tuple(map(StepMean, rows.t[begin:end].tolist(), mean.tolist())),
            )
            found.setdefault(name, []).append(track)
        return found

    def _is_chosen(
        self, environment: str, service: str, instance: str, hosts: Collection[str] = ()
    ) -> bool:
        """Tell whether a gauge is among what was asked for; hosts are those of its processes.

        What agents read is of everybody.
        """
        where = self.parameters.where
        if service:
            return self.parameters.chooses(
                environment=environment, service=service, instance=instance
            )
        if is_probed(instance):
            return where.get("instance", instance) == instance
        return not where or instance in hosts

    def tracks(self, name: str) -> list[GaugeTrack]:
        """Return the gauges of a name over the range."""
        return self._tracks.get(name, [])

    def track(self, name: str, instance: str) -> GaugeTrack | None:
        """Return the gauge of a name of a host or server, None if it was not measured."""
        return next((each for each in self.tracks(name) if each.instance == instance), None)

    @cached_property
    def own_queues(self) -> list[GaugeTrack]:
        """The queues that apps name themselves, each summed over its processes."""
        where = {
            name: text for name, text in self.parameters.where.items() if name in _OWNER_FIELDS
        }
        parts = self._reader.store.read_measures(MeasureSelection(self._edges_s, (_DEPTH,), where))
        depths: dict[tuple[str, str, str], dict[int, float]] = {}
        for part in parts:
            queue = attribute(part, "messaging.destination.name")
            steps = depths.setdefault((part.environment, part.service, queue), {})
            # Of each process the mean of the step; together they are the queue.
            mean = part.delta.sum / part.delta.count
            steps[part.step] = steps.get(part.step, 0.0) + mean
        return [
            GaugeTrack(
                environment, service, f"queue:{queue}", _DEPTH, len(steps),
                sum(steps.values()) / len(steps), max(steps.values()), steps[max(steps)],
                tuple(StepMean(self._edges_s[place], steps[place]) for place in sorted(steps)),
            )
            for (environment, service, queue), steps in sorted(depths.items())
        ]  # fmt: skip

    # ------------------------------------------------ events

    @cached_property
    def slow_queries(self) -> list[tuple[EventRow, Mapping[str, Any]]]:
        """The latest slow queries."""
        return list(events(self._reader, self.range, "slow_query", _EVENTS))

    @cached_property
    def failed(self) -> list[tuple[EventRow, Mapping[str, Any]]]:
        """The latest failed requests that were kept whole."""
        kept = events(self._reader, self.range, "request", _EVENTS)
        return [(row, event) for row, event in kept if event.get("reason") == "failed"]

    @cached_property
    def helpers(self) -> Helpers:
        """The lines through which several callers run their queries."""
        return Helpers(self._reader, self.range)

    @cached_property
    def repeated(self) -> list[tuple[EventRow, Mapping[str, Any]]]:
        """The latest requests that repeated a query."""
        return list(events(self._reader, self.range, "n_plus_one", _EVENTS))


def _host_of(instance: str) -> str:
    """Return the host of a process."""
    return instance.rpartition("#")[0]


def whole(parts: Iterable[MeasurePart]) -> Delta:
    """Return measures added up."""
    answer = Delta()
    for part in parts:
        answer.merge(part.delta)
    return answer


def above(delta: Delta, value: float) -> int:
    """Return how many values of a histogram were larger, exact to half a bucket (1.1 %)."""
    return sum(count for bucket, count in delta.buckets.items() if middle(bucket) > value)


def _over(columns: Columns, threshold_us: float) -> Array:
    """Return of each point how many requests took longer."""
    owner = np.repeat(np.arange(len(columns.key)), columns.buckets)
    slow = columns.counts * (MIDDLES_US[columns.indexes] > threshold_us)
    return np.bincount(owner, slow, len(columns.key)).astype(np.int64)


def _names(where: Place) -> tuple[str, ...]:
    return where.environment, where.service, where.route, where.method, where.instance
