"""An outbox with its channels in a directory of its own, for tests."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from support.clock import Clock
from support.notices import AT_S
from support.processes.servers import short_dir
from trimtab_collector.contract.callers import Caller, Role
from trimtab_collector.contract.channels import ChannelFailing, ChannelHealth, NotifyHealth
from trimtab_collector.notify.channels import ChannelBook, parse_channel
from trimtab_collector.notify.log import DeliveryLog
from trimtab_collector.notify.notice import Notice
from trimtab_collector.notify.outbox import Lease, Outbox
from trimtab_collector.statefile import StateFile

__all__ = ["ADMIN", "MAIL", "Box", "box"]

ADMIN = Caller("ada", Role.ADMIN)
#: settings of a channel of mail that is not reached
MAIL = {"kind": "smtp", "host": "mail.example.com", "sender": "t@example.com", "to": "ops@x.org"}


class Box:
    """Outbox, channels and log over one file, with a clock that stands."""

    def __init__(self, directory: Path, clock: Any = None) -> None:
        self.clock = clock or Clock(AT_S)
        self.state = StateFile(directory)
        self.channels = ChannelBook(self.state)
        self.outbox = Outbox(
            self.state, self.channels, heartbeats=True, clock=self.clock, random_share=lambda: 1.0
        )
        self.log = DeliveryLog(self.state)
        self.admin = ADMIN

    def channel(self, name: str, **table: Any) -> None:
        """Make a channel, of mail unless it says otherwise."""
        whole = table if "kind" in table else {**MAIL, **table}
        self.channels.put(parse_channel(name, whole, origin="api"), ADMIN)

    def add(self, *notices: Notice) -> None:
        """Add notices, each in a transaction of its own."""
        for each in notices:
            with self.state.change() as connection:
                self.outbox.add(connection, each)

    def take(self, channel: str, per_minute: int = 0) -> Lease:
        """Lease the next message, which there must be."""
        found = self.outbox.take(channel, "me", per_minute)
        assert isinstance(found, Lease), found
        return found

    def deliver(self, channel: str, per_minute: int = 0) -> Lease:
        """Lease the next message and mark it as sent."""
        lease = self.take(channel, per_minute)
        self.outbox.sent(lease)
        return lease

    def health(self, caller: Caller = ADMIN, channel: str = "ops") -> ChannelHealth:
        """Return how a channel does."""
        body = self.log.health(caller, self.clock()).body
        assert isinstance(body, NotifyHealth)
        return body.channels[channel]

    def failing(self, channel: str = "ops") -> ChannelFailing | None:
        """Return what a channel could not deliver."""
        return self.log.failing(self.clock()).get(channel)

    def states(self, channel: str) -> dict[str, str]:
        """Return the state of each notice of a channel by its key."""
        rows = self.state.rows("SELECT key, state FROM delivery WHERE channel = ?", (channel,))
        return dict(rows)

    def log_attempts(self, channel: str) -> list[int]:
        """Return how often each notice of a channel was tried, oldest first."""
        rows = self.state.rows(
            "SELECT attempts FROM delivery WHERE channel = ? ORDER BY id", (channel,)
        )
        return [attempts for (attempts,) in rows]

    def errors(self, channel: str) -> list[str]:
        """Return the errors of a channel, oldest first."""
        rows = self.state.rows(
            "SELECT error FROM delivery WHERE channel = ? ORDER BY id", (channel,)
        )
        return [error for (error,) in rows]


@contextmanager
def box(clock: Any = None) -> Iterator[Box]:
    """Yield a new one; its file is gone at the end."""
    with short_dir() as directory:
        made = Box(directory, clock)
        try:
            yield made
        finally:
            made.state.close()
