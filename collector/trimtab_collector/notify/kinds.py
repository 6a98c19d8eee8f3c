"""The table of channels: a row for each kind."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from trimtab_collector.notify.alertmanager import AlertmanagerChannel, AlertmanagerSettings
from trimtab_collector.notify.apprise import AppriseChannel, AppriseSettings
from trimtab_collector.notify.channel import Channel
from trimtab_collector.notify.options import ChannelSettings, Sending
from trimtab_collector.notify.slack import SlackChannel, SlackSettings
from trimtab_collector.notify.smtp import SmtpChannel, SmtpSettings
from trimtab_collector.notify.webhook import WebhookChannel, WebhookSettings

__all__ = ["KINDS", "ChannelKind"]


@dataclass(frozen=True, slots=True)
class ChannelKind:
    """One kind of channel."""

    about: str
    settings: type[ChannelSettings]
    make: Callable[[Any, Sending], Channel]
    #: whether the guard sees what it connects to, so that the API may make one
    guarded: bool = True
    #: whether its channels are RenewingChannels
    renews: bool = False
    #: whether messages may go to mail addresses that a rule names
    takes_addresses: bool = False


# fmt: off
KINDS: Final[Mapping[str, ChannelKind]] = {
    "smtp": ChannelKind("Mail.", SmtpSettings, SmtpChannel, takes_addresses=True),
    "slack": ChannelKind("Slack, by an incoming webhook.", SlackSettings, SlackChannel),
    "webhook": ChannelKind("A signed POST; PagerDuty, Discord and Teams by their formats.",
                           WebhookSettings, WebhookChannel),
    "alertmanager": ChannelKind("Alertmanager, API v2.", AlertmanagerSettings, AlertmanagerChannel,
                                renews=True),
    "apprise": ChannelKind("Other services, by the package apprise (trimtab[notify]).",
                           AppriseSettings, AppriseChannel, guarded=False),
}
# fmt: on
