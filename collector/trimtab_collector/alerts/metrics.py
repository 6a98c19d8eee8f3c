"""What a rule may judge: figures of requests, gauges, measures, and signals of trimtab itself.

A metric has a name of this table, or is the name of any gauge or measure: `gauge:` and `measure:`
before it choose between the two.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from trimtab_collector.contract.alerts import AGENT_SILENCE, ANALYSIS, BURN_RATE, SERVICE_GONE
from trimtab_collector.contract.errors import ApiError
from trimtab_collector.reads.departures import GONE_EXPIRES_S
from trimtab_collector.reads.utilization import CPU_USE, DISK_USE, MEMORY_USE, NETWORK_USE
from trimtab_core.catalog import CATALOG

__all__ = [
    "FIGURES",
    "GAUGE_FIGURES",
    "METRICS",
    "SIGNALS",
    "JudgedMetric",
    "metric_of",
]

#: how a gauge or measure may be read; rate is per second
FIGURES: Final = (
    *("mean", "max", "min", "last", "total", "rate", "sum", "count"),
    *("p50", "p90", "p95", "p99", "p999"),
)
GAUGE_FIGURES: Final = ("mean", "max", "min", "last", "total")
_REQUEST_FIELDS: Final = (
    *("environment", "service", "version", "instance", "route", "method", "status_class"),
)
_OWNERS: Final = ("environment", "service", "instance")
#: UCUM code -> unit
_UNITS: Final = {"s": "s", "1": "ratio", "By": "bytes", "By/s": "bytes/s"}


@dataclass(frozen=True, slots=True)
class JudgedMetric:
    """How a metric is read."""

    name: str
    #: requests, gauge, measure, either (of the two), ratio (of two measures), or signal
    kind: str
    #: ms, s, ratio, 1/s, bytes, bytes/s; empty for plain numbers
    unit: str
    #: fields that may be filtered and grouped by
    fields: tuple[str, ...]
    group_by: tuple[str, ...]
    #: names of gauges or measures; of several gauges the first that a series has counts
    names: tuple[str, ...] = ()
    figure: str = ""
    #: what values are multiplied by
    scale: float = 1.0
    #: whether the floor of requests applies
    has_floor: bool = False
    #: an alert of it ends when no value has been known for so long
    expires_s: int = 86_400

    @property
    def is_share(self) -> bool:
        """Whether values are from 0 to 1: not those of every plain number, and no sums of many."""
        known = self.name in METRICS or self.names[:1] in _SHARES
        return known and self.unit == "ratio" and self.figure not in ("total", "sum", "count")


def _requests(name: str, figure: str, unit: str, *, floor: bool = True) -> JudgedMetric:
    by = ("environment", "service")
    return JudgedMetric(name, "requests", unit, _REQUEST_FIELDS, by, (), figure, has_floor=floor)


def _gauge(name: str, unit: str, names: tuple[str, ...], **more: object) -> JudgedMetric:
    shown = {"figure": "mean", "fields": _OWNERS, "group_by": _OWNERS, **more}
    return JudgedMetric(name, "gauge", unit, names=names, **shown)  # type: ignore[arg-type]


def _signal(name: str, unit: str, *fields: str) -> JudgedMetric:
    return JudgedMetric(name, "signal", unit, fields, fields)


#: by agent, too: another agent that claims the same host has a series of its own
_HOST: Final = {"fields": ("instance", "agent"), "group_by": ("instance", "agent")}

#: name -> how it is read
METRICS: Final[Mapping[str, JudgedMetric]] = {
    metric.name: metric
    for metric in (
        _requests("responseTime", "p95", "ms"),
        _requests("p50", "p50", "ms"),
        _requests("p90", "p90", "ms"),
        _requests("p95", "p95", "ms"),
        _requests("p99", "p99", "ms"),
        _requests("p999", "p999", "ms"),
        _requests("mean", "mean", "ms"),
        _requests("max", "max", "ms"),
        _requests("ttfb", "ttfb", "ms"),
        _requests("queueTime", "queue", "ms"),
        _requests("errorRate", "errors", "ratio"),
        _requests("requestsPerSecond", "rate", "1/s", floor=False),
        _gauge("memoryUsage", "ratio", MEMORY_USE, **_HOST),
        _gauge("cpuUsage", "ratio", CPU_USE, **_HOST),
        _gauge("networkUsage", "ratio", NETWORK_USE, **_HOST),
        _gauge("diskUsage", "ratio", DISK_USE, **_HOST),
        _gauge("eventLoopDelay", "ms", ("trimtab.app.loop_delay",), scale=1000.0),
        _gauge("spoolSize", "bytes", ("trimtab.agent.spool.size",), **_HOST),
        _gauge("agentMemory", "bytes", ("trimtab.agent.memory.usage",), **_HOST),
        JudgedMetric(
            *("queryTime", "measure", "ms", _OWNERS, ("environment", "service")),
            *(("db.client.operation.duration",), "p90", 1000.0, True),
        ),
        JudgedMetric(
            *("externalTime", "measure", "ms", _OWNERS, ("environment", "service")),
            *(("http.client.request.duration",), "p95", 1000.0, True),
        ),
        JudgedMetric(
            *("cacheHitRate", "ratio", "ratio", _OWNERS, ("environment", "service")),
            *(("trimtab.cache.hits", "trimtab.cache.misses"), "", 1.0, True),
        ),
        _signal(AGENT_SILENCE, "s", "agent"),
        _signal("clockSkew", "s", "agent"),
        replace(_signal(SERVICE_GONE, "s", "environment", "service"), expires_s=GONE_EXPIRES_S),
        _signal("collectorTrouble", "", "part"),
        _signal(BURN_RATE, "", "slo", "environment", "service"),
        _signal(ANALYSIS, "", "environment", "service"),
    )
}
#: gauges that are shares, as what they are named by
_SHARES: Final = {
    (name,)
    for metric in METRICS.values()
    if metric.kind == "gauge" and metric.unit == "ratio"
    for name in metric.names
}
SIGNALS: Final = tuple(metric.name for metric in METRICS.values() if metric.kind == "signal")


def metric_of(name: str, figure: str = "") -> JudgedMetric:
    """Return how a metric is read; raises ApiError 422 for a name or figure that cannot be."""
    if figure and figure not in FIGURES:
        raise _bad("figure", f"one of {', '.join(FIGURES)}", figure)
    if name in METRICS:
        if figure and METRICS[name].kind != "gauge":
            raise _bad("figure", f"none, as {name} says what it is", figure)
        found = METRICS[name]
        return found if not figure else JudgedMetric(
            found.name, found.kind, found.unit, found.fields, found.group_by, found.names, figure,
            found.scale,
        )  # fmt: skip
    kind, colon, rest = name.partition(":")
    if not colon:
        kind, rest = "either", name
    elif kind not in ("gauge", "measure"):
        raise _bad("metric", "a metric, gauge:NAME or measure:NAME", name)
    if not 0 < len(rest) <= 256 or ("." not in rest and kind == "either"):
        known = ", ".join(METRICS)
        raise _bad("metric", f"one of {known}, or the name of a gauge or measure", name)
    if kind == "gauge" and figure and figure not in GAUGE_FIGURES:
        raise _bad("figure", f"one of {', '.join(GAUGE_FIGURES)} for a gauge", figure)
    return JudgedMetric(name, kind, _unit(rest), _OWNERS, _OWNERS, (rest,), figure)


def _unit(name: str) -> str:
    """Return the unit of a gauge or measure that trimtab defines; of an app's own none is known."""
    return _UNITS.get(CATALOG[name].unit, "") if name in CATALOG else ""


def _bad(field: str, expected: str, got: str) -> ApiError:
    message = f"{field}: expected {expected}, got {got!r:.80}"
    return ApiError(422, "bad_rule", message, {"field": field})
