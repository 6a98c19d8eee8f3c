"""What a step without requests means: no traffic, no process, or that nothing could arrive.

Processes and agents report gauges every ten seconds, whether there are requests or not. A step in
which processes report and have no requests is quiet. One in which only the agents of their hosts
report is down: no process ran. One in which those agents are silent too is a gap: whatever happened
then, nobody saw it.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Final

import numpy as np

from trimtab_collector.storage.columns import Array
from trimtab_collector.storage.store import GaugeSelection, Store

__all__ = [
    "DOWN",
    "GAP",
    "HOST",
    "MEASURED",
    "PROCESS",
    "QUIET",
    "agents_of",
    "hosts_seen",
    "presence",
    "seen",
]

MEASURED: Final = "measured"
QUIET: Final = "quiet"
DOWN: Final = "down"
GAP: Final = "gap"

#: gauges that every process, and every agent of its host, always has
PROCESS: Final = "process.uptime"
HOST: Final = "system.memory.usage"
_FIELDS: Final = ("environment", "service", "instance")
#: of more agents any that reports stands for all
_AGENTS: Final = 20


def presence(
    store: Store, edges_s: Sequence[int], where: Mapping[str, str], measured: Array
) -> list[str]:
    """Return for each step whether it was measured, quiet, down or a gap.

    measured says which steps have requests. Raises TooMuchError.
    """
    chosen = {name: text for name, text in where.items() if name in _FIELDS}
    alive = measured | seen(store, edges_s, PROCESS, chosen)
    if alive.all():
        return [MEASURED if one else QUIET for one in measured.tolist()]
    agents = agents_of(store, edges_s, chosen)
    heard = hosts_seen(store, edges_s, agents)
    # Of processes that report no gauges it is not known whether they ran.
    silent = DOWN if agents else QUIET
    return [
        MEASURED if some else QUIET if runs else silent if reported else GAP
        for some, runs, reported in zip(
            measured.tolist(), alive.tolist(), heard.tolist(), strict=True
        )
    ]


def seen(store: Store, edges_s: Sequence[int], name: str, where: Mapping[str, str]) -> Array:
    """Return in which steps a gauge had a value; raises TooMuchError."""
    rows = store.read_gauges(GaugeSelection(tuple(edges_s), (name,), where, ("name",)))
    found = np.zeros(len(edges_s) - 1, bool)
    found[np.searchsorted(np.array(edges_s), rows.t, "right") - 1] = True
    return found


def agents_of(store: Store, edges_s: Sequence[int], where: Mapping[str, str]) -> list[str]:
    """Return the agents that reported processes in a range; raises TooMuchError."""
    whole = (edges_s[0], edges_s[-1])
    rows = store.read_gauges(GaugeSelection(whole, (PROCESS,), where, ("name", "agent")))
    return [group[1] for group in rows.groups]


def hosts_seen(store: Store, edges_s: Sequence[int], agents: Collection[str]) -> Array:
    """Return in which steps any of some agents reported its host; without agents, any agent."""
    if not agents or len(agents) > _AGENTS:
        return seen(store, edges_s, HOST, {})
    found = np.zeros(len(edges_s) - 1, bool)
    for agent in agents:
        found |= seen(store, edges_s, HOST, {"agent": agent})
    return found
