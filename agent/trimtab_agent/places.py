"""The places of connections on the agent's sockets: who waits, who has one, who must give it up.

A connection waits until it has said hello. Those that wait have places of their own, at the Unix
socket and over TCP apart; when they are all taken, the one of the peer with most of them that has
waited longest is closed for the next, so that those who say nothing keep no app out. An app then
takes one of `max_apps` places. Where all are taken, one over TCP that has proven nothing gives way
to an app of the Unix socket, or to one that has shown the token; else the peer that has most places
gives its newest to a peer that has fewer (`peers.py`). A hello must come in time, and a frame that
has begun must end: each is looked at once a second, and what counts are the looks, since an agent
that was frozen must read before it judges.
"""

import asyncio
from typing import Final, Protocol

from trimtab_agent.peers import Holdings, Peer

__all__ = ["FRAME_S", "HELLO_S", "MAX_WAITING", "PER_PROCESS", "Places", "Seated"]

#: Connections that may wait at the Unix socket, and as many over TCP.
MAX_WAITING: Final = 32
#: Connections that one process may have: one, and some for interpreters within it.
PER_PROCESS: Final = 32
#: A connection that has not said hello by then is closed.
HELLO_S: Final = 10
#: A frame that has begun ends within this time.
FRAME_S: Final = 30
_SWEEP_S: Final = 1.0


class Seated(Protocol):
    """A connection, as its places see it."""

    #: on the Unix socket
    is_local: bool
    #: who is at the other end
    peer: Peer

    @property
    def is_trusted(self) -> bool:
        """Whether it is on the Unix socket, or has shown the agent's token."""

    @property
    def unfinished(self) -> int:
        """A number that stays the same while one frame is unfinished; -1 when none is."""

    def refuse(self, reason: str, sentence: str) -> None:
        """Close it, and count why."""


class Places:
    """Who waits and who has a place; loop only."""

    def __init__(self, most_apps: int, most_waiting: int = MAX_WAITING) -> None:
        self.limit(most_apps, most_waiting)
        #: at the Unix socket or over TCP: connection -> at how many looks it was there
        self._waiting: dict[bool, dict[Seated, int]] = {True: {}, False: {}}
        self._apps: dict[Seated, None] = {}
        self._holdings = Holdings()
        #: connection -> its unfinished frame, and at how many looks it was there
        self._late: dict[Seated, tuple[int, int]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def limit(self, most_apps: int, most_waiting: int) -> None:
        """Use other bounds for connections that come."""
        self.most_apps, self.most_waiting = most_apps, most_waiting

    def enter(self, connection: Seated) -> None:
        """Have a connection wait; the oldest of the peer with most that wait may go for it."""
        waiting = self._waiting[connection.is_local]
        if len(waiting) >= self.most_waiting:
            crowd = Holdings((each.peer, 1) for each in waiting).most()
            oldest = next(each for each in waiting if each.peer == crowd)
            del waiting[oldest]
            oldest.refuse("no_hello", "said no hello while others came")
        waiting[connection] = 0
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_SWEEP_S, self._sweep)

    def seat(self, connection: Seated) -> tuple[str, str] | None:
        """Give a place to a connection that has said hello; return why it gets none, if it does.

        That is a reason to count and a sentence.
        """
        peer = connection.peer
        if peer.process and self._holdings.held(peer) >= PER_PROCESS:
            return "too_many", f"process {peer.process} has {PER_PROCESS} connections already"
        if len(self._apps) >= self.most_apps and not self._give_way(connection):
            return "too_many", f"more than {self.most_apps} apps (TRIMTAB_AGENT_MAX_APPS)"
        self._waiting[connection.is_local].pop(connection, None)
        self._apps[connection] = None
        self._holdings.add(peer)
        return None

    def leave(self, connection: Seated) -> None:
        """Forget a connection that has ended; may be repeated."""
        self._waiting[connection.is_local].pop(connection, None)
        self._late.pop(connection, None)
        if connection in self._apps:
            del self._apps[connection]
            self._holdings.add(connection.peer, -1)

    def stop(self) -> None:
        """Look at frames no longer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_way(self, connection: Seated) -> bool:
        if not connection.is_trusted:
            return False
        found = next((each for each in reversed(self._apps) if not each.is_trusted), None)
        whom = "an app of the Unix socket or a token"
        if found is None:
            giver = self._holdings.giver(connection.peer)
            if giver is None:
                return False
            found = next(each for each in reversed(self._apps) if each.peer == giver)
            whom = "an app of somebody who has fewer"
        self.leave(found)
        found.refuse("too_many", f"its place was taken by {whom}")
        return True

    def look(self) -> None:
        """Close those whose hello or frame is overdue; called once a second."""
        for waiting in self._waiting.values():
            for each in list(waiting):
                waiting[each] += 1
                if waiting[each] > HELLO_S:
                    del waiting[each]
                    each.refuse("no_hello", f"said no hello within {HELLO_S} s")
        late: dict[Seated, tuple[int, int]] = {}
        for each in list(self._apps):
            frame = each.unfinished
            if frame < 0:
                continue
            before, looks = self._late.get(each, (frame, 0))
            looks = looks + 1 if before == frame else 1
            if looks > FRAME_S:
                each.refuse("slow_frame", f"a frame did not end within {FRAME_S} s")
            else:
                late[each] = (frame, looks)
        self._late = late

    def _sweep(self) -> None:
        # First, so that the next look comes whatever this one meets.
        loop = asyncio.get_running_loop()
        held = self._apps or any(self._waiting.values())
        self._timer = loop.call_later(_SWEEP_S, self._sweep) if held else None
        self.look()
