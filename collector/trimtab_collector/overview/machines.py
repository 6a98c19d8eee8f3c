"""What processes, hosts and caches measured: who is there, who is lost, CPU, hit rates."""

from collections.abc import Collection, Iterable
from math import nan
from typing import Final, NamedTuple

import numpy as np

from trimtab_collector.contract.parameters import Parameters
from trimtab_collector.overview.spans import Spans
from trimtab_collector.overview.usual import (
    CACHE_KIND,
    CPU_KIND,
    Baseline,
    BesideUsual,
    baseline_of,
    judged,
)
from trimtab_collector.reads.digits import significant
from trimtab_collector.reads.latest import is_probed
from trimtab_collector.reads.processes import Processes
from trimtab_collector.reads.ranges import TimeRange
from trimtab_collector.reads.reader import StoreReader
from trimtab_collector.reads.utilization import CPU_USE, USES, by_machine
from trimtab_collector.storage.store import GaugeSelection, MeasureSelection

__all__ = ["Machines"]

_HITS, _MISSES = "trimtab.cache.hits", "trimtab.cache.misses"
_CORES: Final = {
    "container.cpu.utilization": "container.cpu.limit",
    "system.cpu.utilization": "system.cpu.logical.count",
}


class _HostUse(NamedTuple):
    """How much a machine uses of something, a share of 1."""

    metric: str
    machine: str
    value: float


class Machines:
    """What is read of gauges and measures for one overview; raises TooMuchError."""

    def __init__(self, reader: StoreReader, parameters: Parameters, spans: Spans) -> None:
        self._store = reader.store
        self._reader = reader
        self._parameters = parameters
        self._spans = spans
        watched = Processes(reader, parameters, (spans.start_s, spans.end_s), is_now=spans.is_now)
        self.processes = watched.found
        #: agent -> end of the last window that it sent, of those that are silent now
        self.silent = watched.silent
        #: hosts of which silent agents told
        self.silent_hosts = watched.silent_hosts
        instances = {
            each for some in self.processes.values() for each in some.instances | some.lately
        }
        #: None: every host
        self._hosts = {each.rpartition("#")[0] for each in instances} if parameters.where else None
        #: cores of the hosts lately; None where no host was measured
        self.cores: float | None = None
        #: how much each machine uses lately
        self.uses: list[_HostUse] = list(self._uses())

    # ------------------------------------------------ hosts

    def cpu_series(self) -> list[float | None]:
        """Return the CPU use of all hosts, for each step of the range."""
        return _shown(use for use, _ in self._cpu(self._spans.series))

    def cpu(self) -> tuple[float | None, BesideUsual | None]:
        """Return the CPU use of all hosts lately, and how usual that is."""
        ((now, cores),) = self._cpu(self._spans.lately, self.silent_hosts)
        value = None if now != now else now
        self.cores = cores or None
        baselines: list[Baseline] = []
        for against, time_range in self._spans.before.items():
            values = [use for use, _ in self._cpu(time_range)]
            each = baseline_of(CPU_KIND, against, values, [1.0] * len(values))
            baselines += [] if each is None else [each]
        return value, judged(CPU_KIND, value, 1, baselines)

    def _cpu(
        self, time_range: TimeRange, without: Collection[str] = ()
    ) -> list[tuple[float, float]]:
        """Return for each step the share of CPU in use, nan without any host, and the cores."""
        edges_s = time_range.selection.edges_s
        names = (*_CORES, *_CORES.values())
        fields = ("name", "service", "instance")
        rows = self._store.read_gauges(GaugeSelection(edges_s, names, {}, fields))
        cells: dict[int, dict[str, dict[str, float]]] = {}
        for group, t, mean in zip(
            rows.group.tolist(), rows.t.tolist(), rows.mean.tolist(), strict=True
        ):
            name, service, machine = rows.groups[group]
            if not service and machine not in without and self._is_chosen(machine):
                cells.setdefault(t, {}).setdefault(machine, {})[name] = mean
        found = []
        for t in edges_s[:-1]:
            used = cores = 0.0
            for gauges in cells.get(t, {}).values():
                use = next((name for name in CPU_USE if name in gauges), None)
                if use is not None:
                    count = gauges.get(_CORES[use]) or 1.0
                    used, cores = used + count * gauges[use], cores + count
            found.append((used / cores if cores else nan, cores))
        return found

    def _uses(self) -> Iterable[_HostUse]:
        spans = self._spans
        edges_s = (spans.start_s, spans.end_s)
        every = tuple(name for names in USES.values() for name in names)
        fields = ("name", "service", "instance")
        rows = self._store.read_gauges(GaugeSelection(edges_s, every, {}, fields))
        found = [
            (machine, name, mean)
            for group, mean in zip(rows.group.tolist(), rows.mean.tolist(), strict=True)
            for name, service, machine in (rows.groups[group],)
            if not service and machine not in self.silent_hosts and self._is_chosen(machine)
        ]
        for metric, names in USES.items():
            for machine, use in by_machine(found, names).items():
                yield _HostUse(metric, machine, use)

    def _is_chosen(self, machine: str) -> bool:
        return not is_probed(machine) and (self._hosts is None or machine in self._hosts)

    # ------------------------------------------------ caches

    def hit_series(self) -> list[float | None]:
        """Return the share of reads that caches answered, for each step of the range."""
        return _shown(rate for rate, _ in self._hits(self._spans.series))

    def hit_rate(self) -> tuple[float | None, BesideUsual | None]:
        """Return the share of reads that caches answered lately, and how usual that is."""
        ((now, reads),) = self._hits(self._spans.lately)
        value = None if now != now else now
        baselines = []
        for against, time_range in self._spans.before.items():
            found = self._hits(time_range)
            each = baseline_of(CACHE_KIND, against, [a for a, _ in found], [b for _, b in found])
            baselines += [] if each is None else [each]
        return value, judged(CACHE_KIND, value, reads, baselines)

    def _hits(self, time_range: TimeRange) -> list[tuple[float, float]]:
        """Return for each step the hit rate, nan without reads, and the number of reads."""
        selection = time_range.selection
        parts = self._store.read_measures(
            MeasureSelection(selection.edges_s, (_HITS, _MISSES), self._parameters.where, (), ())
        )
        sums = [[0.0, 0.0] for _ in selection.edges_s[:-1]]
        for part in parts:
            sums[part.step][part.key.name == _MISSES] += part.delta.sum
        return [
            (hits / (hits + misses) if hits + misses else nan, hits + misses)
            for hits, misses in sums
        ]


def _shown(values: Iterable[float]) -> list[float | None]:
    """Return values as answers show them, None for nan."""
    shown = significant(np.fromiter(values, np.float64))
    return [None if value != value else value for value in shown.tolist()]
