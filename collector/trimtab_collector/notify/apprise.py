"""Chat services that have no channel of their own, by the package apprise (`trimtab[notify]`).

Apprise makes its own connections, past the guard of `outbound.py`: such a channel can be written in
`alerts.toml` and by the console only, not by the API.
"""

import asyncio
import importlib.util
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from trimtab_collector.notify.channel import DeliveryError, Message, writing
from trimtab_collector.notify.options import ChannelSettings, Sending
from trimtab_collector.notify.texts import WrittenMessage
from trimtab_core.config import setting
from trimtab_core.errors import SettingsError

__all__ = ["AppriseChannel", "AppriseSettings"]


@dataclass(frozen=True, slots=True)
class AppriseSettings(ChannelSettings):
    """Settings of a channel by apprise."""

    urls: tuple[str, ...] = setting((), "Addresses as apprise writes them.", secret=True)

    @property
    def target(self) -> str:
        """The services."""
        return ", ".join(each.partition("://")[0] for each in self.urls)

    def check(self) -> None:
        """Raise SettingsError for what the types do not say."""
        super(AppriseSettings, self).check()
        if importlib.util.find_spec("apprise") is None:
            raise SettingsError(
                "expected the package apprise, which is not installed: pip install trimtab[notify]"
            )
        if not self.urls or not all("://" in each for each in self.urls):
            raise SettingsError("urls: expected addresses such as tgram://token/chat, got others")


class AppriseChannel:
    """Sends in a thread of its own, as apprise blocks; loop only."""

    def __init__(self, settings: AppriseSettings, sending: Sending) -> None:
        self._urls = settings.urls
        self._texts = settings.texts(sending.base_url)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="trimtab-apprise")
        self._last: Future[bool] | None = None

    async def send(self, message: Message) -> str:
        """Send a message to every address; fails when one of them failed."""
        if self._last is not None and not self._last.done():
            # A thread cannot be cancelled: messages do not pile up behind it.
            raise DeliveryError("apprise is still sending the message before")
        with writing():
            written = self._texts.write(message)
        self._last = self._thread.submit(_notify, self._urls, written)
        if not await asyncio.wrap_future(self._last):
            raise DeliveryError(
                "apprise could not deliver to one of the addresses; its own log says why"
            )
        return ""

    async def close(self) -> None:
        """Let go of the thread without waiting for what it does."""
        self._thread.shutdown(wait=False, cancel_futures=True)


def _notify(urls: tuple[str, ...], written: WrittenMessage) -> bool:
    import apprise  # type: ignore[import-not-found,unused-ignore]  # optional

    service = apprise.Apprise()
    added = [service.add(url) for url in urls]
    if not all(added):
        raise DeliveryError("apprise does not know one of the addresses", lasting=True)
    return bool(service.notify(title=written.title, body=written.plain(), body_format="text"))
