"""What a step without requests means: no traffic, no process, or that nothing could arrive.

Processes and agents report gauges every ten seconds, whether there are requests or not. A step in
which processes report and have no requests is quiet. One in which only the agents of their hosts
report is down: no process ran. One in which those agents are silent too is a gap: whatever happened
then, nobody saw it.

Which agents those are is asked in one place, `Heartbeats`: whoever tells of a service tells it the
same way, however many agents it has.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Final

import numpy as np

from trimtab_collector.storage.columns import Array
from trimtab_collector.storage.store import GaugeRows, GaugeSelection, Store

__all__ = [
    "DOWN",
    "GAP",
    "HOST",
    "MEASURED",
    "PROCESS",
    "QUIET",
    "Heartbeats",
    "presence",
]

MEASURED: Final = "measured"
QUIET: Final = "quiet"
DOWN: Final = "down"
GAP: Final = "gap"

#: gauges that every process, and every agent of its host, always has
PROCESS: Final = "process.uptime"
HOST: Final = "system.memory.usage"
_FIELDS: Final = ("environment", "service", "instance")
#: an agent that told of a service so long before a range, in seconds, is one of its agents
_BEFORE_S: Final = 86_400
_HOUR_S: Final = 3600
#: how much is read at once: groups times steps, and steps before the number of groups is known
_CELLS: Final = 2_000_000
_STEPS: Final = 2_000


class Heartbeats:
    """In which steps processes ran, and in which the agents that told of them were heard.

    Of the processes chosen by environment, service and instance. Each part is read when it is first
    asked for; from one thread at a time. Methods raise TooMuchError, and return bool arrays with a
    place for each step.
    """

    def __init__(self, store: Store, edges_s: Sequence[int], where: Mapping[str, str]) -> None:
        self._store = store
        self._edges_s = tuple(edges_s)
        self._where = {name: text for name, text in where.items() if name in _FIELDS}
        #: width of the widest windows that were read, seconds
        self.resolution_s = 0

    @cached_property
    def alive(self) -> Array:
        """In which steps any of the processes ran."""
        found = self._none()
        for _, _, rows in self._read(PROCESS, self._where, ()):
            found[self._step(rows)] = True
        return found

    @cached_property
    def runs(self) -> dict[tuple[str, ...], Array]:
        """Environment and service -> in which steps processes of it ran."""
        found: dict[tuple[str, ...], Array] = {}
        for _, _, rows in self._read(PROCESS, self._where, ("environment", "service")):
            step = self._step(rows)
            for place, group in enumerate(rows.groups):
                mask = found.setdefault(group[1:], self._none())
                mask[step[rows.group == place]] = True
        return found

    @cached_property
    def any_host(self) -> Array:
        """In which steps any agent of the store was heard, whatever it told of."""
        found = self._none()
        for _, _, rows in self._read(HOST, {}, ()):
            found[self._step(rows)] = True
        return found

    def heard(self, service: tuple[str, ...] = ()) -> Array | None:
        """Return in which steps any agent was heard that told of a service; (), of any chosen.

        A service is environment and name. None where no agent told of it, neither in the range nor
        in the day before: nobody is known who could have seen it run.
        """
        return self._heard.get(service)

    @cached_property
    def _heard(self) -> dict[tuple[str, ...], Array]:
        agents = self._agents()
        every = sorted(agents.get((), ()))
        if not every:
            return {}
        number = {agent: place for place, agent in enumerate(every)}
        told = {name: [number[agent] for agent in some] for name, some in agents.items()}
        found = {name: self._none() for name in told}
        where = {"agent": every[0]} if len(every) == 1 else {}
        for begin, end, rows in self._read(HOST, where, ("agent",), len(every)):
            heard = np.zeros((len(every), end - begin), bool)
            numbers = [number.get(agent, -1) for _, agent in rows.groups]
            place = np.array(numbers, np.int64)[rows.group]
            known = place >= 0
            heard[place[known], self._step(rows)[known] - begin] = True
            for name, mask in found.items():
                mask[begin:end] = heard[told[name]].any(axis=0)
        return found

    def _agents(self) -> dict[tuple[str, ...], set[str]]:
        """Return the agents that told of each service, and under () those of all."""
        start_s = max(0, self._edges_s[0] - _BEFORE_S)
        # Whole hours are read quickly.
        whole = (start_s - start_s % _HOUR_S, self._edges_s[-1])
        by = ("name", "environment", "service", "agent")
        rows = self._store.read_gauges(GaugeSelection(whole, (PROCESS,), self._where, by))
        found: dict[tuple[str, ...], set[str]] = {}
        for _, environment, service, agent in rows.groups:
            for name in ((), (environment, service)):
                found.setdefault(name, set()).add(agent)
        return found

    def _read(
        self, name: str, where: Mapping[str, str], by: tuple[str, ...], groups: int = 1
    ) -> Iterator[tuple[int, int, GaugeRows]]:
        """Yield first and last step, and what was read of them: some at a time, to bound memory."""
        begin, steps = 0, len(self._edges_s) - 1
        wide = min(_STEPS, _CELLS // groups)
        while begin < steps:
            end = min(steps, begin + max(1, wide))
            edges_s = self._edges_s[begin : end + 1]
            rows = self._store.read_gauges(GaugeSelection(edges_s, (name,), where, ("name", *by)))
            self.resolution_s = max(self.resolution_s, rows.resolution_s)
            yield begin, end, rows
            begin, wide = end, _CELLS // max(groups, len(rows.groups))

    def _step(self, rows: GaugeRows) -> Array:
        """Return the place of each row's step."""
        found: Array = np.searchsorted(np.array(self._edges_s), rows.t, "right") - 1
        return found

    def _none(self) -> Array:
        return np.zeros(len(self._edges_s) - 1, bool)


def presence(
    store: Store, edges_s: Sequence[int], where: Mapping[str, str], measured: Array
) -> list[str]:
    """Return for each step whether it was measured, quiet, down or a gap.

    measured says which steps have requests. Raises TooMuchError.
    """
    beats = Heartbeats(store, edges_s, where)
    alive = measured | beats.alive
    if alive.all():
        return [MEASURED if one else QUIET for one in measured.tolist()]
    heard = beats.heard()
    # Of processes that report no gauges it is not known whether they ran.
    silent = QUIET if heard is None else DOWN
    heard = beats.any_host if heard is None else heard
    return [
        MEASURED if some else QUIET if runs else silent if reported else GAP
        for some, runs, reported in zip(
            measured.tolist(), alive.tolist(), heard.tolist(), strict=True
        )
    ]
