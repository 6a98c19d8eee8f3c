"""Notifications put together: channels, outbox, sender, delivery log."""

import time
from collections.abc import Sequence
from typing import Any

from trimtab_collector.contract.callers import Caller
from trimtab_collector.contract.health import HealthPart
from trimtab_collector.notify.addresses import AllowedHosts
from trimtab_collector.notify.administration import ChannelDesk
from trimtab_collector.notify.channels import ChannelBook
from trimtab_collector.notify.heartbeat import HEARTBEAT
from trimtab_collector.notify.log import DeliveryLog
from trimtab_collector.notify.options import Sending
from trimtab_collector.notify.outbound import Outbound
from trimtab_collector.notify.outbox import Outbox
from trimtab_collector.notify.sender import Sender
from trimtab_collector.statefile import StateFile

__all__ = ["Notifications"]


class Notifications:
    """What tells people and programs of alerts; raises SettingsError for a setting of no use."""

    def __init__(
        self,
        state: StateFile,
        *,
        base_url: str = "",
        allow_hosts: Sequence[str] = (),
        ca_file: str = "",
        proxy: bool = False,
        heartbeat_url: str = "",
    ) -> None:
        """Take the settings of the collector that are of these names, outbound_ or not."""
        self._outbound = outbound = Outbound(AllowedHosts.of(allow_hosts), ca_file, proxy)
        self._own = {HEARTBEAT} if heartbeat_url else set()
        self.channels = ChannelBook(state)
        self.outbox = Outbox(state, self.channels, heartbeats=bool(heartbeat_url))
        self.sender = Sender(self.outbox, self.channels, Sending(outbound, base_url), heartbeat_url)
        self.log = DeliveryLog(state)

    def use(self, allow_hosts: Sequence[str], ca_file: str, *, proxy: bool) -> None:
        """Take other settings for what is sent from here on; raises SettingsError."""
        self._outbound.use(AllowedHosts.of(allow_hosts), ca_file, proxies=proxy)

    def parts(self) -> list[Any]:
        """Return what the API asks."""
        return [ChannelDesk(self.channels, self._outbound, self.log), self.sender, self.log]

    def health(self, caller: Caller) -> HealthPart:
        """Return what `/health` shows."""
        sender = self.sender
        known = {each.name for each in self.channels.all()} | self._own
        return self.log.health(caller, time.time(), sender.trouble, sender.failures, known)
