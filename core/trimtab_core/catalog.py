"""Every metric that trimtab names: OpenTelemetry name, unit, kind and help line.

Names and units follow OpenTelemetry's semantic conventions where one exists; ours begin with
`trimtab.`. The Prometheus name of a metric is derived by `prometheus_name`.
"""

from typing import Final, NamedTuple

__all__ = ["CATALOG", "Metric", "prometheus_name"]


class Metric(NamedTuple):
    """One metric; unit is a UCUM code (`s`, `By`, `1`), kind gauge, counter or histogram."""

    name: str
    unit: str
    kind: str
    help: str


_SUFFIXES: Final = {"s": "_seconds", "By": "_bytes", "1": "_ratio", "ms": "_milliseconds"}


def prometheus_name(metric: Metric) -> str:
    """Return the Prometheus name: dots become underscores, unit and `_total` are appended."""
    name = metric.name.replace(".", "_") + _SUFFIXES.get(metric.unit, "")
    return name + "_total" if metric.kind == "counter" else name


_METRICS: Final = (
    # of requests
    Metric(
        "http.server.request.duration",
        "s",
        "histogram",
        "Duration of requests, entry to last body byte.",
    ),
    Metric("http.server.active_requests", "{request}", "gauge", "Requests in flight."),
    # of app processes
    Metric("process.cpu.utilization", "1", "gauge", "CPU seconds a second of the process."),
    Metric("process.cpu.time.user", "s", "counter", "CPU time of the process in its own code."),
    Metric("process.cpu.time.system", "s", "counter", "CPU time of the process in the kernel."),
    Metric("process.memory.usage", "By", "gauge", "Resident memory of the process."),
    Metric(
        "process.context_switches",
        "{switch}",
        "counter",
        "Times the process was made to give up a processor.",
    ),
    Metric("process.paging.faults", "{fault}", "counter", "Page faults that waited for a disk."),
    Metric("cpython.memory.blocks", "{block}", "gauge", "Blocks that Python has in use."),
    Metric("process.thread.count", "{thread}", "gauge", "Threads of the process."),
    Metric("process.unix.file_descriptor.count", "{fd}", "gauge", "Open file descriptors."),
    Metric("process.uptime", "s", "gauge", "Age of the process."),
    Metric("cpython.gc.collections", "{collection}", "counter", "Garbage collections."),
    Metric("cpython.gc.pause.time", "s", "counter", "Time spent in garbage collections."),
    Metric(
        "trimtab.app.loop_delay", "s", "gauge", "Delay of the event loop, seen from outside it."
    ),
    Metric("trimtab.app.websockets", "{connection}", "gauge", "Open WebSocket connections."),
    Metric(
        "trimtab.app.websocket.received", "{message}", "counter", "WebSocket messages received."
    ),
    Metric("trimtab.app.websocket.sent", "{message}", "counter", "WebSocket messages sent."),
    Metric("trimtab.app.event_streams", "{stream}", "gauge", "Open event streams (SSE)."),
    Metric("trimtab.app.overhead", "1", "gauge", "CPU share of trimtab's own thread in the app."),
    # of the host, and of the container around it
    Metric("system.cpu.utilization", "1", "gauge", "Share of all CPU time in use."),
    Metric("system.cpu.logical.count", "{cpu}", "gauge", "Logical CPUs."),
    Metric("system.cpu.load_1m", "1", "gauge", "Load average of one minute."),
    Metric("system.cpu.load_5m", "1", "gauge", "Load average of five minutes."),
    Metric("system.cpu.load_15m", "1", "gauge", "Load average of fifteen minutes."),
    Metric("system.memory.limit", "By", "gauge", "Memory of the host."),
    Metric("system.memory.usage", "By", "gauge", "Memory in use: total less available."),
    Metric("system.memory.available", "By", "gauge", "Memory that can be had without swapping."),
    Metric("system.memory.utilization", "1", "gauge", "Share of memory in use."),
    Metric("system.paging.usage", "By", "gauge", "Swap in use."),
    Metric("system.paging.limit", "By", "gauge", "Swap there is."),
    Metric("system.filesystem.usage", "By", "gauge", "Disk space in use, root file system."),
    Metric("system.filesystem.limit", "By", "gauge", "Disk space, root file system."),
    Metric("system.filesystem.utilization", "1", "gauge", "Share of disk space in use, root."),
    Metric("system.disk.read.rate", "By/s", "gauge", "Bytes read from disks a second."),
    Metric("system.disk.write.rate", "By/s", "gauge", "Bytes written to disks a second."),
    Metric("system.disk.operation.rate", "{operation}/s", "gauge", "Disk operations a second."),
    Metric("system.disk.latency", "s", "gauge", "Mean time of a disk operation."),
    Metric(
        "system.network.receive.rate", "By/s", "gauge", "Bytes received a second, without loopback."
    ),
    Metric(
        "system.network.transmit.rate", "By/s", "gauge", "Bytes sent a second, without loopback."
    ),
    Metric("system.network.error.rate", "{error}/s", "gauge", "Network errors and drops a second."),
    Metric(
        "trimtab.pressure.cpu",
        "1",
        "gauge",
        "Share of time in which some task waited for CPU (PSI, 10 s).",
    ),
    Metric(
        "trimtab.pressure.memory",
        "1",
        "gauge",
        "Share of time in which some task waited for memory (PSI, 10 s).",
    ),
    Metric(
        "trimtab.pressure.io",
        "1",
        "gauge",
        "Share of time in which some task waited for I/O (PSI, 10 s).",
    ),
    Metric("container.cpu.utilization", "1", "gauge", "Share of the container's CPU limit in use."),
    Metric("container.cpu.limit", "{cpu}", "gauge", "CPUs the container may use."),
    Metric(
        "container.cpu.throttled",
        "1",
        "gauge",
        "Share of scheduling periods in which the container was throttled.",
    ),
    Metric("container.memory.usage", "By", "gauge", "Working set of the container."),
    Metric("container.memory.limit", "By", "gauge", "Memory the container may use."),
    Metric(
        "container.memory.utilization",
        "1",
        "gauge",
        "Share of the container's memory limit in use.",
    ),
    Metric(
        "container.memory.oom_kills", "{kill}", "counter", "Processes killed for want of memory."
    ),
    # of databases, caches, queues and services that the agent probes
    Metric("trimtab.probe.up", "1", "gauge", "1 when the target answered and is well, else 0."),
    Metric("trimtab.probe.duration", "s", "gauge", "Time that reading the target took."),
    Metric(
        "trimtab.probe.http.duration",
        "s",
        "gauge",
        "Time to the head of the answer, connecting included.",
    ),
    Metric("trimtab.probe.http.status", "{status}", "gauge", "Status that the service answered."),
    Metric("trimtab.queue.depth", "{message}", "gauge", "Messages that wait in the queue."),
    Metric(
        "trimtab.queue.started",
        "{message}",
        "gauge",
        "Messages taken by a worker and not finished.",
    ),
    Metric(
        "trimtab.queue.failed",
        "{message}",
        "gauge",
        "Messages whose work failed, as far as they are kept.",
    ),
    Metric(
        "trimtab.queue.lag",
        "{message}",
        "gauge",
        "Messages that the consumer group furthest behind has not got.",
    ),
    Metric("redis.ping.duration", "s", "gauge", "Time that Redis took to answer a PING."),
    Metric("redis.uptime", "s", "gauge", "Age of the Redis process."),
    Metric("redis.clients.connected", "{client}", "gauge", "Clients connected to Redis."),
    Metric(
        "redis.clients.blocked", "{client}", "gauge", "Clients that wait in a blocking command."
    ),
    Metric("redis.slaves.connected", "{replica}", "gauge", "Replicas connected to Redis."),
    Metric("redis.memory.used", "By", "gauge", "Memory that Redis has allocated."),
    Metric("redis.memory.rss", "By", "gauge", "Resident memory of Redis."),
    Metric("redis.memory.peak", "By", "gauge", "Most memory that Redis has allocated."),
    Metric("redis.maxmemory", "By", "gauge", "Memory that Redis may use; 0 for no limit."),
    Metric(
        "redis.memory.fragmentation_ratio", "1", "gauge", "Resident by allocated memory of Redis."
    ),
    Metric("redis.commands", "{command}/s", "gauge", "Commands a second."),
    Metric("redis.keyspace.hits", "{hit}", "counter", "Lookups that found their key."),
    Metric("redis.keyspace.misses", "{miss}", "counter", "Lookups that found no key."),
    Metric(
        "redis.keyspace.hit_ratio",
        "1",
        "gauge",
        "Share of lookups since the last reading that found their key.",
    ),
    Metric("redis.keys.evicted", "{key}", "counter", "Keys removed for want of memory."),
    Metric("redis.keys.expired", "{key}", "counter", "Keys removed at the end of their time."),
    Metric(
        "redis.connections.rejected",
        "{connection}",
        "counter",
        "Connections refused at the limit of clients.",
    ),
    Metric("redis.slowlog.length", "{entry}", "gauge", "Entries in the slow log."),
    Metric(
        "redis.slowlog.duration",
        "s",
        "histogram",
        "Commands that entered the slow log, by command.",
    ),
    Metric("redis.latency.latest", "s", "gauge", "Latest spike of an event that Redis watches."),
    Metric("postgresql.backends", "{connection}", "gauge", "Connections to the database."),
    Metric(
        "postgresql.backends.active", "{connection}", "gauge", "Connections that run a statement."
    ),
    Metric("postgresql.backends.idle", "{connection}", "gauge", "Connections with nothing to do."),
    Metric(
        "postgresql.backends.idle_in_transaction",
        "{connection}",
        "gauge",
        "Connections that hold a transaction open.",
    ),
    Metric(
        "postgresql.backends.waiting", "{connection}", "gauge", "Connections that wait for a lock."
    ),
    Metric(
        "postgresql.connection.max", "{connection}", "gauge", "Connections that the server allows."
    ),
    Metric("postgresql.transaction.oldest", "s", "gauge", "Age of the oldest open transaction."),
    Metric("postgresql.commits", "{transaction}", "counter", "Transactions committed."),
    Metric("postgresql.rollbacks", "{transaction}", "counter", "Transactions rolled back."),
    Metric("postgresql.deadlocks", "{deadlock}", "counter", "Deadlocks that the server broke."),
    Metric("postgresql.temp.files", "{file}", "counter", "Temporary files that queries wrote."),
    Metric("postgresql.temp.size", "By", "counter", "Bytes that queries wrote to temporary files."),
    Metric(
        "postgresql.cache.hit_ratio",
        "1",
        "gauge",
        "Share of blocks since the last reading that were in the cache.",
    ),
    Metric("postgresql.replication.lag", "s", "gauge", "Time that a standby is behind."),
    Metric(
        "postgresql.replication.data_delay",
        "By",
        "gauge",
        "Log that the standby furthest behind has not replayed.",
    ),
    Metric("postgresql.replication.standbys", "{standby}", "gauge", "Standbys connected."),
    Metric("postgresql.db_size", "By", "gauge", "Size of the database."),
    Metric(
        "postgresql.statement.duration",
        "s",
        "histogram",
        "Statements that ran since the last reading, by normalised text.",
    ),
    Metric(
        "postgresql.index.unused.size",
        "By",
        "gauge",
        "Size of an index that no scan used since it is watched.",
    ),
    # of trimtab itself: in = out + held + dropped, hop by hop
    Metric("trimtab.agent.samples", "{sample}", "counter", "Records received from apps."),
    Metric("trimtab.agent.dropped", "{sample}", "counter", "Records lost, by reason."),
    Metric(
        "trimtab.agent.frames_refused",
        "{frame}",
        "counter",
        "Connections closed for a bad frame, by reason.",
    ),
    Metric("trimtab.agent.frames_skipped", "{frame}", "counter", "Frames of a type unknown here."),
    Metric("trimtab.agent.apps", "{process}", "gauge", "App processes connected."),
    Metric("trimtab.agent.series", "{series}", "gauge", "Series in the open window."),
    Metric(
        "trimtab.agent.series_over_limit",
        "{point}",
        "counter",
        "Records folded into the series `other`.",
    ),
    Metric(
        "trimtab.agent.batches_sent", "{batch}", "counter", "Batches the collector has accepted."
    ),
    Metric(
        "trimtab.agent.batches_failed",
        "{batch}",
        "counter",
        "Attempts to send a batch that failed, by cause.",
    ),
    Metric(
        "trimtab.agent.batches_quarantined",
        "{batch}",
        "counter",
        "Batches the collector refused for good.",
    ),
    Metric("trimtab.agent.spool.size", "By", "gauge", "Bytes in the spool."),
    Metric("trimtab.agent.spool.batches", "{batch}", "gauge", "Batches in the spool."),
    Metric(
        "trimtab.agent.spool.dropped",
        "{batch}",
        "counter",
        "Batches dropped from the spool, by reason.",
    ),
    Metric(
        "trimtab.agent.spool.coarsened",
        "{batch}",
        "counter",
        "Batches merged into longer windows, to drop none.",
    ),
    Metric(
        "trimtab.agent.spool.split",
        "{batch}",
        "counter",
        "Batches cut in two, too large for the collector.",
    ),
    Metric(
        "trimtab.agent.spool.damaged",
        "{place}",
        "counter",
        "Places in spool files that could not be read, by reason.",
    ),
    Metric(
        "trimtab.agent.spool.faults", "{call}", "counter", "Failed calls to the disk, by cause."
    ),
    Metric(
        "trimtab.agent.samples_repeated",
        "{sample}",
        "counter",
        "Records that came twice and were taken once.",
    ),
    Metric(
        "trimtab.agent.measures_over_limit",
        "{change}",
        "counter",
        "Changes of measures folded into `other`.",
    ),
    Metric(
        "trimtab.agent.events_dropped",
        "{event}",
        "counter",
        "Events left out, in apps and here: too many, or too many alike.",
    ),
    Metric("trimtab.agent.cpu.time", "s", "counter", "CPU time of the agent."),
    Metric("trimtab.agent.memory.usage", "By", "gauge", "Resident memory of the agent."),
)

#: Every metric by its OpenTelemetry name.
CATALOG: Final = {metric.name: metric for metric in _METRICS}
