"""One look at now: the last seconds of requests and the latest gauges of processes and hosts."""

from collections.abc import Sequence
from typing import Any, Final

from trimtab_collector.contract.bodies import Current, Snapshot
from trimtab_collector.contract.readbodies import Cache
from trimtab_collector.reads import databases, surroundings
from trimtab_collector.reads.figures import TIMES
from trimtab_collector.reads.lists import ACTIVE
from trimtab_collector.reads.measured import targets_of
from trimtab_collector.reads.ranges import View
from trimtab_collector.reads.source import Source, hosts_of, instances_of
from trimtab_collector.storage.store import LatestGauge

__all__ = ["current", "snapshot"]

_DEPTH: Final = "trimtab.queue.depth"
_UP: Final = "trimtab.probe.up"
_CONNECTIONS: Final = ("trimtab.app.websockets", "trimtab.app.event_streams")


def current(source: Source, view: View) -> Current:
    """Return the figures of the range and the latest gauges."""
    figures, _ = source.overall(view)
    gauges = source.gauges(view.params)
    return Current(
        timestamp=view.params.shown(view.params.now_s),
        cpu_usage={
            "user": _microseconds(gauges, "process.cpu.time.user"),
            "system": _microseconds(gauges, "process.cpu.time.system"),
            "utilization": _sum(gauges, "process.cpu.utilization"),
        },
        memory_usage={
            "rss": _sum(gauges, "process.memory.usage"),
            "heapTotal": None,
            "heapUsed": None,
            "external": None,
            "arrayBuffers": None,
        },
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


def snapshot(source: Source, view: View, minute: View) -> Snapshot:
    """Return the parts of this moment together; minute is the last one, as stored windows."""
    figures, _ = source.overall(view)
    gauges = source.gauges(view.params)
    reads = surroundings.cache(source, minute)
    rates = {level.level: level.hit_rate for level in reads.levels}
    depths = {
        each.target.removeprefix("queue:"): int(each.gauges[_DEPTH])
        for each in targets_of(gauges, "queue")
        if _DEPTH in each.gauges
    }
    application: dict[str, Any] = {
        "requests": figures["requests"],
        "responseTime": {name: figures[name] for name in TIMES},
        "errorRate": figures["error_rate"],
        "throughput": figures["requests_per_second"],
        "apdex": figures["apdex"],
        "concurrentUsers": None,
        "activeRequests": _count(gauges, ACTIVE),
        "activeConnections": _count(gauges, *_CONNECTIONS),
        "eventLoopLag": _loop_delay_ms(gauges),
        "queueSizes": depths or None,
        "cacheHitRates": {"redis": rates.get("redis"), "memory": rates.get("memory")},
    }
    return Snapshot(
        timestamp=view.params.shown(view.params.now_s),
        system=hosts_of(gauges),
        application=application,
        database=_database(source, minute),
        cache=None if not reads.levels else _rates(reads),
        external_services=_services(source, minute),
    )


def _rates(reads: Cache) -> dict[str, Any]:
    return {
        "hits": reads.hits,
        "misses": reads.misses,
        "hitRate": reads.hit_rate,
        "missRate": reads.miss_rate,
    }


def _database(source: Source, view: View) -> dict[str, Any] | None:
    found = databases.database(source, view, 1)
    calls = found.calls
    if not calls.count:
        return None
    return {
        "queries": calls.count,
        "queriesPerSecond": calls.per_second,
        "mean": calls.mean,
        "p95": calls.p95,
        "max": calls.max,
        "errors": calls.errors,
        "connectionErrors": found.connection_errors,
        "deadlocks": found.deadlocks,
    }


def _services(source: Source, view: View) -> dict[str, Any] | None:
    found: dict[str, Any] = {}
    looked = surroundings.external(source, view, 100)
    for target in looked.dependencies:
        took = target.gauges.get("trimtab.probe.duration")
        found[target.target] = {
            "up": bool(target.gauges.get(_UP)),
            "latency": None if took is None else took * 1000,
        }
    for host in looked.hosts:
        calls = host.calls
        found[host.host] = {"calls": calls.count, "errorRate": calls.error_rate, "p95": calls.p95}
    return found or None


def _values(gauges: Sequence[LatestGauge], *names: str) -> list[float]:
    return [row.value for row in gauges if row.service and row.name in names]


def _sum(gauges: Sequence[LatestGauge], name: str) -> float | None:
    found = _values(gauges, name)
    return sum(found) if found else None


def _microseconds(gauges: Sequence[LatestGauge], name: str) -> int | None:
    found = _sum(gauges, name)
    return None if found is None else int(found * 1e6)


def _count(gauges: Sequence[LatestGauge], *names: str) -> int | None:
    found = _values(gauges, *names)
    return int(sum(found)) if found else None


def _loop_delay_ms(gauges: Sequence[LatestGauge]) -> float | None:
    found = _values(gauges, "trimtab.app.loop_delay")
    return max(found) * 1000 if found else None
