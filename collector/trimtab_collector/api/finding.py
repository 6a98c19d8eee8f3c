"""Rows of the table of endpoints: agents, names, and what a search finds."""

from typing import Final

from trimtab_collector.api.endpoint import ApiEndpoint
from trimtab_collector.contract.agents import AGENT, AGENT_STATE, AGENTS, AgentList, Dismissed
from trimtab_collector.contract.callers import Role
from trimtab_collector.contract.names import (
    KIND_FOUND,
    LISTED,
    MATCH,
    SEARCHED,
    KnownNames,
    SearchHits,
)
from trimtab_collector.contract.parameters import OWNERS, TZ
from trimtab_collector.finder import NameFinder, names, search
from trimtab_collector.fleet import Fleet, agents, dismiss

__all__ = ["FINDING"]

# fmt: off
FINDING: Final = (
    ApiEndpoint(("/agents",), agents, (AgentList,), (*OWNERS[:2], AGENT_STATE, AGENTS, TZ),
             of=Fleet),
    ApiEndpoint(("/agents/{name}",), dismiss, (Dismissed,), (AGENT,), role=Role.ADMIN,
             method="DELETE", of=Fleet),
    ApiEndpoint(("/names",), names, (KnownNames,), (*OWNERS[:2], MATCH, LISTED), of=NameFinder,
             shares=True),
    ApiEndpoint(("/search",), search, (SearchHits,), (*OWNERS[:2], MATCH, KIND_FOUND, SEARCHED),
             of=NameFinder),
)
# fmt: on
