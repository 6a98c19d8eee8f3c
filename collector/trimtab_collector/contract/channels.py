"""Channels of notifications, and what was delivered by them."""

from collections.abc import Iterable
from typing import Final, NamedTuple

from trimtab_collector.contract.body import Body, RangeBody
from trimtab_collector.contract.kinds import Choice, Filter, PathName

__all__ = [
    "CHANNEL",
    "DELIVERED",
    "OF_CHANNEL",
    "ChannelBody",
    "ChannelChange",
    "ChannelFailing",
    "ChannelHealth",
    "ChannelList",
    "ChannelTest",
    "Deliveries",
    "Delivery",
    "NewChannel",
    "NotifyHealth",
    "Recipients",
    "SettingValue",
]

#: the value of a setting of a channel
SettingValue = str | int | bool | list[str]

CHANNEL: Final = PathName("name", "The name of a channel.")
OF_CHANNEL: Final = Filter("channel", "Only this channel.")
DELIVERED: Final = Choice(
    "state",
    "Only deliveries in this state.",
    ("any", "pending", "sent", "dead", "merged", "skipped"),
    "any",
)


class ChannelFailing(Body):
    """What a channel could not deliver since it delivered something."""

    #: when the first message came that has not got through
    since: str
    #: of the last failure
    error: str
    #: whether one about an alert has not got through for over five minutes
    late: bool


class ChannelBody(Body):
    """A channel; of a secret setting it says only that it is set."""

    name: str
    #: smtp, slack, webhook, alertmanager or apprise
    kind: str
    #: api, or file: made by alerts.toml, and only changed there
    origin: str
    #: where it sends to, without anything secret
    target: str
    settings: dict[str, SettingValue]
    #: why it cannot be used, null when it can
    trouble: str | None
    #: null while its messages get through
    failing: ChannelFailing | None


class ChannelList(Body):
    """All channels, by name."""

    channels: list[ChannelBody]


class ChannelChange(Body, forbid_unknown_fields=True):
    """The settings of a channel, as a whole; a secret that is left out stays as it is."""

    settings: dict[str, SettingValue]


class NewChannel(Body, forbid_unknown_fields=True):
    """A channel that is to be made."""

    name: str
    kind: str
    settings: dict[str, SettingValue]


class ChannelTest(Body):
    """Whether a test message was delivered, and why not, or what the receiver remarked."""

    delivered: bool
    error: str | None
    milliseconds: float


class Delivery(Body):
    """One notice on its way to one channel."""

    id: int
    channel: str
    #: what the notice is about
    subject: str
    #: firing, escalated, updated, reminder, resolved, expired, flapping or test
    kind: str
    severity: str
    key: str
    #: the incident that it tells of
    thread: str
    #: pending; sent; dead: given up; merged: a newer one went for it; skipped: the channel was off
    state: str
    attempts: int
    #: the last failure, or what the receiver remarked
    error: str | None
    added: str
    done: str | None
    next_try: str | None


class Deliveries(RangeBody):
    """The delivery log, the latest first."""

    deliveries: list[Delivery]
    deliveries_left_out: int


class Recipients(NamedTuple):
    """Who can be told: names that a rule may give, and whether mail goes to addresses."""

    names: tuple[str, ...] = ()
    mail: bool = False

    def lost(self, recipients: Iterable[str]) -> tuple[str, ...]:
        """Return those that lead nowhere, each once."""
        return tuple(
            dict.fromkeys(
                each
                for each in recipients
                if not (self.mail if "@" in each else each in self.names)
            )
        )


class ChannelHealth(Body):
    """What a channel has pending, and how its last delivery went."""

    pending: int
    oldest_pending_seconds: float | None
    #: given up in the last 24 hours
    dead: int
    last_sent: str | None
    #: of what is pending, or was given up with nothing sent since, else null; for readers only
    last_error: str | None


class NotifyHealth(Body):
    """How notifications do; `trouble` says why none leave, and is null when they do."""

    trouble: str | None
    #: what failed that was not expected to, since the start
    failures: int
    channels: dict[str, ChannelHealth]
