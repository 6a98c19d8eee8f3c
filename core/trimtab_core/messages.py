"""The messages between app and agent, one class per frame type.

App to agent: hello, routes, samples, gauges, bye; and measure names, deltas, events (`deltas.py`).
Agent to app: welcome, closing. Over TCP with a token, challenge, answer and proof come before them
(`seal.py`). A reader skips and counts frames of an unknown type, so that either side may be newer.

`parse` checks types and bounds, and raises FrameError with the wrong value.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from trimtab_core.deltas import (
    Deltas,
    Events,
    MeasureNames,
    parse_deltas,
    parse_events,
    parse_measure_names,
)
from trimtab_core.errors import FrameError
from trimtab_core.fields import (
    MALFORMED,
    MAX_COUNT,
    MAX_NAME,
    count_of,
    mapping,
    name_of,
    whole,
)
from trimtab_core.gaugeowners import is_of_app
from trimtab_core.names import clean_name
from trimtab_core.records import MAX_U16, RECORD_SIZE

__all__ = [
    "MAX_NAME",
    "MAX_TEMPLATE",
    "PROTOCOL",
    "Bye",
    "Challenge",
    "ChallengeResponse",
    "Closing",
    "Deltas",
    "Dropped",
    "Events",
    "Gauges",
    "Hello",
    "MeasureNames",
    "Message",
    "Proof",
    "Routes",
    "Samples",
    "Welcome",
    "parse",
]

PROTOCOL: Final = 1
#: Longest route template, in characters; longer ones are cut.
MAX_TEMPLATE: Final = 200
_MAX_RECORD: Final = 256
_MAX_REASONS: Final = 16
_MAX_GAUGES: Final = 256

#: Records that this process has dropped so far, by reason; never decreases.
Dropped = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Hello:
    """First frame of a connection: which process this is, and the number of its next record."""

    environment: str
    service: str
    version: str
    host: str
    pid: int
    #: 8 random bytes made once per process (again after a fork); records are numbered within it
    process: bytes
    #: number of records sent so far, which is the number of the next record
    sent: int = 0
    #: the worker number the app had before, -1 when the agent may choose
    worker: int = -1
    record_size: int = RECORD_SIZE
    protocol: int = PROTOCOL
    #: free facts about the process (python, framework, server), shown and never parsed
    facts: Mapping[str, str] = field(default_factory=dict)

    def frame(self) -> list[Any]:
        """Return the message list."""
        return [
            "hello",
            {
                "protocol": self.protocol,
                "environment": self.environment,
                "service": self.service,
                "version": self.version,
                "host": self.host,
                "pid": self.pid,
                "process": self.process,
                "sent": self.sent,
                "worker": self.worker,
                "record_size": self.record_size,
                "facts": dict(self.facts),
            },
        ]


@dataclass(frozen=True, slots=True)
class Routes:
    """Route ids announced by a process. They hold for its connection, until announced again."""

    routes: Mapping[int, str]

    def frame(self) -> list[Any]:
        """Return the message list."""
        return ["routes", [[route, template] for route, template in self.routes.items()]]


@dataclass(frozen=True, slots=True)
class Samples:
    """Records in the order they were appended, numbered from `first`."""

    #: wall and monotonic clock of the app, in us, when the records were taken from its buffer
    wall_us: int
    mono_us: int
    first: int
    dropped: Dropped
    record_size: int
    data: bytes

    @property
    def count(self) -> int:
        """Number of records."""
        return len(self.data) // self.record_size

    def frame(self) -> list[Any]:
        """Return the message list."""
        return [
            "samples",
            self.wall_us,
            self.mono_us,
            self.first,
            dict(self.dropped),
            self.record_size,
            self.data,
        ]


@dataclass(frozen=True, slots=True)
class Gauges:
    """Gauges of the process by catalogue name, and its numbers of records sent and dropped."""

    wall_us: int
    #: records sent before this frame
    sent: int
    dropped: Dropped
    values: Mapping[str, float]
    #: gauges of this frame that are left out: no finite number, or a name that is no app's
    malformed: int = 0

    def frame(self) -> list[Any]:
        """Return the message list."""
        return ["gauges", self.wall_us, self.sent, dict(self.dropped), dict(self.values)]


@dataclass(frozen=True, slots=True)
class Bye:
    """The process is about to end; nothing follows."""

    sent: int
    dropped: Dropped

    def frame(self) -> list[Any]:
        """Return the message list."""
        return ["bye", self.sent, dict(self.dropped)]


@dataclass(frozen=True, slots=True)
class Welcome:
    """The agent's answer to hello: the worker number it gave this process."""

    agent: str
    worker: int
    protocol: int = PROTOCOL

    def frame(self) -> list[Any]:
        """Return the message list."""
        return ["welcome", {"protocol": self.protocol, "agent": self.agent, "worker": self.worker}]


@dataclass(frozen=True, slots=True)
class Closing:
    """The agent is about to end: the app finishes the frame it has begun, and hangs up.

    So both know what has arrived. The app then tries to connect to the next agent.
    """

    def frame(self) -> list[Any]:
        """Return the message list."""
        return ["closing"]


@dataclass(frozen=True, slots=True)
class Challenge:
    """First frame over TCP of an app that has a token."""

    nonce: bytes

    def frame(self) -> list[Any]:
        """Return the message list."""
        return ["challenge", self.nonce]


