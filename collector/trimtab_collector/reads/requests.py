"""Requests that were kept whole: slow ones, failed ones, and a small random share of the others."""

from collections.abc import Mapping
from typing import Any, Final

from trimtab_collector.contract.parameters import LIMIT, Parameters
from trimtab_collector.contract.requests import (
    BY,
    REASON,
    REASONS,
    CallsOfRequest,
    ReadsOfRequest,
    SlowRequest,
    SlowRequests,
    TimelineSpan,
)
from trimtab_collector.reads.events import events, number
from trimtab_collector.reads.reader import StoreReader
from trimtab_core.rows import EventRow

__all__ = ["slow_requests"]

#: requests looked at, the latest
_EVENTS: Final = 5000


def slow_requests(reader: StoreReader, parameters: Parameters) -> SlowRequests:
    """Return requests that were kept whole, all but samples unless a reason is asked for."""
    time_range = reader.ranges.stored(parameters)
    reason = parameters[REASON]
    wanted = (reason,) if reason else REASONS[:2]
    found = [
        _request(parameters, row, event)
        for row, event in events(reader, time_range, "request", _EVENTS)
        if event.get("reason") in wanted and _chosen(parameters, event)
    ]
    if parameters[BY] == "duration":
        found.sort(key=lambda each: -each.duration)
    limit = parameters[LIMIT]
    return SlowRequests(
        **time_range.fields(),
        requests=found[:limit],
        requests_left_out=max(0, len(found) - limit),
    )


def _chosen(parameters: Parameters, event: Mapping[str, Any]) -> bool:
    """Return whether method and status are among what was asked for."""
    status = int(number(event, "status")) // 100
    return parameters.chooses(
        method=str(event.get("method", "")),
        status_class=f"{status}xx" if 1 <= status <= 5 else "other",
    )


def _request(parameters: Parameters, row: EventRow, event: Mapping[str, Any]) -> SlowRequest:
    def ms(name: str) -> float:
        return number(event, name) / 1000

    def count(name: str) -> int:
        return int(number(event, name))

    spans = event.get("spans", [])
    return SlowRequest(
        at=parameters.shown(event["at_us"] / 1e6),
        reason=str(event.get("reason", "")),
        route=str(event.get("route", "")),
        method=str(event.get("method", "")),
        status=int(number(event, "status")),
        duration=ms("duration_us"),
        queue=ms("queue_us"),
        error=str(event.get("error") or "") or None,
        error_site=str(event.get("error_site") or "") or None,
        trace=event.get("trace") or None,
        service=row.service,
        environment=row.environment,
        instance=row.instance,
        database=CallsOfRequest(time=ms("db_us"), calls=count("db_calls")),
        external=CallsOfRequest(time=ms("external_us"), calls=count("external_calls")),
        cache=ReadsOfRequest(
            time=ms("cache_us"), hits=count("cache_hits"), misses=count("cache_misses")
        ),
        timeline=[
            TimelineSpan(what=span[0], start=span[1] / 1000, duration=span[2] / 1000, text=span[3])
            for span in (spans if isinstance(spans, list) else [])
            if isinstance(span, list) and len(span) == 4
        ],
        timeline_left_out=int(number(event, "spans_left_out")),
    )
