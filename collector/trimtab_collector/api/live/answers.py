"""What the live stream says: its packets, and the answers of the API that they carry.

A packet is an EVENT of the Socket.IO protocol, revision 5, without its length and transport: the
digit 2 and a JSON list of the event's name and its payload. It is encoded once for all who get it.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import msgspec

from trimtab_collector.api.endpoint import ApiEndpoint
from trimtab_collector.contract.callers import Caller, Role
from trimtab_collector.contract.errors import ApiError, bad_parameter, failure, instant
from trimtab_collector.contract.live import LiveFilter
from trimtab_collector.contract.parameters import APDEX, OWNERS, RANGE, ROUTE, parse
from trimtab_collector.reads.current import current, snapshot
from trimtab_collector.reads.reader import StoreReader

__all__ = ["Questions", "ack", "event", "metrics_update", "refusal"]

#: what the figures of an update are over, in seconds
_NOW_S: Final = 10
_LONGEST: Final = 4096
_MOST_VALUES: Final = 100


def event(name: str, payload: Any) -> str:
    """Return the packet of an event; any thread."""
    return "2" + msgspec.json.encode([name, payload]).decode()


def ack(data: Any) -> Any:
    """Return the acknowledgement of an event in the API's envelope; data is built-in types."""
    return {"success": True, "data": data, "timestamp": instant()}


def refusal(error: ApiError) -> Any:
    """Return the acknowledgement of an event that is refused."""
    return msgspec.json.decode(failure(error))


def metrics_update(
    reader: StoreReader, chosen: LiveFilter, clock: Callable[[], float] = time.time
) -> str:
    """Return the packet `metrics:update`: the bodies of /metrics and /metrics/current as one.

    In a reading thread. Agents are told that somebody watches.
    """
    declared = (*OWNERS, ROUTE, APDEX, *RANGE)
    parameters = parse(declared, chosen.given().items(), clock(), _NOW_S)
    payload = {
        "filter": chosen.given(),
        **msgspec.to_builtins(current(reader, parameters)),
        **msgspec.to_builtins(snapshot(reader, parameters)),
    }
    return event("metrics:update", payload)


class Questions:
    """Answers a read of the API by the row of its table; any thread."""

    def __init__(
        self,
        parts: Sequence[Any],
        endpoints: Sequence[ApiEndpoint],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._parts = {type(part): part for part in parts}
        self._reads = {
            path: endpoint
            for endpoint in endpoints
            for path in endpoint.paths
            if endpoint.method == "GET"
        }
        self._clock = clock

    def has(self, path: str) -> bool:
        """Return whether the API has such a read."""
        return path in self._reads

    def role(self, path: str) -> Role:
        """Return what a caller must be to ask it."""
        return self._reads[path].role

    def answer(self, path: str, event_name: str, asked: Any, caller: Caller) -> str:
        """Return the packet with the answer; raises ApiError and TooMuchError.

        asked maps names of parameters to texts, numbers, or lists of them.
        """
        endpoint = self._reads[path]
        declared = endpoint.parameters
        declared = declared if RANGE[0] in declared else (*declared, *RANGE)
        parameters = parse(declared, _pairs(asked), self._clock(), endpoint.back)
        parameters = replace(parameters, caller=caller)
        return event(event_name, endpoint.read(self._parts[endpoint.of], parameters))


def _pairs(asked: Any) -> list[tuple[str, str]]:
    if asked is None:
        return []
    if not isinstance(asked, Mapping) or len(asked) > _MOST_VALUES:
        raise ApiError(
            422,
            "bad_parameter",
            f"expected an object of up to {_MOST_VALUES} parameters, got {type(asked).__name__}",
        )
    return [(str(name)[:80], _text(str(name), value)) for name, value in asked.items()]


def _text(name: str, value: Any) -> str:
    if isinstance(value, list) and len(value) <= _MOST_VALUES:
        return ",".join(_scalar(name, each) for each in value)
    return _scalar(name, value)


def _scalar(name: str, value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise bad_parameter(name, "a text, a number, or a list of them", str(value)[:80])
    text = str(value)
    if len(text) > _LONGEST:
        raise bad_parameter(name, f"a text of up to {_LONGEST} characters", text[:80])
    return text
