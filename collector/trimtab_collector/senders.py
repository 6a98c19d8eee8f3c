"""What agents tell with their requests, beside the batches: the clock, and their version.

An agent's windows are moved to the collector's clock by a whole number of seconds that stays the
same until its clock has moved: so each window has a place of its own. What is measured is the clock
when a request was begun, by ours when its headers were here. Time on the way makes a clock look
behind, never ahead. So the largest of the last few measures counts, and a clock is taken to be
behind only after as many.
"""

import logging
import re
from collections import OrderedDict
from functools import lru_cache
from typing import Final, NamedTuple

from trimtab_core.batches import Batch, SentAt
from trimtab_core.logs import RateLimited

__all__ = ["AgentTold", "Senders", "ahead_of", "offset_of"]

logger = logging.getLogger("trimtab.ingest")

_MAX_AGENTS: Final = 10_000
#: a clock that is off by more is told
_SKEWED_S: Final = 10.0
#: windows of a clock that is off by more are moved, and moved anew when it has changed by more
_MOVED_S: Final = 5.0
#: windows that are moved stay where they are once it is off by less
_RIGHT_S: Final = 2.0
#: a clock that differs by more from what it was has jumped: no request is on its way for so long
_JUMP_S: Final = 60.0
#: measures from which a clock is known
_STEADY: Final = 3
#: processes that send in turns are two agents after so many turns, the last one so long ago
_TURNS: Final = 2
_TURN_S: Final = 300.0
#: processes of an agent that are remembered
_EARLIER: Final = 8
_SHOWN: Final = 20
_VERSION: Final = re.compile(rb"trimtab-agent/([0-9A-Za-z.+-]{1,40})")


class AgentTold(NamedTuple):
    """The last that an agent told."""

    #: by how many seconds its clock was ahead of ours, at the last few requests of this boot
    measured: tuple[float, ...]
    #: empty where it does not tell
    version: str = ""
    #: the process that sends
    boot: bytes = b""
    #: by how many seconds its windows are moved back
    offset_s: int = 0
    #: the processes that sent before it, the latest last
    earlier: tuple[bytes, ...] = ()
    #: how often one that had been replaced has sent again, and when it did last
    returns: int = 0
    returned_s: float = 0.0

    @property
    def ahead_s(self) -> float:
        """Seconds by which its clock is ahead of ours."""
        return max(self.measured)

    def is_shared(self, now_s: float) -> bool:
        """Whether processes send in turns: an agent that starts again never sends as it did."""
        return self.returns >= _TURNS and now_s - self.returned_s < _TURN_S


