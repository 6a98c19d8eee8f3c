"""Every metric of trimtab's own: OpenTelemetry name, unit, kind and help line.

Names and units follow OpenTelemetry's semantic conventions where one exists; others begin with
`trimtab.`. The name of a metric in Prometheus follows from these (`prometheus_name`).
"""

from typing import Final, NamedTuple

from trimtab_core.names import exposed_name

__all__ = ["CATALOG", "CatalogMetric"]


class CatalogMetric(NamedTuple):
    """One metric; unit is a UCUM code (`s`, `By`, `1`), kind gauge, counter or histogram."""

    name: str
    unit: str
    kind: str
    help: str

    @property
    def prometheus_name(self) -> str:
        """Return the name in Prometheus."""
        return exposed_name(self.name, self.kind, self.unit)


_METRICS: Final = (
    # of requests
    CatalogMetric(
        "http.server.request.duration",
        "s",
        "histogram",
        "Duration of requests, entry to last body byte.",
    ),
    CatalogMetric("http.server.active_requests", "{request}", "gauge", "Requests in flight."),
    # of app processes
    CatalogMetric(
        "process.cpu.utilization", "1", "gauge", "CPU seconds per second of the process."
    ),
    CatalogMetric(
        "process.cpu.time.user", "s", "counter", "CPU time of the process in its own code."
    ),
    CatalogMetric(
        "process.cpu.time.system", "s", "counter", "CPU time of the process in the kernel."
    ),
    CatalogMetric("process.memory.usage", "By", "gauge", "Resident memory of the process."),
    CatalogMetric(
        "process.context_switches",
        "{switch}",
        "counter",
        "Times the process was made to give up a processor.",
    ),
    CatalogMetric(
        "process.paging.faults", "{fault}", "counter", "Page faults that waited for a disk."
    ),
    CatalogMetric("cpython.memory.blocks", "{block}", "gauge", "Blocks that Python has in use."),
    CatalogMetric("process.thread.count", "{thread}", "gauge", "Threads of the process."),
    CatalogMetric("process.unix.file_descriptor.count", "{fd}", "gauge", "Open file descriptors."),
    CatalogMetric("process.uptime", "s", "gauge", "Age of the process."),
    CatalogMetric("cpython.gc.collections", "{collection}", "counter", "Garbage collections."),
    CatalogMetric("cpython.gc.pause.time", "s", "counter", "Time spent in garbage collections."),
    CatalogMetric(
        "trimtab.app.loop_delay", "s", "gauge", "Delay of the event loop, seen from outside it."
    ),
    CatalogMetric("trimtab.app.websockets", "{connection}", "gauge", "Open WebSocket connections."),
    CatalogMetric(
        "trimtab.app.websocket.received", "{message}", "counter", "WebSocket messages received."
    ),
    CatalogMetric("trimtab.app.websocket.sent", "{message}", "counter", "WebSocket messages sent."),
    CatalogMetric("trimtab.app.event_streams", "{stream}", "gauge", "Open event streams (SSE)."),
    CatalogMetric(
        "trimtab.app.overhead", "1", "gauge", "CPU share of trimtab's own thread in the app."
    ),
    # of the host, and of the container around it
    CatalogMetric("system.cpu.utilization", "1", "gauge", "Share of all CPU time in use."),
    CatalogMetric("system.cpu.logical.count", "{cpu}", "gauge", "Logical CPUs."),
    CatalogMetric("system.cpu.load_1m", "1", "gauge", "Load average of one minute."),
    CatalogMetric("system.cpu.load_5m", "1", "gauge", "Load average of five minutes."),
    CatalogMetric("system.cpu.load_15m", "1", "gauge", "Load average of fifteen minutes."),
    CatalogMetric("system.memory.limit", "By", "gauge", "Memory of the host."),
    CatalogMetric("system.memory.usage", "By", "gauge", "Memory in use: total less available."),
    CatalogMetric(
        "system.memory.available", "By", "gauge", "Memory that is available without swapping."
    ),
    CatalogMetric("system.memory.utilization", "1", "gauge", "Share of memory in use."),
    CatalogMetric("system.paging.usage", "By", "gauge", "Swap in use."),
    CatalogMetric("system.paging.limit", "By", "gauge", "Swap there is."),
    CatalogMetric("system.filesystem.usage", "By", "gauge", "Disk space in use, root file system."),
    CatalogMetric("system.filesystem.limit", "By", "gauge", "Disk space, root file system."),
    CatalogMetric(
        "system.filesystem.utilization", "1", "gauge", "Share of disk space in use, root."
    ),
    CatalogMetric("system.disk.read.rate", "By/s", "gauge", "Bytes read from disks per second."),
    CatalogMetric("system.disk.write.rate", "By/s", "gauge", "Bytes written to disks per second."),
    CatalogMetric(
        "system.disk.operation.rate", "{operation}/s", "gauge", "Disk operations per second."
    ),
    CatalogMetric("system.disk.latency", "s", "gauge", "Mean time of a disk operation."),
    CatalogMetric(
        "system.network.receive.rate",
        "By/s",
        "gauge",
        "Bytes received per second, without loopback.",
    ),
    CatalogMetric(
        "system.network.transmit.rate", "By/s", "gauge", "Bytes sent per second, without loopback."
    ),
    CatalogMetric(
        "system.network.utilization",
        "1",
        "gauge",
        "Share of the network's capacity in use, the busier way; where the capacity is stated.",
    ),
    CatalogMetric(
        "system.network.error.rate", "{error}/s", "gauge", "Network errors and drops per second."
    ),
    CatalogMetric(
        "trimtab.pressure.cpu",
        "1",
        "gauge",
        "Share of time in which some task waited for CPU (PSI, 10 s).",
    ),
    CatalogMetric(
        "trimtab.pressure.memory",
        "1",
        "gauge",
        "Share of time in which some task waited for memory (PSI, 10 s).",
    ),
    CatalogMetric(
        "trimtab.pressure.io",
        "1",
        "gauge",
        "Share of time in which some task waited for I/O (PSI, 10 s).",
    ),
    CatalogMetric(
        "container.cpu.utilization", "1", "gauge", "Share of the container's CPU limit in use."
    ),
    CatalogMetric("container.cpu.limit", "{cpu}", "gauge", "CPUs the container may use."),
    CatalogMetric(
        "container.cpu.throttled",
        "1",
        "gauge",
        "Share of scheduling periods in which the container was throttled.",
    ),
    CatalogMetric("container.memory.usage", "By", "gauge", "Working set of the container."),
    CatalogMetric("container.memory.limit", "By", "gauge", "Memory the container may use."),
    CatalogMetric(
        "container.memory.utilization",
        "1",
        "gauge",
        "Share of the container's memory limit in use.",
    ),
    CatalogMetric(
        "container.memory.oom_kills",
        "{kill}",
        "counter",
        "Processes killed when memory ran out.",
    ),
    # of databases, caches, queues and services that the agent probes
    CatalogMetric(
        "trimtab.probe.up", "1", "gauge", "1 when the target answered and is well, else 0."
    ),
    CatalogMetric("trimtab.probe.duration", "s", "gauge", "Time that reading the target took."),
    CatalogMetric(
        "trimtab.probe.http.duration",
        "s",
        "gauge",
        "Time to the head of the answer, connecting included.",
    ),
    CatalogMetric(
        "trimtab.probe.http.status", "{status}", "gauge", "Status that the service answered."
    ),
    CatalogMetric("trimtab.queue.depth", "{message}", "gauge", "Messages that wait in the queue."),
    CatalogMetric(
        "trimtab.queue.started",
        "{message}",
        "gauge",
        "Messages taken by a worker and not finished.",
    ),
    CatalogMetric(
        "trimtab.queue.failed",
        "{message}",
        "gauge",
        "Messages whose work failed, as far as they are kept.",
    ),
    CatalogMetric(
        "trimtab.queue.lag",
        "{message}",
        "gauge",
        "Messages that the consumer group furthest behind has not got.",
    ),
    CatalogMetric("redis.ping.duration", "s", "gauge", "Time that Redis took to answer a PING."),
    CatalogMetric("redis.uptime", "s", "gauge", "Age of the Redis process."),
    CatalogMetric("redis.clients.connected", "{client}", "gauge", "Clients connected to Redis."),
    CatalogMetric(
        "redis.clients.blocked", "{client}", "gauge", "Clients that wait in a blocking command."
    ),
    CatalogMetric("redis.slaves.connected", "{replica}", "gauge", "Replicas connected to Redis."),
    CatalogMetric("redis.memory.used", "By", "gauge", "Memory that Redis has allocated."),
    CatalogMetric("redis.memory.rss", "By", "gauge", "Resident memory of Redis."),
    CatalogMetric("redis.memory.peak", "By", "gauge", "Most memory that Redis has allocated."),
    CatalogMetric("redis.maxmemory", "By", "gauge", "Memory that Redis may use; 0 for no limit."),
    CatalogMetric(
        "redis.memory.fragmentation_ratio", "1", "gauge", "Resident by allocated memory of Redis."
    ),
    CatalogMetric("redis.commands", "{command}/s", "gauge", "Commands per second."),
    CatalogMetric("redis.keyspace.hits", "{hit}", "counter", "Lookups that found their key."),
    CatalogMetric("redis.keyspace.misses", "{miss}", "counter", "Lookups that found no key."),
    CatalogMetric(
        "redis.keyspace.hit_ratio",
        "1",
        "gauge",
        "Share of lookups since the last reading that found their key.",
    ),
    CatalogMetric("redis.keys", "{key}", "gauge", "Keys in the database."),
    CatalogMetric("redis.keys.volatile", "{key}", "gauge", "Keys that have a time to live."),
    CatalogMetric("redis.keys.evicted", "{key}", "counter", "Keys removed as memory was full."),
    CatalogMetric(
        "redis.keys.expired", "{key}", "counter", "Keys removed at the end of their time."
    ),
    CatalogMetric(
        "redis.connections.rejected",
        "{connection}",
        "counter",
        "Connections refused at the limit of clients.",
    ),
    CatalogMetric("redis.slowlog.length", "{entry}", "gauge", "Entries in the slow log."),
    CatalogMetric(
        "redis.slowlog.duration",
        "s",
        "histogram",
        "Commands that entered the slow log, by command.",
    ),
    CatalogMetric(
        "redis.latency.latest", "s", "gauge", "Latest spike of an event that Redis watches."
    ),
    CatalogMetric("postgresql.backends", "{connection}", "gauge", "Connections to the database."),
    CatalogMetric(
        "postgresql.backends.active", "{connection}", "gauge", "Connections that run a statement."
    ),
    CatalogMetric(
        "postgresql.backends.idle", "{connection}", "gauge", "Connections with nothing to do."
    ),
    CatalogMetric(
        "postgresql.backends.idle_in_transaction",
        "{connection}",
        "gauge",
        "Connections that hold a transaction open.",
    ),
    CatalogMetric(
        "postgresql.backends.waiting", "{connection}", "gauge", "Connections that wait for a lock."
    ),
    CatalogMetric(
        "postgresql.connection.max", "{connection}", "gauge", "Connections that the server allows."
    ),
    CatalogMetric(
        "postgresql.transaction.oldest", "s", "gauge", "Age of the oldest open transaction."
    ),
    CatalogMetric("postgresql.commits", "{transaction}", "counter", "Transactions committed."),
    CatalogMetric("postgresql.rollbacks", "{transaction}", "counter", "Transactions rolled back."),
    CatalogMetric(
        "postgresql.deadlocks", "{deadlock}", "counter", "Deadlocks that the server broke."
    ),
    CatalogMetric(
        "postgresql.temp.files", "{file}", "counter", "Temporary files that queries wrote."
    ),
    CatalogMetric(
        "postgresql.temp.size", "By", "counter", "Bytes that queries wrote to temporary files."
    ),
    CatalogMetric(
        "postgresql.cache.hit_ratio",
        "1",
        "gauge",
        "Share of blocks since the last reading that were in the cache.",
    ),
    CatalogMetric("postgresql.replication.lag", "s", "gauge", "Time that a standby is behind."),
    CatalogMetric(
        "postgresql.replication.data_delay",
        "By",
        "gauge",
        "Log that the standby furthest behind has not replayed.",
    ),
    CatalogMetric("postgresql.replication.standbys", "{standby}", "gauge", "Standbys connected."),
    CatalogMetric("postgresql.db_size", "By", "gauge", "Size of the database."),
    CatalogMetric(
        "postgresql.statement.duration",
        "s",
        "histogram",
        "Statements that ran since the last reading, by normalised text.",
    ),
    CatalogMetric(
        "postgresql.index.unused.size",
        "By",
        "gauge",
        "Size of an index that no scan used since it is watched.",
    ),
    # What sessions begin with; of several roles the longest time, 0 for no limit.
    CatalogMetric("postgresql.setting.statement_timeout", "s", "gauge", "Most time of statements."),
    CatalogMetric("postgresql.setting.jit", "1", "gauge", "1 when expressions are compiled."),
    CatalogMetric("postgresql.index.size", "By", "gauge", "Size of an index of a scanned table."),
    CatalogMetric("postgresql.table.rows", "{row}", "gauge", "Rows of a table, estimated."),
    CatalogMetric("postgresql.table.modified_rows", "{row}", "gauge", "Changed since ANALYZE."),
    CatalogMetric("postgresql.table.sequential_scans", "{scan}", "counter", "Scans of all rows."),
    CatalogMetric("postgresql.table.sequential_rows", "{row}", "counter", "Rows these have read."),
    # of trimtab itself: in = out + held + dropped, hop by hop
    CatalogMetric("trimtab.agent.samples", "{sample}", "counter", "Records received from apps."),
    CatalogMetric("trimtab.agent.dropped", "{sample}", "counter", "Records lost, by reason."),
    CatalogMetric(
        "trimtab.agent.frames_refused",
        "{frame}",
        "counter",
        "Connections closed for a bad frame, by reason.",
    ),
    CatalogMetric(
        "trimtab.agent.frames_skipped", "{frame}", "counter", "Frames of a type unknown here."
    ),
    CatalogMetric("trimtab.agent.apps", "{process}", "gauge", "App processes connected."),
    CatalogMetric("trimtab.agent.series", "{series}", "gauge", "Series in the open window."),
    CatalogMetric(
        "trimtab.agent.series_over_limit",
        "{point}",
        "counter",
        "Records folded into the series `other`.",
    ),
    CatalogMetric(
        "trimtab.agent.batches_sent", "{batch}", "counter", "Batches the collector has accepted."
    ),
    CatalogMetric(
        "trimtab.agent.batches_failed",
        "{batch}",
        "counter",
        "Attempts to send a batch that failed, by cause.",
    ),
    CatalogMetric(
        "trimtab.agent.batches_quarantined",
        "{batch}",
        "counter",
        "Batches the collector refused for good.",
    ),
    CatalogMetric("trimtab.agent.spool.size", "By", "gauge", "Bytes in the spool."),
    CatalogMetric("trimtab.agent.spool.batches", "{batch}", "gauge", "Batches in the spool."),
    CatalogMetric(
        "trimtab.agent.spool.dropped",
        "{batch}",
        "counter",
        "Batches dropped from the spool, by reason.",
    ),
    CatalogMetric(
        "trimtab.agent.spool.coarsened",
        "{batch}",
        "counter",
        "Batches merged into longer windows, to drop none.",
    ),
    CatalogMetric(
        "trimtab.agent.spool.split",
        "{batch}",
        "counter",
        "Batches cut in two, too large for the collector.",
    ),
    CatalogMetric(
        "trimtab.agent.spool.damaged",
        "{place}",
        "counter",
        "Places in spool files that could not be read, by reason.",
    ),
    CatalogMetric(
        "trimtab.agent.spool.faults", "{call}", "counter", "Failed calls to the disk, by cause."
    ),
    CatalogMetric(
        "trimtab.agent.samples_repeated",
        "{sample}",
        "counter",
        "Records that came twice and were taken once.",
    ),
    CatalogMetric(
        "trimtab.agent.measures_over_limit",
        "{change}",
        "counter",
        "Deltas of measures folded into `other`.",
    ),
    CatalogMetric(
        "trimtab.agent.measures_dropped",
        "{change}",
        "counter",
        "Deltas of measures left out: more names than even `other` has places for, or too much to "
        "keep in an app while its agent was away.",
    ),
    CatalogMetric(
        "trimtab.agent.events_dropped", "{event}", "counter", "Events left out, in apps and here."
    ),
    CatalogMetric("trimtab.agent.forgotten", "{process}", "counter", "Apps forgotten too early."),
    CatalogMetric("trimtab.agent.faults", "{fault}", "counter", "What loops caught, by loop."),
    CatalogMetric("trimtab.agent.cpu.time", "s", "counter", "CPU time of the agent."),
    CatalogMetric("trimtab.agent.memory.usage", "By", "gauge", "Resident memory of the agent."),
)

#: Every metric by its OpenTelemetry name.
CATALOG: Final = {metric.name: metric for metric in _METRICS}
