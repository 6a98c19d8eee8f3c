"""What agents tell with their requests, beside the batches: the clock, and their version."""

import re
from collections import OrderedDict
from typing import Final, NamedTuple

from trimtab_core.batches import Batch, SentAt

__all__ = ["Senders", "ahead_of"]

_MAX_AGENTS: Final = 10_000
#: a clock that is off by less is right
_SKEW_S: Final = 60.0
_SHOWN: Final = 20
_VERSION: Final = re.compile(rb"trimtab-agent/([0-9A-Za-z.+-]{1,40})")


class _AgentTold(NamedTuple):
    """The last that an agent told."""

    #: seconds by which its clock is ahead of ours
    ahead_s: float
    #: empty where it does not tell
    version: str = ""


class Senders:
    """The latest 10,000 agents that sent; the loop and a thread of it note, any thread asks."""

    def __init__(self) -> None:
        self._agents: OrderedDict[str, _AgentTold] = OrderedDict()

    def note(self, agent: str, ahead_s: float, user_agent: bytes = b"") -> None:
        """Remember what an agent told."""
        found = _VERSION.fullmatch(user_agent)
        self._agents[agent] = _AgentTold(ahead_s, found[1].decode() if found else "")
        self._agents.move_to_end(agent)
        while len(self._agents) > _MAX_AGENTS:
            self._agents.popitem(last=False)

    def of(self, agent: str) -> _AgentTold | None:
        """Return what an agent told, None where it has not sent since the start."""
        return self._agents.get(agent)

    def skewed(self) -> dict[str, float]:
        """Return the seconds by which agents are off, up to 20 over a minute."""
        # A list first, which is made at once: the loop adds agents while a thread reads them.
        agents = list(self._agents.items())
        off = [
            (agent, round(sender.ahead_s, 1))
            for agent, sender in agents
            if abs(sender.ahead_s) > _SKEW_S
        ]
        return dict(off[:_SHOWN])


def ahead_of(batch: Batch, sent_at: SentAt | None, now_s: float) -> float:
    """Return by how much the agent's clock was ahead of ours when it closed the batch."""
    if sent_at is None:
        # Without its clock, only a window that closed in our future shows that it is ahead.
        return max(0.0, batch.closed_us / 1e6 - now_s)
    if batch.closed_mono_us and sent_at.boot == batch.boot:
        age_s = sent_at.mono_s - batch.closed_mono_us / 1e6
        return batch.closed_us / 1e6 - (now_s - max(0.0, age_s))
    # From an earlier boot of the agent: we take its clock to have been what it is now.
    return sent_at.wall_s - now_s
