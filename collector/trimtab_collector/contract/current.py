"""One look at now: requests, processes, hosts and what is around them."""

from typing import Any

from trimtab_collector.contract.body import Body
from trimtab_collector.contract.gauges import HostGauges, ProcessGauges

__all__ = ["ApplicationNow", "CacheNow", "Current", "DatabaseNow", "MemoryUsage", "MetricsNow"]


class MemoryUsage(Body, kw_only=True):
    """Memory of the processes in bytes, and the blocks of memory that Python has in use.

    CPython tells neither the size of its arenas nor that of its buffers cheaply, so what would be
    made of these is null.
    """

    rss: int | None
    blocks: int | None
    heap_total: int | None = None
    heap_used: int | None = None
    external: int | None = None
    array_buffers: int | None = None


class Current(Body, kw_only=True):
    """One look at now; what nothing measures is null."""

    timestamp: str
    cpu_usage: dict[str, float | None]
    memory_usage: MemoryUsage
    event_loop_delay: float | None
    active_handles: int | None
    active_requests: int | None
    uptime: float | None
    requests_per_second: float
    error_rate: float | None
    response_time: dict[str, float | None]
    system: list[HostGauges]
    instances: list[ProcessGauges]


class ApplicationNow(Body, kw_only=True):
    """Requests of the range, and the latest gauges of the processes that serve them."""

    requests: int
    response_time: dict[str, float | None]
    error_rate: float | None
    status_codes: dict[str, int]
    throughput: float
    apdex: float | None
    concurrent_users: int | None
    active_requests: int | None
    active_connections: int | None
    event_loop_lag: float | None
    #: queue -> what waits in it
    queue_sizes: dict[str, int] | None
    cache_hit_rates: dict[str, float | None]


class DatabaseNow(Body, kw_only=True):
    """Queries of the last minute."""

    queries: int
    queries_per_second: float
    mean: float | None
    p95: float | None
    max: float | None
    errors: int
    connection_errors: int
    deadlocks: int


class CacheNow(Body, kw_only=True):
    """Reads of caches in the last minute."""

    hits: int
    misses: int
    hit_rate: float
    miss_rate: float


class MetricsNow(Body, kw_only=True):
    """The parts of one moment together; what nothing measures is null.

    Database, cache and external services are those of the last minute.
    """

    timestamp: str
    system: list[HostGauges]
    application: ApplicationNow
    database: DatabaseNow | None = None
    cache: CacheNow | None = None
    #: name -> `up` and `latency` of what agents look at; `calls`, `errorRate`, `p95` of hosts
    external_services: dict[str, dict[str, Any]] | None = None
