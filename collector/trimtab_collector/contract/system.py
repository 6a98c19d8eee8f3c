"""Hosts and memory: latest gauges."""

from trimtab_collector.contract.body import Body
from trimtab_collector.contract.gauges import HostGauges, ProcessGauges

__all__ = ["MemoryGauges", "SystemGauges"]


class SystemGauges(Body, kw_only=True):
    """The latest gauges of hosts and containers."""

    timestamp: str
    hosts: list[HostGauges]


class MemoryGauges(Body, kw_only=True):
    """Memory of processes and hosts, latest gauges."""

    timestamp: str
    processes: list[ProcessGauges]
    hosts: list[HostGauges]
