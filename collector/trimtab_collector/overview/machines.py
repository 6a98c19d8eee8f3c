"""What processes, hosts and caches measured: who is there, who is lost, CPU, hit rates."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
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
from trimtab_collector.reads.judging.facts import is_probed
from trimtab_collector.reads.presence import HOST, PROCESS
from trimtab_collector.reads.ranges import TimeRange
from trimtab_collector.reads.reader import StoreReader
from trimtab_collector.reads.utilization import CPU_USE, MEMORY_USE
from trimtab_collector.storage.columns import WINDOW_S
from trimtab_collector.storage.store import GaugeSelection, MeasureSelection
from trimtab_core.names import STOPPING

__all__ = ["Machines"]

_HITS, _MISSES = "trimtab.cache.hits", "trimtab.cache.misses"
_CORES: Final = {
    "container.cpu.utilization": "container.cpu.limit",
    "system.cpu.utilization": "system.cpu.logical.count",
}
#: metric of a threshold -> gauges, of which the first that a machine has counts
_USES: Final = {
    "cpuUsage": CPU_USE,
    "memoryUsage": MEMORY_USE,
    "diskUsage": ("system.filesystem.utilization",),
}
_STEP_S: Final = 300
_STEPS: Final = 24
#: a process reports every 10 seconds: one that was not heard for so long is not here
_GONE_S: Final = 30
#: while its agent is not heard either, for so long
_SILENT_S: Final = 60
#: agents that told of a service so long before its end told of its end
_TOGETHER_S: Final = 60
#: steps in a row without which a service that is gone was not steadily there
_STEADY: Final = 6


@dataclass(slots=True)
class _ProcessPresence:
    """The processes of a service."""

    #: those that are here
    instances: set[str] = field(default_factory=set)
    #: those of the last minutes
    lately: set[str] = field(default_factory=set)
    #: when the last of them was heard; None while any is here
    gone_s: int | None = None
    #: when the last of a service that was steadily there was heard; None while any is here
    lost_s: int | None = None
    #: whether the agents that told of them were heard without them, so that it is known that none
    #: runs; that stays known when such an agent falls silent later
    is_watched: bool = False
    #: whether an agent that told of them fell silent with them: nobody knows whether they run
    is_unknown: bool = False
    #: whether any agent that told of them is heard now
    is_heard: bool = True
    #: when any of them was heard last; None while any is here
    heard_s: int | None = None


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
        #: agent -> end of the last window that it sent, of those that are silent now
        self.silent: dict[str, int] = {}
        #: hosts of which silent agents told
        self.silent_hosts: set[str] = set()
        self.processes = self._processes()
        instances = {
            each for some in self.processes.values() for each in some.instances | some.lately
        }
        #: None: every host
        self._hosts = {each.rpartition("#")[0] for each in instances} if parameters.where else None
        #: cores of the hosts lately; None where no host was measured
        self.cores: float | None = None
        #: how much each machine uses lately
        self.uses: list[_HostUse] = list(self._uses())

    # ------------------------------------------------ processes

    def _processes(self) -> dict[tuple[str, ...], _ProcessPresence]:
        spans = self._spans
        edges_s: tuple[int, ...] = (spans.start_s, spans.end_s)
        if spans.is_now:
            last_s = spans.end_s - _GONE_S
            # Whole minutes are read quickly, and one step is shorter for it.
            first_s = max(0, last_s - last_s % _STEP_S - _STEPS * _STEP_S)
            edges_s = (*range(first_s, last_s, _STEP_S), last_s, spans.end_s)
        fields = ("name", "environment", "service", "instance", "agent")
        where = self._parameters.where
        rows = self._store.read_gauges(GaugeSelection(edges_s, (PROCESS,), where, fields))
        steps: dict[tuple[str, ...], set[int]] = {}
        agents: dict[tuple[str, ...], set[str]] = {}
        found: dict[tuple[str, ...], _ProcessPresence] = {}
        for group, t in zip(rows.group.tolist(), rows.t.tolist(), strict=True):
            _, environment, service, instance, agent = rows.groups[group]
            owner: tuple[str, ...] = (environment, service)
            steps.setdefault(owner, set()).add(t)
            agents.setdefault(owner, set()).add(agent)
            presence = found.setdefault(owner, _ProcessPresence())
            if not spans.is_now:
                presence.instances.add(instance)
            elif t >= edges_s[-3]:
                presence.lately.add(instance)
        if not spans.is_now:
            return found
        heard = self._here(found)
        gone = {owner for owner in steps if not found[owner].instances}
        asked = {agent for owner in gone for agent in agents[owner]}
        ended = self._note_silent(edges_s, heard, asked)
        last = {**dict.fromkeys(heard, spans.end_s), **self.silent, **ended}
        known = heard | ended.keys()
        for owner, seen in steps.items():
            presence = found[owner]
            if owner in gone:
                presence.is_heard = bool(agents[owner] & heard)
                self._note_gone(owner, presence, edges_s, seen, last, known)
        return found

    def _note_silent(
        self, edges_s: tuple[int, ...], heard: set[str], asked: set[str]
    ) -> dict[str, int]:
        """Note which agents are silent; return those that stopped in order, as in `silent`.

        When that was is looked up for those that are asked; of others it is true to a step.
        """
        fields = ("name", "agent", "instance")
        rows = self._store.read_gauges(GaugeSelection(edges_s, (HOST, STOPPING), {}, fields))
        last: dict[str, int] = {}
        stopped: dict[str, int] = {}
        hosts: dict[str, set[str]] = {}
        for group, t, most in zip(
            rows.group.tolist(), rows.t.tolist(), rows.max.tolist(), strict=True
        ):
            name, agent, host = rows.groups[group]
            if name == STOPPING:
                if most:
                    stopped[agent] = max(t, stopped.get(agent, 0))
                continue
            last[agent] = max(t, last.get(agent, 0))
            hosts.setdefault(agent, set()).add(host)
        ended: dict[str, int] = {}
        for agent in last.keys() - heard:
            end_s = edges_s[edges_s.index(last[agent]) + 1]
            if agent in asked:
                where = {"agent": agent}
                end_s = self._last_heard(where, HOST, last[agent], edges_s).get(agent, end_s)
            if stopped.get(agent, -1) >= last[agent]:
                ended[agent] = end_s
            else:
                self.silent[agent] = end_s
        told = {host for agent in last.keys() & heard for host in hosts[agent]}
        self.silent_hosts = {host for agent in self.silent for host in hosts[agent]} - told
        return ended

    def _here(self, found: dict[tuple[str, ...], _ProcessPresence]) -> set[str]:
        """Add the processes whose gauges are fresh; return the agents that are heard."""
        heard = {row.agent for row in self._store.latest_gauges(self._parameters.now_s)}
        for row in self._reader.gauges(self._parameters):
            if row.service and row.name == PROCESS:
                owner = (row.environment, row.service)
                found.setdefault(owner, _ProcessPresence()).instances.add(row.instance)
        return heard

    def _note_gone(
        self,
        owner: tuple[str, ...],
        presence: _ProcessPresence,
        edges_s: tuple[int, ...],
        seen: set[int],
        agents: Mapping[str, int],
        known: Collection[str],
    ) -> None:
        """Say since when none of the processes of a service is heard, and how steady it was.

        agents says when each was heard last; known are those that are heard, or stopped in order.
        """
        last = edges_s.index(max(seen))
        run = 1
        while run <= last and edges_s[last - run] in seen:
            run += 1
        where = {"environment": owner[0], "service": owner[1]}
        told = self._last_heard(where, PROCESS, edges_s[last], edges_s)
        heard_s = max(told.values(), default=edges_s[last + 1])
        presence.heard_s = heard_s
        # Those it had before its last minute are no matter: it moved away from them.
        ended = [
            agents.get(agent, 0) - _GONE_S >= heard_s
            for agent, end_s in told.items()
            if end_s >= heard_s - _TOGETHER_S
        ]
        presence.is_watched = bool(ended) and all(ended)
        presence.is_unknown = not presence.is_watched and any(agent not in known for agent in told)
        if heard_s > self._spans.end_s - (_GONE_S if presence.is_watched else _SILENT_S):
            return
        presence.gone_s = heard_s
        if run >= _STEADY:
            presence.lost_s = heard_s

    def _last_heard(
        self, where: Mapping[str, str], name: str, step_s: int, edges_s: tuple[int, ...]
    ) -> dict[str, int]:
        """Return agent -> end of the last window with a gauge, within a step and just before."""
        end_s = edges_s[edges_s.index(step_s) + 1]
        windows = (*range(max(0, step_s - _TOGETHER_S), end_s, WINDOW_S), end_s)
        rows = self._store.read_gauges(GaugeSelection(windows, (name,), where, ("name", "agent")))
        found: dict[str, int] = {}
        for group, t in zip(rows.group.tolist(), rows.t.tolist(), strict=True):
            agent = rows.groups[group][1]
            found[agent] = max(found.get(agent, 0), int(t) + WINDOW_S)
        return found

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
        every = tuple(name for names in _USES.values() for name in names)
        fields = ("name", "service", "instance")
        rows = self._store.read_gauges(GaugeSelection(edges_s, every, {}, fields))
        values = {
            (name, machine): mean
            for group, mean in zip(rows.group.tolist(), rows.mean.tolist(), strict=True)
            for name, service, machine in (rows.groups[group],)
            if not service and machine not in self.silent_hosts and self._is_chosen(machine)
        }
        for metric, names in _USES.items():
            for machine in sorted({machine for name, machine in values if name in names}):
                use = next(values[name, machine] for name in names if (name, machine) in values)
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
