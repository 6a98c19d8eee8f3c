"""Who is at the other end of a connection, by what the kernel says of it, and who has most.

What an app says in its hello it may choose: process id, service, host. What is shared among apps is
therefore shared by peer first: by user, then between the processes that the agent's own namespace
knows and those of containers, then by process. Only within a process does it count what it says.
"""

from collections.abc import Hashable, Iterable
from heapq import heapify, heappop, heappush
from typing import Any, Final, NamedTuple

from trimtab_core.addresses import is_loopback, network_of

__all__ = ["NOBODY", "Holder", "Holdings", "Peer", "Sharer", "owner_of", "tcp_user"]

#: The path of a process: the user, whether it is of the agent's own PID namespace, and which it is.
Holder = tuple[str, bool, tuple[int, str, str]]


class Peer(NamedTuple):
    """The other end of a connection; nothing in it can be chosen by an app."""

    #: the user id as text on the Unix socket, `tcp_user` over TCP
    user: str
    #: whether the process is of the agent's own PID namespace
    is_here: bool
    #: the process id if it is, else the number that the kernel has for it, 0 if it tells none
    process: int


#: A peer of whom nothing is known.
NOBODY: Final = Peer("", False, 0)


class Sharer(NamedTuple):
    """Whose series are in a window: an app's peer, and the service that it says it is."""

    #: the user, and whether the process is of the agent's own PID namespace
    group: tuple[str, bool]
    #: the process; the service where nothing is known of the process
    process: tuple[int, str, str]
    #: environment and service
    service: tuple[str, str]

    @property
    def holder(self) -> Holder:
        """The process, whatever services it says to be."""
        return (*self.group, self.process)


def owner_of(peer: Peer, environment: str, service: str) -> Sharer:
    """Return whose the series of a peer are that says it is a service."""
    own = (peer.process, "", "") if peer.process else (0, environment, service)
    return Sharer((peer.user, peer.is_here), own, (environment, service))


def tcp_user(address: str) -> str:
    """Return what stands for the user of an app over TCP: the network it connects from.

    All addresses of loopback are one, since an app there may connect from any of them.
    """
    return "tcp loopback" if is_loopback(address) else f"tcp {network_of(address)}"


class _Part:
    """What one part of a tree holds, and its own parts."""

    __slots__ = ("amount", "parts", "ranks")

    def __init__(self) -> None:
        self.amount = 0
        self.parts: dict[Any, _Part] = {}
        #: (-amount, key) of each part, and of what it was before; None until somebody asks
        self.ranks: list[tuple[int, Any]] | None = None

    def add(self, key: Hashable, amount: int) -> "_Part":
        part = self.parts.get(key)
        if part is None:
            part = self.parts[key] = _Part()
        part.amount += amount
        if not part.amount:
            del self.parts[key]
        elif self.ranks is not None:
            heappush(self.ranks, (-part.amount, key))
            if len(self.ranks) > 4 * len(self.parts) + 64:
                self.ranks = None
        return part

    def largest(self) -> Any:
        """Return the key of the part that holds most; raises IndexError where there is none."""
        if self.ranks is None:
            self.ranks = [(-part.amount, key) for key, part in self.parts.items()]
            heapify(self.ranks)
        while True:
            negative, key = self.ranks[0]
            part = self.parts.get(key)
            if part is not None and part.amount == -negative:
                return key
            heappop(self.ranks)


class Holdings:
    """How much of something each holds, by paths of keys that name a holder ever more narrowly.

    All paths are of one length, and keys beside each other can be compared. A change takes O(length
    of a path), asking who has most O(log(parts)) as a rule.
    """

    def __init__(self, held: Iterable[tuple[tuple[Any, ...], int]] = ()) -> None:
        self._whole = _Part()
        for path, amount in held:
            self.add(path, amount)

    @property
    def total(self) -> int:
        """What all hold together."""
        return self._whole.amount

    def add(self, path: tuple[Any, ...], amount: int = 1) -> None:
        """Note that a holder has more, or less by a negative amount."""
        self._whole.amount += amount
        part = self._whole
        for key in path:
            part = part.add(key, amount)

    def held(self, path: tuple[Any, ...]) -> int:
        """Return what a holder has, or all of those whose paths begin like that."""
        part: _Part | None = self._whole
        for key in path:
            part = part.parts.get(key) if part is not None else None
        return part.amount if part is not None else 0

    def most(self, path: tuple[Any, ...] = ()) -> tuple[Any, ...]:
        """Return the holder that has most of those whose paths begin like that, key by key."""
        part = self._whole
        for key in path:
            part = part.parts[key]
        return (*path, *self._down(part))

    def giver(self, path: tuple[Any, ...], least: int = 2) -> tuple[Any, ...] | None:
        """Return the holder who gives something up for one who wants more; None if nobody does.

        Where the paths of the two part, the giver's side has at least so much more: the bound is
        shared by max-min fairness, within what holders have in common as among them.
        """
        part: _Part | None = self._whole
        for length, key in enumerate(path):
            if part is None or not part.parts:
                return None
            largest = part.largest()
            own = part.parts.get(key)
            has = own.amount if own is not None else 0
            if part.parts[largest].amount >= has + least:
                return (*path[:length], largest, *self._down(part.parts[largest]))
            part = own
        return None

    @staticmethod
    def _down(part: _Part) -> tuple[Any, ...]:
        path: tuple[Any, ...] = ()
        while part.parts:
            largest = part.largest()
            part, path = part.parts[largest], (*path, largest)
        return path
