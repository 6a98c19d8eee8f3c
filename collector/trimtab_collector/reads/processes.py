"""Whose processes are here, gone or lost, as their gauges and the agents that send them say."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

from trimtab_collector.contract.parameters import Parameters
from trimtab_collector.reads.presence import HOST, PROCESS
from trimtab_collector.reads.reader import StoreReader
from trimtab_collector.storage.columns import WINDOW_S
from trimtab_collector.storage.store import GaugeSelection
from trimtab_core.names import STOPPING

__all__ = ["Owner", "ProcessPresence", "Processes", "present_processes"]

#: environment and service
Owner = tuple[str, ...]
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
class ProcessPresence:
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
    #: those of these agents that are heard now
    agents: set[str] = field(default_factory=set)
    #: start of the first step in which any was heard; None: of none yet
    first_s: int | None = None


def present_processes(
    reader: StoreReader, parameters: Parameters
) -> tuple[dict[Owner, set[str]], set[str]]:
    """Return the processes of each service whose gauges are fresh, and the agents that are heard.

    Quick: nothing is read from disk.
    """
    heard = {row.agent for row in reader.store.latest_gauges(parameters.now_s)}
    here: dict[Owner, set[str]] = {}
    for row in reader.gauges(parameters):
        if row.service and row.name == PROCESS:
            here.setdefault((row.environment, row.service), set()).add(row.instance)
    return here, heard


class Processes:
    """The processes of a range, or of the two hours before now; raises TooMuchError."""

    def __init__(
        self, reader: StoreReader, parameters: Parameters, edges_s: tuple[int, int], *, is_now: bool
    ) -> None:
        self._reader = reader
        self._store = reader.store
        self._parameters = parameters
        self._start_s, self._end_s = edges_s
        self._is_now = is_now
        #: agent -> end of the last window that it sent, of those that are silent now
        self.silent: dict[str, int] = {}
        #: hosts of which silent agents told
        self.silent_hosts: set[str] = set()
        #: service -> its processes
        self.found = self._processes()

    def _processes(self) -> dict[tuple[str, ...], ProcessPresence]:
        edges_s: tuple[int, ...] = (self._start_s, self._end_s)
        if self._is_now:
            last_s = self._end_s - _GONE_S
            # Whole minutes are read quickly, and one step is shorter for it.
            first_s = max(0, last_s - last_s % _STEP_S - _STEPS * _STEP_S)
            edges_s = (*range(first_s, last_s, _STEP_S), last_s, self._end_s)
        fields = ("name", "environment", "service", "instance", "agent")
        where = self._parameters.where
        rows = self._store.read_gauges(GaugeSelection(edges_s, (PROCESS,), where, fields))
        steps: dict[tuple[str, ...], set[int]] = {}
        agents: dict[tuple[str, ...], set[str]] = {}
        found: dict[tuple[str, ...], ProcessPresence] = {}
        for group, t in zip(rows.group.tolist(), rows.t.tolist(), strict=True):
            _, environment, service, instance, agent = rows.groups[group]
            owner: tuple[str, ...] = (environment, service)
            steps.setdefault(owner, set()).add(t)
            agents.setdefault(owner, set()).add(agent)
            presence = found.setdefault(owner, ProcessPresence())
            presence.first_s = min(t, t if presence.first_s is None else presence.first_s)
            if not self._is_now:
                presence.instances.add(instance)
            elif t >= edges_s[-3]:
                presence.lately.add(instance)
        if not self._is_now:
            return found
        heard = self._here(found)
        gone = {owner for owner in steps if not found[owner].instances}
        asked = {agent for owner in gone for agent in agents[owner]}
        ended = self._note_silent(edges_s, heard, asked)
        last = {**dict.fromkeys(heard, self._end_s), **self.silent, **ended}
        known = heard | ended.keys()
        for owner, seen in steps.items():
            presence = found[owner]
            if owner in gone:
                presence.agents = agents[owner] & heard
                presence.is_heard = bool(presence.agents)
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

    def _here(self, found: dict[tuple[str, ...], ProcessPresence]) -> set[str]:
        """Add the processes whose gauges are fresh; return the agents that are heard."""
        here, heard = present_processes(self._reader, self._parameters)
        for owner, instances in here.items():
            found.setdefault(owner, ProcessPresence()).instances |= instances
        return heard

    def _note_gone(
        self,
        owner: tuple[str, ...],
        presence: ProcessPresence,
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
        if heard_s > self._end_s - (_GONE_S if presence.is_watched else _SILENT_S):
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
