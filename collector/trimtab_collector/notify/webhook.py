"""A webhook: one POST of JSON, signed, in a body that trimtab or another product defines."""

import hashlib
import hmac
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from trimtab_collector.notify.bodies import BODIES
from trimtab_collector.notify.channel import Message, writing
from trimtab_collector.notify.exchange import Target, obstacle, post
from trimtab_collector.notify.options import ChannelSettings, Sending, headers
from trimtab_collector.notify.outbound import Outbound
from trimtab_core.config import setting
from trimtab_core.errors import SettingsError

__all__ = ["WebhookChannel", "WebhookSettings", "signature"]

_PAGERDUTY: Final = "https://events.pagerduty.com/v2/enqueue"
#: formats that programs read: each alert is sent by itself
_MACHINES: Final = frozenset({"trimtab", "pagerduty"})


@dataclass(frozen=True, slots=True)
class WebhookSettings(ChannelSettings):
    """Settings of a webhook."""

    url: str = setting(
        "", "Address that is posted to; empty for PagerDuty's own with its format.", secret=True
    )
    format: str = setting("trimtab", "What the body looks like.", choices=tuple(BODIES))
    secret: str = setting("", "Key that bodies are signed with; empty for none.", secret=True)
    authorization: str = setting(
        "", "Header Authorization, such as `Bearer ...`; empty for none.", secret=True
    )
    routing_key: str = setting("", "Integration key of PagerDuty (Events API v2).", secret=True)

    @property
    def address(self) -> str:
        """The address, with the one that a format implies."""
        return self.url or (_PAGERDUTY if self.format == "pagerduty" else "")

    @property
    def target(self) -> str:
        """Format and host."""
        return f"{self.format} at {Target.of(self.address, 'url').place}"

    @property
    def digests(self) -> bool:
        """Whether people read it."""
        return self.format not in _MACHINES

    def obstacle(self, outbound: Outbound) -> str:
        """Return why nothing can be posted there by the collector's settings, or ""."""
        return obstacle(outbound, Target.of(self.address, "url"))

    def check(self) -> None:
        """Raise SettingsError for what the types do not say."""
        super(WebhookSettings, self).check()
        Target.of(self.address, "url")
        if not self.authorization.isprintable() or not self.authorization.isascii():
            raise SettingsError("authorization: expected printable ASCII, got something else")
        if (self.format == "pagerduty") != bool(self.routing_key):
            got = "one" if self.routing_key else "none"
            raise SettingsError(
                f"routing_key: expected one with format pagerduty and none without, got {got}"
            )


class WebhookChannel:
    """Posts to one address; loop only."""

    def __init__(
        self,
        settings: WebhookSettings,
        sending: Sending,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._target = Target.of(settings.address, "url")
        self._outbound = sending.outbound
        self._texts = settings.texts(sending.base_url)
        self._clock = clock

    async def send(self, message: Message) -> str:
        """Post a message."""
        settings = self._settings
        with writing():
            found: dict[str, Any] = BODIES[settings.format](message, self._texts.write(message))
            if settings.routing_key:
                found["routing_key"] = settings.routing_key
            body = json.dumps(found, ensure_ascii=False, allow_nan=False).encode()
        fields = headers(message.key, settings.authorization)
        if settings.secret:
            stamp = str(int(self._clock()))
            fields["X-Trimtab-Timestamp"] = stamp
            fields["X-Trimtab-Signature"] = signature(settings.secret, stamp, body)
        await post(self._outbound, self._target, body, fields)
        return ""

    async def close(self) -> None:
        """Nothing is held."""


def signature(secret: str, stamp: str, body: bytes) -> str:
    """Return the signature of a body: HMAC-SHA256 (RFC 2104) over `stamp.body`, in hex."""
    signed = stamp.encode() + b"." + body
    return "v1=" + hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
