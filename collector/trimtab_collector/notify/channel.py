"""The seam of the channels: what is sent, what a channel is, and how a send can fail.

To add a channel, write a class with `send` and its settings, and a row in `kinds.py`: nothing else
knows the kinds.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final, Protocol, runtime_checkable

from trimtab_collector.notify.notice import Notice
from trimtab_core.errors import TrimtabError

__all__ = ["Channel", "DeliveryError", "Message", "RenewingChannel", "WritingError", "writing"]

_DAY_S: Final = 86_400.0


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
    #: without figures, as they could not be written
    plain: bool = False

    @property
    def is_digest(self) -> bool:
        """Whether it is about several alerts."""
        return len(self.notices) > 1

    @property
    def thread(self) -> str:
        """What keeps the messages of one alert together; empty for a digest."""
        return "" if self.is_digest else self.notices[0].thread

    def plainly(self) -> "Message":
        """Return it with names and sane times alone, which can be written whatever it holds."""
        notices = tuple(_plain(notice, self.sent_s) for notice in self.notices)
        return replace(self, notices=notices, before=None, plain=True)


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


class WritingError(DeliveryError):
    """The text of a message cannot be made, now or later."""

    def __init__(self, error: Exception) -> None:
        text = f"its text cannot be written: {type(error).__name__}: {error!s:.200}"
        super().__init__(text, lasting=True)


@contextmanager
def writing() -> Iterator[None]:
    """Raise WritingError for whatever fails within, but for a DeliveryError."""
    try:
        yield
    except DeliveryError:
        raise
    except Exception as error:
        raise WritingError(error) from error


class Channel(Protocol):
    """One way to a person or a program; loop only."""

    async def send(self, message: Message) -> str:
        """Send a message; return "" or a remark for the delivery log.

        Ends within the time limit that the sender sets. Raises DeliveryError; WritingError when
        nothing was sent because the text cannot be made.
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


def _plain(notice: Notice, sent_s: float) -> Notice:
    since_s = notice.since_s if 0 < notice.since_s < sent_s + _DAY_S else sent_s
    return replace(
        notice,
        threshold=None,
        unit="",
        value=None,
        worst=None,
        members=(),
        members_left_out=0,
        since_s=since_s,
        at_s=sent_s,
        ended_s=None if notice.ended_s is None else sent_s,
        changes=(),
        description="",
        links=(),
        promise=None,
    )
