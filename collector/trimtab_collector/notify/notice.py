"""What a message is about, without a word of its text.

Whoever judges fills in a `Notice`; the texts are made where it is sent, in the language and the
time zone of each channel. A notice is plain data, so that it is kept as JSON until it has left.
"""

import re
from dataclasses import dataclass
from typing import Final, Literal

import msgspec

__all__ = [
    "Change",
    "Member",
    "Notice",
    "NoticeKind",
    "Promise",
    "Where",
    "is_address",
    "is_recipient",
    "pack",
    "unpack",
]

_ADDRESS: Final = re.compile(r"[\w.!#$%&'*+/=?^`{|}~-]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*", re.A)
_CHANNEL: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")

NoticeKind = Literal[
    "firing", "escalated", "updated", "reminder", "resolved", "expired", "flapping", "test"
]


@dataclass(frozen=True, slots=True)
class Where:
    """What an alert is about; "" is what it does not name."""

    environment: str = ""
    service: str = ""
    route: str = ""
    instance: str = ""
    version: str = ""
    #: what is no place of requests, and which label names it: "agent", "part" or "slo"
    subject: str = ""
    subject_kind: str = ""


@dataclass(frozen=True, slots=True)
class Member:
    """One series of an alert's group."""

    where: Where
    value: float | None
    severity: str
    since_s: float


@dataclass(frozen=True, slots=True)
class Change:
    """Something that changed at about the time when the alert began.

    `kind` "mark" is a deploy or another mark: its name, its detail and when it was, `mark` says of
    which kind, and environment and service are named where they are not those of the alert. Kind
    "share" is what made up the change: `name` is the cause, such as "database", and `share` its
    share of it, 0 to 1, and `detail` the route that accounts for most of it. Kind "errors" is the
    route that most errors are in: `share` of them, and `detail` the exception and its line. Kind
    "process" is one that took much of the CPU: `share` of one core, which several threads exceed,
    and `detail` its environment.
    """

    kind: str
    name: str
    detail: str = ""
    at_s: float | None = None
    share: float | None = None
    mark: str = ""
    environment: str = ""
    service: str = ""
    #: environment, service, route and method that a share or errors are of; empty for the others
    of: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Promise:
    """The objective that an alert is about, and how its budget does."""

    #: what makes a request good: "errors" no error; "latency" also at most `below_ms`
    kind: str
    #: share of good requests that is promised
    target: float
    window_days: int
    below_ms: float | None = None
    #: share of the budget that is left, below 0 when it is overdrawn; None where it is not known
    left: float | None = None
    #: the two windows over which it burns, 0 when it does not
    long_s: int = 0
    short_s: int = 0


@dataclass(frozen=True, slots=True)
class Notice:
    """One transition of one alert, or another thing to tell. Times are Unix seconds."""

    #: unique per notice: "<id of the group>:<number of the transition>"
    key: str
    #: the same for all notices of one alert, so that a channel can keep them together
    thread: str
    kind: NoticeKind
    #: "warning" or "critical"
    severity: str
    #: "performance", "predictive" or "critical"
    type: str
    rule_id: str
    rule_name: str
    metric: str
    #: "gt", "gte", "lt", "lte" or "eq"
    operator: str
    threshold: float | None
    #: of value, worst and threshold: "ms", "s", "ratio", "1/s", "bytes", "bytes/s"; "" for a count
    unit: str
    #: now
    value: float | None
    #: so far
    worst: float | None
    where: Where
    members: tuple[Member, ...]
    #: how many more members there are than `members` holds
    members_left_out: int
    since_s: float
    at_s: float
    ended_s: float | None = None
    changes: tuple[Change, ...] = ()
    #: of an alert of an objective
    promise: Promise | None = None
    #: what the author of the rule wrote
    description: str = ""
    #: names of channels, or mail addresses; none: every channel that is on by default
    recipients: tuple[str, ...] = ()
    #: those of them that lead nowhere: the channels that are on by default take their place
    lost_recipients: tuple[str, ...] = ()
    #: what is found there, and the path below `base_url`
    links: tuple[tuple[str, str], ...] = ()


def is_address(text: str) -> bool:
    """Return whether a text is a plain mail address, such as ops@example.com."""
    # What could be an encoded word (RFC 2047) is read as another address by some programs.
    return len(text) <= 254 and "=?" not in text and _ADDRESS.fullmatch(text) is not None


def is_recipient(text: str) -> bool:
    """Return whether a text can be the name of a channel, or is a mail address."""
    return is_address(text) if "@" in text else _CHANNEL.fullmatch(text) is not None


_encoder: Final = msgspec.json.Encoder()
_decoder: Final = msgspec.json.Decoder(Notice)


def pack(notice: Notice) -> bytes:
    """Return a notice as JSON. A value that is not finite becomes null."""
    return _encoder.encode(notice)


def unpack(text: bytes | str) -> Notice | None:
    """Return the notice that `pack` made; None for what no version of it can have made."""
    try:
        return _decoder.decode(text)
    except (msgspec.MsgspecError, UnicodeError, TypeError, RecursionError):
        return None
