"""Every metric of trimtab's own: OpenTelemetry name, unit, kind and help line.

Names and units follow OpenTelemetry's semantic conventions where one exists; others begin with
`trimtab.`. The name of a metric in Prometheus follows from these (`prometheus_name`). Whose a gauge
is, an app's, the host's, the agent's or a probe's, follows from its name, too (`gaugeowners.py`).
"""

from typing import Final, NamedTuple

from trimtab_core.names import exposed_name
from trimtab_core.probemetrics import PROBE_METRICS

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
    *(CatalogMetric(*each) for each in PROBE_METRICS),
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
    CatalogMetric(
        "trimtab.agent.gauges_dropped",
        "{gauge}",
        "counter",
        "Gauges of apps left out: no finite number, the name of one of host, agent or probes, or "
        "over their bound of names.",
    ),
    CatalogMetric("trimtab.agent.forgotten", "{process}", "counter", "Apps forgotten too early."),
    CatalogMetric("trimtab.agent.faults", "{fault}", "counter", "What loops caught, by loop."),
    CatalogMetric("trimtab.agent.cpu.time", "s", "counter", "CPU time of the agent."),
    CatalogMetric("trimtab.agent.memory.usage", "By", "gauge", "Resident memory of the agent."),
)

#: Every metric by its OpenTelemetry name.
CATALOG: Final = {metric.name: metric for metric in _METRICS}
