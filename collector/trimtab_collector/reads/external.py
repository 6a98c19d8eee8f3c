"""Calls to other services, by host, and what agents look at."""

from typing import Final

from trimtab_collector.contract.external import External, HostCalls
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

__all__ = ["external", "external_calls"]

_DURATION: Final = "http.client.request.duration"


def external(reader: StoreReader, parameters: Parameters) -> External:
    """Return the calls to other services; the hosts with the most time first."""
    return external_calls(reader, reader.ranges.stored(parameters), parameters[LIMIT])


def external_calls(reader: StoreReader, time_range: TimeRange, limit: int) -> External:
    """Return the calls to other services in a range that is stored; at most limit hosts."""
    measures = MeasureReads(reader, time_range, (_DURATION,))
    hosts = [
        HostCalls(host=host, calls=calls_of(some, measures.seconds), errors=errors_of(some))
        for host, some in grouped(
            measures.of(), lambda part: attribute(part, "server.address")
        ).items()
    ]
    return External(
        **time_range.fields(),
        calls=calls_of(measures.of(), measures.seconds),
        hosts=ordered(hosts)[:limit],
        dependencies=targets_of(
            reader.gauges(time_range.parameters), "http", "redis", "postgresql"
        ),
    )
