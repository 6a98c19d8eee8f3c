"""Hosts, and the memory of hosts and processes: latest gauges."""

from typing import Final

from trimtab_collector.contract.parameters import Parameters
from trimtab_collector.contract.system import MemoryGauges, SystemGauges
from trimtab_collector.reads.latest import hosts_of, instances_of
from trimtab_collector.reads.reader import StoreReader

__all__ = ["memory", "system"]

_MEMORY: Final = (
    "process.memory.", "cpython.gc.", "cpython.memory.", "system.memory.", "system.paging.",
    "container.memory.",
)  # fmt: skip


def system(reader: StoreReader, parameters: Parameters) -> SystemGauges:
    """Return the latest gauges of hosts and containers."""
    gauges = reader.gauges(parameters)
    return SystemGauges(timestamp=parameters.shown(parameters.now_s), hosts=hosts_of(gauges))


def memory(reader: StoreReader, parameters: Parameters) -> MemoryGauges:
    """Return the latest gauges of memory, of processes and hosts."""
    gauges = reader.gauges(parameters)
    return MemoryGauges(
        timestamp=parameters.shown(parameters.now_s),
        processes=instances_of(row for row in gauges if row.name.startswith(_MEMORY)),
        hosts=hosts_of(gauges, _MEMORY),
    )
