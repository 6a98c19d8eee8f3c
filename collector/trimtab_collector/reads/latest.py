"""The latest gauges, sorted by what they are of: processes, hosts, and what agents look at."""

from collections.abc import Iterable
from typing import Final

from trimtab_collector.contract.calls import ProbedTarget
from trimtab_collector.contract.gauges import HostGauges, MachineUse, ProcessGauges
from trimtab_collector.reads.utilization import (
    CPU_USE,
    DISK_USE,
    MEMORY_USE,
    NETWORK_USE,
    by_machine,
)
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
    "is_probed",
    "targets_of",
]

#: gauges of processes: requests being served, open connections
ACTIVE: Final = "http.server.active_requests"
WEB_SOCKETS: Final = "trimtab.app.websockets"
EVENT_STREAMS: Final = "trimtab.app.event_streams"
#: every process has this one
UPTIME: Final = "process.uptime"
#: kinds of what agents look at: its instance begins with one; any other without a service is a host
_PROBED: Final = ("redis", "postgresql", "queue", "http")
_BEGINNINGS: Final = tuple(f"{kind}:" for kind in _PROBED)


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


def is_probed(instance: str) -> bool:
    """Tell whether a name without a service is of what an agent looks at, and not of a host."""
    return instance.startswith(_BEGINNINGS)


def hosts_of(
    gauges: Iterable[LatestGauge], beginnings: tuple[str, ...] = ("",)
) -> list[HostGauges]:
    """Return the gauges of each host whose names begin so, one entry for each agent on it."""
    rows = [row for row in gauges if not row.service and not is_probed(row.instance)]
    told = [((row.instance, row.agent), row.name, row.value) for row in rows]
    cpu, memory, disk, network = (
        by_machine(told, names) for names in (CPU_USE, MEMORY_USE, DISK_USE, NETWORK_USE)
    )
    found: dict[tuple[str, str], dict[str, float]] = {}
    for machine, name, value in told:
        if name.startswith(beginnings):
            found.setdefault(machine, {})[name] = amount(name, value)
    return [
        HostGauges(
            host=machine[0],
            agent=machine[1],
            use=MachineUse(
                cpu=cpu.get(machine),
                memory=memory.get(machine),
                disk=disk.get(machine),
                network=network.get(machine),
            ),
            gauges=values,
        )
        for machine, values in sorted(found.items())
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
