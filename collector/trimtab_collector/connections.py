"""Connections to the collector: how many there may be, and how long each may keep it waiting.

uvicorn's protocol waits for ever for a request to begin, for its headers to end and for a client to
read, and keeps headers of any length. Here each of these has a limit, checked once a second. When
all places are taken, whoever has more than an eighth of them makes room, and then whoever has been
silent the longest: those who open many, whatever they say or do not say, keep nobody else out. Who
has a connection is told by its address, and by caller or key once one was shown on it.
"""

import asyncio
import enum
import heapq
import logging
import resource
import time
from collections import Counter
from collections.abc import Callable
from typing import Final, Protocol

from trimtab_collector.contract.callers import Caller
from trimtab_collector.contract.health import ConnectionHealth, HealthPart
from trimtab_core.logs import RateLimited

__all__ = ["Connected", "ConnectionTable", "Patience", "Phase", "most_connections"]

logger = logging.getLogger("trimtab.connections")

#: when all places are taken, this share of them is made free at once
_ROOM: Final = 64
#: one address, caller or key that has more than this share of all places gives some to others
_SHARE: Final = 8
#: descriptors kept for everything but connections: the store's files, logs, channels; five eighths
#: if there are fewer
_RESERVE: Final = 512


class Phase(enum.Enum):
    """What a connection is waiting for."""

    SHAKING = "the end of the TLS handshake"
    HEAD = "a request and the end of its headers"
    BODY = "the end of a request's body"
    ANSWERING = "the answer to a request"
    IDLE = "the next request"
    LINGERING = "the rest of a body that was answered already"
    CLOSING = "the client to take the last answer"
    UPGRADED = "nothing: it speaks another protocol"


class Patience:
    """How long a connection may stay in each phase, in seconds; None: for ever."""

    def __init__(
        self,
        *,
        sweep_s: float = 1.0,
        head_s: float = 10.0,
        body_s: float = 40.0,
        idle_s: float = 75.0,
        linger_s: float = 5.0,
        stalled_s: float = 30.0,
    ) -> None:
        #: time between two looks at all connections
        self.sweep_s = sweep_s
        self.of: dict[Phase, float | None] = {
            Phase.SHAKING: head_s,
            Phase.HEAD: head_s,
            Phase.BODY: body_s,
            Phase.ANSWERING: None,
            Phase.IDLE: idle_s,
            Phase.LINGERING: linger_s,
            Phase.CLOSING: linger_s,
            Phase.UPGRADED: None,
        }
        #: without the client taking a byte of what is sent
        self.stalled_s = stalled_s


#: who makes room first
_RANKS: Final = {
    Phase.SHAKING: 0,
    Phase.HEAD: 0,
    Phase.CLOSING: 0,
    Phase.LINGERING: 1,
    Phase.IDLE: 2,
    Phase.BODY: 3,
}
#: then those that are served, unless somebody is known to speak on them
_SERVED: Final = 4


def most_connections(wanted: int) -> int:
    """Return how many connections there are descriptors for, at most wanted.

    Raises the soft limit of this process for them, as far as the hard limit allows.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = wanted + _RESERVE
    if soft == resource.RLIM_INFINITY or soft >= enough:
        return wanted
    soft = enough if hard == resource.RLIM_INFINITY else min(enough, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    found = max(16, min(wanted, soft - min(_RESERVE, soft * 5 // 8)))
    if found < wanted:
        logger.warning(
            "only %s of max_connections=%s can be open: this process may open %s files; raise that "
            "limit (ulimit -n, LimitNOFILE=)",
            found, wanted, soft,
        )  # fmt: skip
    return found


class Connected(Protocol):
    """A connection, as the table sees it."""

    #: what it waits for, and since when
    phase: Phase
    since_s: float
    #: the network it comes from
    peer: str
    #: id of the caller or key that was shown on it; empty for none
    caller: str

    @property
    def is_closing(self) -> bool:
        """Whether it is as good as closed."""

    def is_overdue(self, now_s: float, patience: Patience) -> bool:
        """Tell whether the client has been waited for long enough."""

    def give_up(self) -> None:
        """Close it because it is overdue."""

    def cut(self) -> None:
        """Close it at once."""


class ConnectionTable:
    """The connections of a collector; loop only, but for the counts."""

    def __init__(
        self,
        most: int,
        patience: Patience | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        #: may be changed at any time
        self.most = most
        self.patience = patience or Patience()
        self.clock = clock
        self._held: set[Connected] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._log = RateLimited(logger)
        #: closed because they kept the collector waiting
        self.timed_out = 0
        #: closed to make room for others
        self.displaced = 0
        #: closed at once because there was no room
        self.refused = 0
        #: whose TLS handshake failed
        self.failed_handshakes = 0

    def __len__(self) -> int:
        return len(self._held)

    def admit(self, protocol: Connected) -> bool:
        """Give a new connection a place; False when all are taken by requests of known callers."""
        if len(self._held) >= self.most and not self.make_room():
            self.refused += 1
            self._log.warning("full", "connections=%d: no room for another", len(self._held))
            return False
        self._held.add(protocol)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self.patience.sweep_s, self._sweep)
        return True

    def left(self, protocol: Connected) -> None:
        """Forget a connection that has ended."""
        self._held.discard(protocol)

    def make_room(self) -> int:
        """Close some connections, first of those who have too many; returns how many."""
        counts = Counter(map(_whose, self._held))
        share = self.most // _SHARE
        # A caller who is known gets twice the share of an address.
        excess = {
            whose: max(0, (count // 2 if whose[0] else count) - share)
            for whose, count in counts.items()
        }
        found = [
            (-excess[_whose(each)], _RANKS.get(each.phase, _SERVED), each.since_s, number, each)
            for number, each in enumerate(self._held)
            if each.phase in _RANKS or not each.caller or excess[_whose(each)]
        ]
        gone = [row[-1] for row in heapq.nsmallest(max(1, self.most // _ROOM), found)]
        for each in gone:
            each.cut()
            self.left(each)
        self.displaced += len(gone)
        if gone:
            self._log.warning(
                "displaced",
                "connections=%d are as many as may be: who has most or says nothing loses some",
                self.most,
            )
        return len(gone)

    def health(self, _caller: Caller) -> HealthPart:
        """Return how many there are and were; any thread."""
        body = ConnectionHealth(
            open=len(self._held),
            most=self.most,
            timed_out=self.timed_out,
            displaced=self.displaced,
            refused=self.refused,
            failed_handshakes=self.failed_handshakes,
        )
        return HealthPart(body)

    def stop(self) -> None:
        """End the checks; what is open stays open."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _sweep(self) -> None:
        # First, so that the next look comes whatever this one meets.
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self.patience.sweep_s, self._sweep) if self._held else None
        now_s = self.clock()
        for each in list(self._held):
            try:
                self._look(each, now_s)
            except Exception:
                logger.exception("looking at a connection failed, it is let go")
                self.left(each)

    def _look(self, each: Connected, now_s: float) -> None:
        if each.phase is Phase.UPGRADED and each.is_closing:
            # Its other protocol is told of its end, not this one.
            self.left(each)
        elif each.is_overdue(now_s, self.patience):
            self.timed_out += each.phase is not Phase.CLOSING
            each.give_up()


def _whose(each: Connected) -> tuple[bool, str]:
    """Return by what a connection counts: its caller if one is known, else where it comes from."""
    return (True, each.caller) if each.caller else (False, each.peer)
