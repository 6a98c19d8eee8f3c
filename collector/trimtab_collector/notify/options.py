"""The settings that every channel has, and what its own settings must offer besides."""

from dataclasses import dataclass
from datetime import tzinfo

from trimtab_collector.contract.zones import ZONE_EXPECTED, zone_of
from trimtab_collector.notify.languages import LANGUAGES
from trimtab_collector.notify.outbound import Outbound
from trimtab_collector.notify.texts import Texts
from trimtab_core.config import setting
from trimtab_core.errors import SettingsError

__all__ = ["ChannelSettings", "Sending", "headers"]


@dataclass(frozen=True, slots=True)
class Sending:
    """What channels need in order to send."""

    outbound: Outbound
    #: address of the collector as people reach it; empty: messages name no address
    base_url: str = ""


@dataclass(frozen=True, slots=True)
class ChannelSettings:
    """What can be set for every channel."""

    enabled: bool = setting(True, "Whether it is in use.")
    default: bool = setting(True, "Whether it takes notices that name no recipients.")
    severity: str = setting(
        "warning",
        "From which severity on; a recovery is sent where its alert was.",
        choices=("warning", "critical"),
    )
    lang: str = setting("en", "Language of its messages.", choices=tuple(LANGUAGES))
    tz: str = setting("UTC", "Time zone of times in its messages, such as Europe/Berlin.")
    rate_per_minute: int = setting(
        6, "Messages per minute; what is over it comes as one digest.", least=1, most=600
    )

    @property
    def zone(self) -> tzinfo:
        """The time zone; raises SettingsError when there is none of that name."""
        try:
            return zone_of(self.tz)
        except LookupError as error:
            raise SettingsError(f"tz: expected {ZONE_EXPECTED}, got {self.tz!r:.60}") from error

    @property
    def target(self) -> str:
        """Where it sends to, for people; without anything secret."""
        return ""

    @property
    def addresses(self) -> tuple[str, ...]:
        """The mail addresses that it sends to by itself."""
        return ()

    @property
    def digests(self) -> bool:
        """Whether people read it, so that many alerts come as one message; else each is sent."""
        return True

    def check(self) -> None:
        """Raise SettingsError for what the types do not say."""
        _ = self.zone

    def obstacle(self, outbound: Outbound) -> str:
        """Return why what it sends to is never reached by the collector's settings, or ""."""
        return ""

    def texts(self, base_url: str) -> Texts:
        """Return what writes messages for it."""
        return Texts(self.lang, self.zone, base_url)


def headers(key: str, authorization: str = "") -> dict[str, str]:
    """Return the headers of every request that carries a message in JSON."""
    found = {"Content-Type": "application/json", "X-Trimtab-Idempotency-Key": key}
    return {**found, "Authorization": authorization} if authorization else found
