"""Who is connected to the live stream, and what waits for them."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from trimtab_collector.contract.callers import Caller
from trimtab_collector.contract.live import LiveFilter

__all__ = ["LiveConnection", "LiveLimits", "LiveSession", "PacketQueue"]

#: what a packet without a text counts
_SMALL: Final = 64


@dataclass(frozen=True, slots=True)
class LiveLimits:
    """Every bound of the live stream."""

    #: how often figures are sent, and connections are looked at
    every_s: float = 1.0
    #: connections at a time, those among them that have not said who they are, those of one caller
    connections: int = 500
    pending: int = 200
    per_caller: int = 100
    #: new connections of one address within `connect_s`: two rounds leave places to others
    handshakes: int = 80
    #: bytes of one packet of a client
    packet_bytes: int = 64 * 1024
    #: packets of a client that has not said who it is
    pending_packets: int = 20
    #: what may wait for one client
    queue_bytes: int = 1024 * 1024
    queue_packets: int = 1000
    #: a client must take a packet within this time, and answer a ping
    unread_s: float = 20.0
    ping_interval_s: float = 15.0
    ping_timeout_s: float = 20.0
    #: a client must say who it is within this time
    connect_s: float = 10.0
    #: how often a token is looked at again
    check_s: float = 1.0
    #: filters of metrics that differ, at a time
    filters: int = 64
    #: alerts that wait to be sent or whose last state is known, and open ones in one answer
    alerts: int = 10_000
    open_alerts: int = 500
    #: time for clients to leave when the collector stops
    stop_s: float = 1.0


class PacketQueue(asyncio.Queue[Any]):
    """The packets that wait for one client, bounded; loop only.

    A packet beyond the bounds is not kept, and `overflowed` says so from then on: the client has
    missed something, and must go.
    """

    def __init__(self, limits: LiveLimits, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._limits = limits
        self._clock = clock
        self._held_bytes = 0
        self._since_s = 0.0
        self.overflowed = False

    def put_nowait(self, item: Any) -> None:
        """Keep a packet, unless too much waits; None, the end of the queue, always fits."""
        size = _size(item)
        if item is not None and self.qsize() and (
            self.qsize() >= self._limits.queue_packets
            or self._held_bytes + size > self._limits.queue_bytes
        ):  # fmt: skip
            self.overflowed = True
            return
        if not self.qsize():
            self._since_s = self._clock()
        self._held_bytes += size
        super().put_nowait(item)

    def get_nowait(self) -> Any:
        """Return the next packet."""
        item = super().get_nowait()
        self._held_bytes -= _size(item)
        self._since_s = self._clock()
        return item

    @property
    def waited_s(self) -> float:
        """How long nothing has been taken although something waits."""
        return self._clock() - self._since_s if self.qsize() else 0.0


def _size(item: Any) -> int:
    data = getattr(item, "data", None)
    return _SMALL + (len(data) if isinstance(data, (str, bytes)) else 0)


@dataclass(slots=True, eq=False)
class LiveConnection:
    """A WebSocket below the stream, from its handshake to its end."""

    #: ends it at once, whatever waits to be sent
    cut: Callable[[], object]
    since_s: float
    #: its name in the layer below, empty until it has said who it is
    sid: str = ""
    #: packets it has sent before it said who it is
    packets: int = 0
    known: bool = False


@dataclass(slots=True, eq=False)
class LiveSession:
    """A client that has shown a token."""

    sid: str
    #: name of its connection in the layer below, where its packets wait
    connection: str
    caller: Caller
    token: str = field(repr=False)
    #: when the token ends, epoch seconds; None: never
    expires_s: float | None
    checked_s: float
    metrics: LiveFilter | None = None
    alerts: LiveFilter | None = None
    #: whether an event of it is being answered
    busy: bool = False

    @property
    def subscribed(self) -> bool:
        """Whether it gets anything that it did not just ask for."""
        return self.metrics is not None or self.alerts is not None

    def ended(self, now_s: float) -> bool:
        """Return whether its token has ended; epoch seconds."""
        return self.expires_s is not None and self.expires_s <= now_s