class Senders:
    """The latest 10,000 agents that sent; the loop and a thread of it note, any thread asks."""

    def __init__(self) -> None:
        self._agents: OrderedDict[str, AgentTold] = OrderedDict()
        self._log = RateLimited(logger)

    def told(
        self,
        agent: str,
        ahead_s: float,
        sent_at: SentAt | None,
        user_agent: bytes = b"",
        now_s: float = 0.0,
    ) -> AgentTold:
        """Return what is known of an agent with what it tells now; `note` remembers it."""
        boot = sent_at.boot if sent_at else b""
        before = self._agents.get(agent) or AgentTold((ahead_s,), boot=boot)
        measured: tuple[float, ...] = ()
        if (
            agent in self._agents
            and before.boot == boot
            and abs(ahead_s - before.ahead_s) <= _JUMP_S
        ):
            measured = before.measured[1 - _STEADY :]
        measured = (*measured, ahead_s)
        # A process that is new has the clock of the one before.
        offset_s = _kept(before.offset_s, measured)
        told = AgentTold(measured, _version(user_agent), boot, offset_s, *before[4:])
        return told if before.boot == boot else _replaced(before, told, now_s)

    def note(self, agent: str, told: AgentTold, now_s: float = 0.0) -> None:
        """Remember what an agent told, once its request was accepted; what is wrong is logged."""
        if abs(told.ahead_s) > _SKEWED_S:
            self._log.warning(
                "skew",
                "clock of an agent is %.0f s %s; its windows are booked by ours: "
                "set the clock of its machine agent=%s",
                abs(told.ahead_s),
                "ahead" if told.ahead_s > 0 else "behind",
                agent,
            )
        if told.is_shared(now_s):
            self._log.warning(
                f"shared {agent}",
                "two agents send as %s, so nobody is told if one of them falls silent: stop one, "
                "delete agent-id from its data directory, and give it a key of its own",
                agent,
            )
        self._agents[agent] = told
        self._agents.move_to_end(agent)
        while len(self._agents) > _MAX_AGENTS:
            self._agents.popitem(last=False)

    def of(self, agent: str) -> AgentTold | None:
        """Return what an agent told, None where it has not sent since the start."""
        return self._agents.get(agent)

    def skewed(self) -> dict[str, float]:
        """Return the seconds by which agents are off, up to 20 over ten seconds."""
        # A list first, which is made at once: the loop adds agents while a thread reads them.
        agents = list(self._agents.items())
        off = [
            (agent, round(sender.ahead_s, 1))
            for agent, sender in agents
            if abs(sender.ahead_s) > _SKEWED_S
        ]
        return dict(off[:_SHOWN])

    def shared(self, now_s: float) -> list[str]:
        """Return up to 20 names as which more than one agent sends."""
        agents = list(self._agents.items())
        return [agent for agent, sender in agents if sender.is_shared(now_s)][:_SHOWN]


def ahead_of(batch: Batch, sent_at: SentAt | None, now_s: float) -> float:
    """Return by how much the agent's clock was ahead of ours when it closed the batch.

    now_s is when the headers of its request were here.
    """
    if sent_at is None:
        # Without its clock, only a window that closed in our future shows that it is ahead.
        return max(0.0, batch.closed_us / 1e6 - now_s)
    if batch.closed_mono_us and sent_at.boot == batch.boot:
        age_s = sent_at.mono_s - batch.closed_mono_us / 1e6
        return batch.closed_us / 1e6 - (now_s - max(0.0, age_s))
    # From an earlier boot of the agent: we take its clock to have been what it is now.
    return sent_at.wall_s - now_s


def offset_of(told: AgentTold, ahead_s: float) -> int:
    """Return by how many seconds to move back a batch that was closed that far ahead of ours."""
    if abs(ahead_s - told.measured[-1]) <= _MOVED_S:
        return told.offset_s
    # The clock was set between closing and sending.
    return round(ahead_s) if abs(ahead_s) > _MOVED_S else 0


@lru_cache(maxsize=64)
def _version(user_agent: bytes) -> str:
    found = _VERSION.fullmatch(user_agent)
    return found[1].decode() if found else ""


def _replaced(before: AgentTold, told: AgentTold, now_s: float) -> AgentTold:
    """Return what is known once another process sends than before."""
    earlier = (*(boot for boot in before.earlier if boot != told.boot), before.boot)
    told = told._replace(earlier=earlier[-_EARLIER:])
    if told.boot not in before.earlier:
        return told
    # The first is forgiven: a request of before may have been held up on its way.
    recent = now_s - before.returned_s < _TURN_S
    return told._replace(returns=before.returns + 1 if recent else 1, returned_s=now_s)


def _kept(offset_s: int, measured: tuple[float, ...]) -> int:
    """Return the offset after another measure: the same, unless the clock has surely moved."""
    ahead_s = max(measured)
    is_known = len(measured) == _STEADY or abs(ahead_s - offset_s) > _JUMP_S
    if ahead_s < offset_s and not is_known:
        return offset_s
    if abs(ahead_s) <= _RIGHT_S:
        return 0
    if abs(ahead_s - offset_s) <= _MOVED_S:
        return offset_s
    return round(ahead_s) if abs(ahead_s) > _MOVED_S else 0
