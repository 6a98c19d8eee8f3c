"""The agents of a collector, as people look at them: put together of what its parts know.

Who was heard is kept by alerts, whose a name is by the keys, what is on an agent's disk comes with
its gauges, and its clock and version with its requests.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Final, NamedTuple

from trimtab_collector.alerts.agents import GONE, SENDING, SILENT, Agents, SeenAgent
from trimtab_collector.auth.owners import AgentOwners
from trimtab_collector.contract.agents import (
    AGENT,
    AGENT_STATE,
    AGENTS,
    AgentBody,
    AgentList,
    AgentRefusal,
    Dismissed,
)
from trimtab_collector.contract.parameters import Parameters
from trimtab_collector.senders import Senders
from trimtab_collector.storage.store import Store
from trimtab_collector.storage.tallies import SenderTally, TallyRow

__all__ = ["Fleet", "agents", "dismiss"]

#: rows of refusals in an answer
_REFUSALS: Final = 100
_ORDER: Final = (SILENT, SENDING, GONE)
_SPOOL: Final = "trimtab.agent.spool.size"
_BATCHES: Final = "trimtab.agent.spool.batches"
_MEMORY: Final = "trimtab.agent.memory.usage"
_OWN: Final = (_SPOOL, _BATCHES, _MEMORY)


class Fleet(NamedTuple):
    """What knows of agents; any thread."""

    agents: Agents
    owners: AgentOwners
    senders: Senders
    store: Store
    #: requests of agents that were refused
    refusals: SenderTally


def agents(fleet: Fleet, parameters: Parameters) -> AgentList:
    """Return the agents that were heard within a week."""
    listed = fleet.agents.listed(parameters.now_s)
    wanted = parameters[AGENT_STATE]
    found = [row for row in listed if wanted in ("all", row[1]) and _serves(row[3], parameters)]
    found.sort(key=lambda row: (_ORDER.index(row[1]), row[0]))
    limit = parameters[AGENTS]
    refusals, over = fleet.refusals.rows(), _by_agent(fleet.store.over.rows())
    refused = _by_agent(refusals)
    told: dict[str, dict[str, float]] = {}
    for gauge in fleet.store.latest_gauges(parameters.now_s):
        # Of the agent itself: a process of an app has none of these.
        if gauge.name in _OWN and not gauge.service:
            told.setdefault(gauge.agent, {})[gauge.name] = gauge.value
    return AgentList(
        agents=[
            _body(
                *(fleet, parameters, *row, told.get(row[0], {})),
                *(refused.get(row[0], {}), over.get(row[0], {})),
            )
            for row in found[:limit]
        ],
        agents_left_out=max(0, len(found) - limit),
        refusals=[_refusal(row, parameters) for row in refusals[:_REFUSALS]],
        states=dict.fromkeys(_ORDER, 0) | Counter(row[1] for row in listed),
    )


def dismiss(fleet: Fleet, parameters: Parameters) -> Dismissed:
    """Forget an agent that will not come back, and end its alerts."""
    name = parameters[AGENT]
    fleet.agents.dismiss(name, parameters.caller)
    return Dismissed(name=name)


def _by_agent(rows: Iterable[TallyRow]) -> dict[str, dict[str, int]]:
    """Return reason -> number of each agent, over all its keys."""
    found: dict[str, dict[str, int]] = {}
    for row in rows:
        counts = found.setdefault(row.agent, {})
        counts[row.reason] = counts.get(row.reason, 0) + row.number
    return found


def _refusal(row: TallyRow, parameters: Parameters) -> AgentRefusal:
    return AgentRefusal(
        code=row.reason,
        agent=row.agent or None,
        key_id=row.key or None,
        count=row.number,
        last=parameters.shown(row.last_s),
        message=row.text,
    )


def _serves(seen: SeenAgent, parameters: Parameters) -> bool:
    """Return whether an agent sends for what was asked for; without services it is everybody's."""
    if not parameters.where:
        return True
    pairs = (name.partition("\0") for name in seen.services)
    return any(parameters.chooses(environment=one, service=two) for one, _, two in pairs)


def _body(
    fleet: Fleet,
    parameters: Parameters,
    name: str,
    state: str,
    silent_s: float,
    seen: SeenAgent,
    told: dict[str, float],
    refused: dict[str, int],
    over: dict[str, int],
) -> AgentBody:
    key, sender = fleet.owners.key_of(name), fleet.senders.of(name)
    pairs = [each.partition("\0") for each in seen.services]

    def whole(gauge: str) -> int | None:
        return int(told[gauge]) if gauge in told else None

    return AgentBody(
        name=name,
        host=seen.host or None,
        state=state,
        environments=sorted({environment for environment, _, _ in pairs}),
        services=sorted({service for _, _, service in pairs}),
        version=(sender.version or None) if sender else None,
        first_seen=parameters.shown(seen.first_s) if seen.first_s else None,
        last_seen=parameters.shown(seen.heard_s),
        silent=round(silent_s, 1),
        batches=seen.batches,
        points=seen.points,
        dropped=seen.dropped,
        refused=refused,
        over_quota=over,
        spool_bytes=whole(_SPOOL),
        spool_batches=whole(_BATCHES),
        memory=whole(_MEMORY),
        clock_skew_seconds=round(sender.ahead_s, 1) if sender else None,
        shared=bool(sender and sender.is_shared(parameters.now_s)),
        key=(key.name or key.id) if key else None,
        key_id=key.id if key else None,
    )
