"""The seam of the channels: what is sent, what a channel is, and how a send can fail.

To add a channel, write a class with `send` and its settings, and a row in `kinds.py`: nothing else
knows the kinds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from trimtab_collector.notify.notice import Notice
from trimtab_core.errors import TrimtabError

__all__ = ["Channel", "DeliveryError", "Message", "RenewingChannel"]


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent at once: one notice, or several as a digest. Times are Unix seconds."""

    #: idempotency: the same at every try, so that a receiver can tell a repeat
    key: str
    #: the newest of each alert, oldest first; never empty
    notices: tuple[Notice, ...]
    #: now: times of the same day are written without their date
    sent_s: float
    #: mail addresses to use instead of those of the channel
    addresses: tuple[str, ...] = ()
    #: how many notices it stands for; those before the newest of an alert never left
    stands_for: int = 1
    #: what the channel last had of this alert, None at its first message
    before: Notice | None = None

    @property
    def is_digest(self) -> bool:
        """Whether it is about several alerts."""
        return len(self.notices) > 1

    @property
    def thread(self) -> str:
        """What keeps the messages of one alert together; empty for a digest."""
        return "" if self.is_digest else self.notices[0].thread


class DeliveryError(TrimtabError):
    """A message did not leave, or nobody knows whether it did.

    `lasting` says that the same message will never be taken; `retry_after_s` is when the receiver
    wants to be asked again. The text is shown in the API: it holds no secret and nothing of what
    the receiver answered in its body.
    """

    def __init__(self, text: str, *, lasting: bool = False, retry_after_s: float = 0.0) -> None:
        super().__init__(text)
        self.lasting = lasting
        self.retry_after_s = retry_after_s


class Channel(Protocol):
    """One way to a person or a program; loop only."""

    async def send(self, message: Message) -> str:
        """Send a message; return "" or a remark for the delivery log.

        Ends within the time limit that the sender sets. Raises DeliveryError.
        """
        ...

    async def close(self) -> None:
        """Let go of what is held."""
        ...


@runtime_checkable
class RenewingChannel(Channel, Protocol):
    """A channel whose receiver forgets alerts that are not sent again."""

    #: seconds between renewals
    renew_s: float

    async def renew(self, notices: Sequence[Notice], now_s: float) -> None:
        """Send the newest notice of every alert that goes on; raises DeliveryError."""
        ...
