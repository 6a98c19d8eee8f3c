"""The latest gauges, sorted by what they are of: processes, hosts, and what agents look at."""

from collections.abc import Iterable
from typing import Final

from trimtab_collector.contract.calls import ProbedTarget
from trimtab_collector.contract.gauges import HostGauges, ProcessGauges
from trimtab_collector.storage.store import LatestGauge
from trimtab_core.catalog import CATALOG

__all__ = [
    "ACTIVE",
    "EVENT_STREAMS",
    "UPTIME",
    "WEB_SOCKETS",
    "amount",
    "hosts_of",
    "instances_of",
    "targets_of",
]

#: gauges of processes: requests being served, open connections
ACTIVE: Final = "http.server.active_requests"
WEB_SOCKETS: Final = "trimtab.app.websockets"
EVENT_STREAMS: Final = "trimtab.app.event_streams"
#: every process has this one
UPTIME: Final = "process.uptime"
#: how the instance of what agents look at begins; any other without a service is a host
_PROBED: Final = ("redis:", "postgresql:", "queue:", "http:")


def instances_of(gauges: Iterable[LatestGauge]) -> list[ProcessGauges]:
    """Return the gauges of each process."""
    found: dict[tuple[str, str, str], dict[str, float]] = {}
    for row in gauges:
        if row.service:
            name = (row.environment, row.service, row.instance)
            found.setdefault(name, {})[row.name] = amount(row.name, row.value)
    return [
        ProcessGauges(environment=name[0], service=name[1], instance=name[2], gauges=values)
        for name, values in sorted(found.items())
    ]


def hosts_of(gauges: Iterable[LatestGauge]) -> list[HostGauges]:
    """Return the gauges of each host, one entry for each agent on it."""
    found: dict[tuple[str, str], dict[str, float]] = {}
    for row in gauges:
        if not row.service and not row.instance.startswith(_PROBED):
            found.setdefault((row.instance, row.agent), {})[row.name] = amount(row.name, row.value)
    return [
        HostGauges(host=host, agent=agent, gauges=values)
        for (host, agent), values in sorted(found.items())
    ]


def targets_of(gauges: Iterable[LatestGauge], *kinds: str) -> list[ProbedTarget]:
    """Return what agents read of servers of these kinds: redis, postgresql, http, queue."""
    found: dict[tuple[str, str], dict[str, float]] = {}
    for row in gauges:
        if not row.service and row.instance.partition(":")[0] in kinds:
            found.setdefault((row.instance, row.agent), {})[row.name] = amount(row.name, row.value)
    return [
        ProbedTarget(target=target, agent=agent, gauges=dict(sorted(values.items())))
        for (target, agent), values in sorted(found.items())
    ]


def amount(name: str, value: float) -> float:
    """Return a value as a whole number where its gauge counts something: bytes, requests."""
    metric = CATALOG.get(name)
    unit = metric.unit if metric else ""
    counts = unit == "By" or (unit.startswith("{") and unit.endswith("}"))
    return int(value) if counts and value.is_integer() else value
