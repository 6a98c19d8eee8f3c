"""The heartbeat: a request a minute to an outside address that calls somebody when none comes."""

import json
from collections.abc import Callable
from typing import Final

from trimtab_collector.notify.channel import Message
from trimtab_collector.notify.exchange import Target, post
from trimtab_collector.notify.notice import Notice, Where
from trimtab_collector.notify.options import Sending, headers

__all__ = ["HEARTBEAT", "HeartbeatChannel", "beat_notice"]

#: name of its channel in the outbox
HEARTBEAT: Final = "heartbeat"


class HeartbeatChannel:
    """Posts that evaluation, outbox and sender work; loop only."""

    def __init__(self, url: str, sending: Sending, version: Callable[[], str]) -> None:
        """Post to an address; raises SettingsError when it is none."""
        self._target = Target.of(url, "heartbeat_url")
        self._outbound = sending.outbound
        self._version = version

    async def send(self, message: Message) -> str:
        """Post one beat, with the time of the evaluation that it stands for."""
        body = {
            "kind": HEARTBEAT,
            "key": message.key,
            "evaluated_s": round(message.notices[0].at_s, 3),
            "version": self._version(),
        }
        await post(self._outbound, self._target, json.dumps(body).encode(), headers(message.key))
        return ""

    async def close(self) -> None:
        """Nothing is held."""


def beat_notice(at_s: float) -> Notice:
    """Return what a beat is in the outbox."""
    return Notice(
        key=f"{HEARTBEAT}:{at_s:.0f}",
        thread=HEARTBEAT,
        kind="test",
        severity="warning",
        type="performance",
        rule_id="",
        rule_name=HEARTBEAT,
        metric="",
        operator="",
        threshold=None,
        unit="",
        value=None,
        worst=None,
        where=Where(),
        members=(),
        members_left_out=0,
        since_s=at_s,
        at_s=at_s,
    )
