"""Agents: which there are, how they do, and which will not come back."""

from typing import Final

from trimtab_collector.contract.body import Body
from trimtab_collector.contract.kinds import Choice, PathName, Whole

__all__ = ["AGENT", "AGENTS", "AGENT_STATE", "AgentBody", "AgentList", "AgentRefusal", "Dismissed"]

AGENT: Final = PathName("name", "The name of an agent.")
AGENT_STATE: Final = Choice(
    "state", "Only agents in this state.", ("all", "sending", "silent", "gone"), "all"
)
AGENTS: Final = Whole("limit", "Most agents; the others are counted as left out.", 1, 1000, 200)


class AgentBody(Body, kw_only=True):
    """One agent, as the collector knows it."""

    name: str
    #: null until it has told
    host: str | None
    #: it sends; nothing came for over 25 seconds; it stopped in order or is silent for a day
    state: str
    environments: list[str]
    services: list[str]
    #: null where an earlier agent does not tell, and until it sends after a start of the collector
    version: str | None
    first_seen: str | None
    last_seen: str
    #: seconds since it was heard, not counting those in which the collector was not there
    silent: float
    #: since it was first seen
    batches: int
    points: int
    #: reason -> records that its apps dropped since then
    dropped: dict[str, int]
    #: code -> requests of it that were refused, since the collector started
    refused: dict[str, int]
    #: reason -> how much of what it sent was over a quota: kept as `other`, or left out
    over_quota: dict[str, int]
    #: what it holds on disk; null while it does not tell
    spool_bytes: int | None
    spool_batches: int | None
    memory: int | None
    #: by how much its clock is ahead; null as `version`
    clock_skew_seconds: float | None
    #: whether two agents send under this name in turns, as one whose data directory was copied
    shared: bool
    #: name and id of the key that it writes with; null once that is revoked
    key: str | None
    key_id: str | None


class AgentRefusal(Body, kw_only=True):
    """Requests of one agent that were refused with one code, since the collector started."""

    code: str
    #: null where it was not found out, and for further agents of a key that has many
    agent: str | None
    #: null where it was no key of this collector
    key_id: str | None
    count: int
    last: str
    #: of the last one
    message: str


class AgentList(Body, kw_only=True):
    """Agents by name, those that are silent first and those that are gone last."""

    agents: list[AgentBody]
    agents_left_out: int
    #: up to 100, the latest first
    refusals: list[AgentRefusal]
    #: by state, whatever was asked for
    states: dict[str, int]


class Dismissed(Body, kw_only=True):
    """The agent that was dismissed."""

    name: str