@dataclass(frozen=True, slots=True)
class ChallengeResponse:
    """The agent's nonce, and its proof that it has the token."""

    nonce: bytes
    proof: bytes

    def frame(self) -> list[Any]:
        """Return the message list."""
        return ["answer", self.nonce, self.proof]


@dataclass(frozen=True, slots=True)
class Proof:
    """The app's proof that it has the token."""

    proof: bytes

    def frame(self) -> list[Any]:
        """Return the message list."""
        return ["proof", self.proof]


Message = (
    Hello
    | Routes
    | Samples
    | Gauges
    | MeasureNames
    | Deltas
    | Events
    | Bye
    | Welcome
    | Closing
    | Challenge
    | ChallengeResponse
    | Proof
)


def parse(message: list[Any]) -> Message | None:
    """Return the message of a decoded frame, None for an unknown type.

    Raises FrameError if a frame of a known type is malformed.
    """
    parser = _PARSERS.get(message[0])
    if parser is None:
        return None
    try:
        return parser(message)
    except MALFORMED as error:
        raise FrameError(f"expected a well-formed {message[0]!r} frame, got {error!r}") from error


def _hello(message: list[Any]) -> Hello:
    body = mapping(message[1])
    process = body["process"]
    if not isinstance(process, bytes) or len(process) != 8:
        raise ValueError("process is 8 bytes")
    return Hello(
        environment=name_of(body["environment"]),
        service=name_of(body["service"]),
        version=name_of(body["version"], empty=True),
        host=name_of(body["host"]),
        pid=count_of(body["pid"]),
        process=process,
        sent=count_of(body["sent"]),
        worker=whole(body["worker"], -1, MAX_U16),
        record_size=_record_size(body["record_size"]),
        protocol=count_of(body["protocol"]),
        facts={
            name_of(key): name_of(value, empty=True)
            for key, value in list(mapping(body["facts"]).items())[:32]
        },
    )


def _routes(message: list[Any]) -> Routes:
    return Routes({whole(route, 1, MAX_U16): _text(text) for route, text in message[1]})


def _samples(message: list[Any]) -> Samples:
    _, wall_us, mono_us, first, dropped, record_size, data = message[:7]
    if not isinstance(data, bytes):
        raise TypeError("records are one binary")
    if len(data) % _record_size(record_size):
        raise ValueError(f"{len(data)} bytes are not whole records of {record_size}")
    whole(first, 0, MAX_COUNT - len(data) // record_size)
    return Samples(
        count_of(wall_us), count_of(mono_us), first, _dropped(dropped), record_size, data
    )


def _gauges(message: list[Any]) -> Gauges:
    _, wall_us, sent, dropped, values = message[:5]
    if len(mapping(values)) > _MAX_GAUGES:
        raise ValueError(f"at most {_MAX_GAUGES} gauges")
    finite = {
        clean: float(value)
        for name, value in values.items()
        if type(value) in (int, float) and value - value == 0 and is_of_app(clean := name_of(name))
    }
    malformed = len(values) - len(finite)
    return Gauges(count_of(wall_us), count_of(sent), _dropped(dropped), finite, malformed)


def _bye(message: list[Any]) -> Bye:
    return Bye(count_of(message[1]), _dropped(message[2]))


def _welcome(message: list[Any]) -> Welcome:
    body = mapping(message[1])
    return Welcome(
        name_of(body["agent"]), whole(body["worker"], 0, MAX_U16), count_of(body["protocol"])
    )


def _closing(message: list[Any]) -> Closing:
    return Closing()


def _challenge(message: list[Any]) -> Challenge:
    return Challenge(_bytes(message[1]))


def _answer(message: list[Any]) -> ChallengeResponse:
    return ChallengeResponse(_bytes(message[1]), _bytes(message[2]))


def _proof(message: list[Any]) -> Proof:
    return Proof(_bytes(message[1]))


_PARSERS: Final[dict[str, Callable[[list[Any]], Message]]] = {
    "hello": _hello,
    "routes": _routes,
    "samples": _samples,
    "gauges": _gauges,
    "measure_names": parse_measure_names,
    "deltas": parse_deltas,
    "events": parse_events,
    "bye": _bye,
    "welcome": _welcome,
    "closing": _closing,
    "challenge": _challenge,
    "answer": _answer,
    "proof": _proof,
}


def _record_size(value: Any) -> int:
    # A newer app may have longer records, whose first 48 bytes are those known here.
    size = whole(value, RECORD_SIZE, _MAX_RECORD)
    if size % 8:
        raise ValueError(f"a record is a multiple of 8 bytes, got {size}")
    return size


def _dropped(value: Any) -> dict[str, int]:
    if len(mapping(value)) > _MAX_REASONS:
        raise ValueError(f"at most {_MAX_REASONS} reasons of drops")
    return {name_of(reason): count_of(count) for reason, count in value.items()}


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"expected a text, got {value!r:.40}")
    return clean_name(value[:MAX_TEMPLATE])


def _bytes(value: Any) -> bytes:
    # Nonces and proofs alike.
    if not isinstance(value, bytes) or len(value) != 32:
        raise ValueError("expected 32 bytes")
    return value
