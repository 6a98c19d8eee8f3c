"""Calls to other services, by host and port, method and status, and what agents look at."""

from typing import Final

from trimtab_collector.contract.calls import CALLS_BY, RANKED_CALLS
from trimtab_collector.contract.external import External, HostCalls, MethodCalls
from trimtab_collector.contract.parameters import LIMIT, Parameters
from trimtab_collector.reads.latest import targets_of
from trimtab_collector.reads.measures import (
    MeasureReads,
    attribute,
    calls_of,
    errors_of,
    grouped,
    ordered,
)
from trimtab_collector.reads.ranges import TimeRange
from trimtab_collector.reads.reader import StoreReader
from trimtab_collector.storage.store import MeasurePart

__all__ = ["external", "external_calls"]

_DURATION: Final = "http.client.request.duration"


def external(reader: StoreReader, parameters: Parameters) -> External:
    """Return the calls to other services; the hosts with the most of a figure first."""
    by = RANKED_CALLS[parameters[CALLS_BY]]
    return external_calls(reader, reader.ranges.stored(parameters), parameters[LIMIT], by)


def external_calls(
    reader: StoreReader, time_range: TimeRange, limit: int, by: str = "total_time"
) -> External:
    """Return the calls to other services in a range that is stored; at most limit hosts."""
    measures = MeasureReads(reader, time_range, (_DURATION,))
    places = grouped(measures.of(), _place)
    hosts = [_host(place, some, measures.seconds) for place, some in places.items()]
    return External(
        **time_range.fields(),
        calls=calls_of(measures.of(), measures.seconds),
        hosts=ordered(hosts, by)[:limit],
        hosts_left_out=max(0, len(hosts) - limit),
        dependencies=targets_of(
            reader.gauges(time_range.parameters), "http", "redis", "postgresql"
        ),
    )


def _place(part: MeasurePart) -> tuple[str, str]:
    return attribute(part, "server.address"), attribute(part, "server.port")


def _host(place: tuple[str, str], parts: list[MeasurePart], seconds: float) -> HostCalls:
    methods = []
    codes: dict[str, int] = {}
    for (method, status, error), some in grouped(parts, _ending).items():
        calls = calls_of(some, seconds)
        if status:
            codes[status] = codes.get(status, 0) + calls.count
        methods.append(
            MethodCalls(
                method=method,
                status=int(status) if status.isdecimal() else None,
                error=None if status else error or None,
                calls=calls,
            )
        )
    host, port = place
    return HostCalls(
        host=host,
        port=int(port) if port.isdecimal() else None,
        calls=calls_of(parts, seconds),
        errors=errors_of(parts),
        status_codes=dict(sorted(codes.items())),
        methods=ordered(methods),
    )


def _ending(part: MeasurePart) -> tuple[str, str, str]:
    """Return method, status and type of error of calls."""
    names = ("http.request.method", "http.response.status_code", "error.type")
    method, status, error = (attribute(part, name) for name in names)
    return method, status, error
