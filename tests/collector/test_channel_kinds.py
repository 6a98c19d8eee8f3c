"""A new kind of channel is a class and a row of the table: nothing else needs to know it."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from support.notices import notice
from support.outboxes import box
from trimtab_collector.notify.addresses import AllowedHosts
from trimtab_collector.notify.channel import Message
from trimtab_collector.notify.kinds import KINDS, ChannelKind
from trimtab_collector.notify.notice import Notice
from trimtab_collector.notify.options import ChannelSettings, Sending
from trimtab_collector.notify.outbound import Outbound
from trimtab_collector.notify.sender import Sender
from trimtab_core.config import setting


@dataclass(frozen=True, slots=True)
class PagerSettings(ChannelSettings):
    """Settings of a channel that the tree does not know; it is off until it is switched on."""

    enabled: bool = setting(False, "Whether it is in use.")


class PagerChannel:
    """Keeps what it is given."""

    renew_s = 0.0

    def __init__(self, _settings: PagerSettings, _sending: Sending) -> None:
        self.sent: list[Message] = []
        self.renewed: list[Notice] = []
        self.has_renewed = asyncio.Event()
        MADE.append(self)

    async def send(self, message: Message) -> str:
        """Keep it."""
        self.sent.append(message)
        return ""

    async def renew(self, notices: Sequence[Notice], now_s: float) -> None:
        """Keep them."""
        self.renewed.extend(notices)
        self.has_renewed.set()

    async def close(self) -> None:
        """Nothing is held."""


MADE: list[PagerChannel] = []


@pytest.fixture(autouse=True)
def pager(monkeypatch: pytest.MonkeyPatch) -> None:
    row = ChannelKind("Pagers.", PagerSettings, PagerChannel, renews=True, takes_addresses=True)
    monkeypatch.setitem(KINDS, "pager", row)
    monkeypatch.setattr("trimtab_collector.notify.sender._LOOK_S", 0.05)
    MADE.clear()


@pytest.mark.asyncio
async def test_its_alerts_are_renewed_and_addresses_of_rules_go_by_it() -> None:
    with box(time.time) as made:
        made.channel("asleep", kind="pager")
        made.channel("duty", kind="pager", enabled=True)
        made.add(notice("firing", 1, "a", recipients=("ann@example.com",)))
        sender = Sender(made.outbox, made.channels, Sending(Outbound(AllowedHosts.of([]))), "")
        await sender.start()
        try:
            async with asyncio.timeout(10):
                while not MADE:
                    await asyncio.sleep(0)
                await MADE[0].has_renewed.wait()
        finally:
            await sender.stop()
        assert [each.addresses for each in MADE[0].sent] == [("ann@example.com",)]
        assert MADE[0].renewed[0].rule_name == "Slow pages"


def test_a_kind_renews_if_its_channels_can() -> None:
    assert {kind for kind, row in KINDS.items() if row.renews} == {"alertmanager", "pager"}
    for kind, row in KINDS.items():
        assert row.renews == hasattr(row.make, "renew"), kind
