"""Hosts of a period: CPU and memory as shares of what a host, or its container, may use."""

from collections.abc import Sequence

import numpy as np

from trimtab_collector.contract.reports import HostReport
from trimtab_collector.reads.utilization import CPU_USE, DISK_USE, MEMORY_USE, by_machine
from trimtab_collector.storage.store import GaugeRows, GaugeSelection, Store

__all__ = ["host_reports"]


def host_reports(
    store: Store, edges_s: Sequence[int], hosts: frozenset[str] | None
) -> list[HostReport]:
    """Return the hosts chosen, the busiest first; None for all. Raises TooMuchError.

    A peak is the mean of the busiest step.
    """
    names = (*CPU_USE, *MEMORY_USE, *DISK_USE)
    rows = store.read_gauges(GaugeSelection(tuple(edges_s), names, {}, ("name", "instance")))
    found = [
        (host, name, _of_group(rows, place))
        for place, (name, host) in enumerate(rows.groups)
        if hosts is None or host in hosts
    ]
    cpu, memory, disk = (by_machine(found, each) for each in (CPU_USE, MEMORY_USE, DISK_USE))
    reports = [
        _report(host, cpu.get(host), memory.get(host), disk.get(host))
        for host in {host for host, *_ in found}
    ]
    reports.sort(key=lambda each: (-(each.cpu_mean or 0.0), each.host))
    return reports


def _of_group(rows: GaugeRows, place: int) -> tuple[float, float]:
    """Return the mean of all values, and the largest mean of a step."""
    begin, end = np.searchsorted(rows.group, [place, place + 1]).tolist()
    means, counts = rows.mean[begin:end], rows.count[begin:end]
    return float((means * counts).sum() / counts.sum()), float(means.max())


def _report(
    host: str,
    cpu: tuple[float, float] | None,
    memory: tuple[float, float] | None,
    disk: tuple[float, float] | None,
) -> HostReport:
    return HostReport(
        host=host,
        cpu_mean=cpu[0] if cpu else None,
        cpu_peak=cpu[1] if cpu else None,
        memory_mean=memory[0] if memory else None,
        memory_peak=memory[1] if memory else None,
        disk_used=disk[1] if disk else None,
    )
