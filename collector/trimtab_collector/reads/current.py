"""One look at now: the last seconds of requests and the latest gauges of processes and hosts."""

from collections.abc import Sequence
from typing import Any, Final

from trimtab_collector.contract.caches import CacheReads
from trimtab_collector.contract.current import (
    ApplicationNow,
    CacheNow,
    Current,
    DatabaseNow,
    MemoryUsage,
    MetricsNow,
)
from trimtab_collector.contract.external import HostCalls
from trimtab_collector.contract.figures import TIMES
from trimtab_collector.contract.parameters import Parameters
from trimtab_collector.reads.caches import cache_reads
from trimtab_collector.reads.databases import CONNECTION_ERROR, DEADLOCK, query_calls
from trimtab_collector.reads.digits import whole_of
from trimtab_collector.reads.external import external_calls
from trimtab_collector.reads.latest import (
    ACTIVE,
    EVENT_STREAMS,
    WEB_SOCKETS,
    hosts_of,
    instances_of,
)
from trimtab_collector.reads.queues import DEPTH, queues_of
from trimtab_collector.reads.ranges import TimeRange
from trimtab_collector.reads.reader import StoreReader
from trimtab_collector.storage.store import LatestGauge

__all__ = ["current", "snapshot"]

#: what the last minute is, in seconds
_MINUTE_S: Final = 60
_UP: Final = "trimtab.probe.up"


def current(reader: StoreReader, parameters: Parameters) -> Current:
    """Return the figures of the range and the latest gauges."""
    figures, _ = reader.overall(reader.ranges.latest(parameters))
    gauges = reader.gauges(parameters)
    return Current(
        timestamp=parameters.shown(parameters.now_s),
        cpu_usage={
            "user": _microseconds(gauges, "process.cpu.time.user"),
            "system": _microseconds(gauges, "process.cpu.time.system"),
            "utilization": _sum(gauges, "process.cpu.utilization"),
        },
        memory_usage=MemoryUsage(
            rss=_count(gauges, "process.memory.usage"),
            blocks=_count(gauges, "cpython.memory.blocks"),
        ),
        event_loop_delay=_loop_delay_ms(gauges),
        active_handles=_count(gauges, "process.unix.file_descriptor.count"),
        active_requests=_count(gauges, ACTIVE),
        uptime=max(_values(gauges, "process.uptime"), default=None),
        requests_per_second=figures["requests_per_second"],
        error_rate=figures["error_rate"],
        response_time={name: figures[name] for name in TIMES},
        system=hosts_of(gauges),
        instances=instances_of(gauges),
    )


def snapshot(reader: StoreReader, parameters: Parameters) -> MetricsNow:
    """Return the parts of this moment together."""
    figures, _ = reader.overall(reader.ranges.latest(parameters))
    # Measures come in windows of ten seconds, and are never live.
    minute = reader.ranges.stored(parameters, parameters.to_s - _MINUTE_S)
    gauges = reader.gauges(parameters)
    reads = cache_reads(reader, minute)
    rates = {level.level: level.hit_rate for level in reads.levels}
    depths = {
        each.queue: whole_of(each.gauges[DEPTH])
        for each in queues_of(gauges)
        if DEPTH in each.gauges
    }
    application = ApplicationNow(
        requests=figures["requests"],
        response_time={name: figures[name] for name in TIMES},
        error_rate=figures["error_rate"],
        status_codes=figures["status_codes"],
        throughput=figures["requests_per_second"],
        apdex=figures["apdex"],
        concurrent_users=None,
        active_requests=_count(gauges, ACTIVE),
        active_connections=_count(gauges, WEB_SOCKETS, EVENT_STREAMS),
        event_loop_lag=_loop_delay_ms(gauges),
        queue_sizes=depths or None,
        cache_hit_rates={"redis": rates.get("redis"), "memory": rates.get("memory")},
    )
    return MetricsNow(
        timestamp=parameters.shown(parameters.now_s),
        system=hosts_of(gauges),
        application=application,
        database=_database(reader, minute),
        cache=None if not reads.levels else _rates(reads),
        external_services=_services(reader, minute),
    )


def _rates(reads: CacheReads) -> CacheNow:
    return CacheNow(
        hits=reads.hits, misses=reads.misses, hit_rate=reads.hit_rate, miss_rate=reads.miss_rate
    )


def _database(reader: StoreReader, time_range: TimeRange) -> DatabaseNow | None:
    calls, errors = query_calls(reader, time_range)
    if not calls.count:
        return None
    return DatabaseNow(
        queries=calls.count,
        queries_per_second=calls.per_second,
        mean=calls.mean,
        p95=calls.p95,
        max=calls.max,
        errors=calls.errors,
        connection_errors=errors.get(CONNECTION_ERROR, 0),
        deadlocks=errors.get(DEADLOCK, 0),
    )


def _services(reader: StoreReader, time_range: TimeRange) -> dict[str, dict[str, Any]] | None:
    found: dict[str, dict[str, Any]] = {}
    looked = external_calls(reader, time_range, 100)
    for target in looked.dependencies:
        took = target.gauges.get("trimtab.probe.duration")
        found[target.target] = {
            "up": bool(target.gauges.get(_UP)),
            "latency": None if took is None else took * 1000,
        }
    for host in looked.hosts:
        calls = host.calls
        found[_place(host)] = {
            "calls": calls.count,
            "errorRate": calls.error_rate,
            "p95": calls.p95,
        }
    return found or None


def _place(host: HostCalls) -> str:
    """Return `HOST:PORT`, as in a URL; the host alone where the port is not known."""
    if host.port is None:
        return host.host
    return f"[{host.host}]:{host.port}" if ":" in host.host else f"{host.host}:{host.port}"


def _values(gauges: Sequence[LatestGauge], *names: str) -> list[float]:
    return [row.value for row in gauges if row.service and row.name in names]


def _sum(gauges: Sequence[LatestGauge], name: str) -> float | None:
    found = _values(gauges, name)
    return sum(found) if found else None


def _microseconds(gauges: Sequence[LatestGauge], name: str) -> int | None:
    found = _sum(gauges, name)
    return None if found is None else whole_of(found * 1e6)


def _count(gauges: Sequence[LatestGauge], *names: str) -> int | None:
    found = _values(gauges, *names)
    return whole_of(sum(found)) if found else None


def _loop_delay_ms(gauges: Sequence[LatestGauge]) -> float | None:
    found = _values(gauges, "trimtab.app.loop_delay")
    return max(found) * 1000 if found else None
