"""Requests that were kept whole: slow ones, failed ones, and a small random share of the others."""

import hashlib
import re
from collections.abc import Mapping
from typing import Any, Final

from trimtab_collector.contract.errors import ApiError
from trimtab_collector.contract.parameters import LIMIT, Parameters
from trimtab_collector.contract.requests import (
    BY,
    KEPT,
    MAX_DURATION,
    MIN_DURATION,
    REASON,
    REASONS,
    TRACE,
    CallsOfRequest,
    ReadsOfRequest,
    SlowRequest,
    SlowRequests,
    TimelineSpan,
)
from trimtab_collector.contract.statuscodes import CODE, OTHER_CODE
from trimtab_collector.reads.events import events, number
from trimtab_collector.reads.reader import StoreReader
from trimtab_collector.storage.store import EventSelection
from trimtab_core.rows import EventRow

__all__ = ["kept_request", "slow_requests"]

#: requests looked at, the latest
_EVENTS: Final = 5000
_KIND: Final = "request"
#: when a request ended, in microseconds, and what tells it from others of that time
_ID: Final = re.compile(r"([0-9a-f]{1,14})-[0-9a-f]{12}", re.ASCII)


def slow_requests(reader: StoreReader, parameters: Parameters) -> SlowRequests:
    """Return requests that were kept whole, all but samples unless a reason is asked for."""
    time_range = reader.ranges.stored(parameters)
    reason = parameters[REASON]
    wanted = (reason,) if reason else REASONS[:2]
    found = [
        (row, event)
        for row, event in events(reader, time_range, _KIND, _EVENTS)
        if event.get("reason") in wanted and _chosen(parameters, event)
    ]
    if parameters[BY] == "duration":
        found.sort(key=lambda each: -number(each[1], "duration_us"))
    limit = parameters[LIMIT]
    return SlowRequests(
        **time_range.fields(),
        requests=[_request(parameters, row, event) for row, event in found[:limit]],
        requests_left_out=max(0, len(found) - limit),
    )


def kept_request(reader: StoreReader, parameters: Parameters) -> SlowRequest:
    """Return one request that was kept whole."""
    wanted = parameters[KEPT]
    found = _ID.fullmatch(wanted)
    at_s = int(found[1], 16) // 1_000_000 if found else 0
    # Its id says when it was: only the requests of that second are looked at.
    for row in reader.store.read_events(EventSelection(at_s, at_s + 1, _KIND, {}, _EVENTS)):
        if _id(row) == wanted:
            return _request(parameters, row, row.event)
    raise ApiError(
        404,
        "not_found",
        f"expected the id of a request that is kept, as /slow-requests has them, got "
        f"{wanted!r:.60}: requests are kept for 90 days, and the latest 100000 events of all kinds",
    )


def _chosen(parameters: Parameters, event: Mapping[str, Any]) -> bool:
    """Return whether a request is among what was asked for."""
    status, took_ms = int(number(event, "status")), number(event, "duration_us") / 1000
    status_class = status // 100 if 100 <= status <= 599 else 0
    codes, trace = parameters[CODE], parameters[TRACE]
    least, most = parameters[MIN_DURATION], parameters[MAX_DURATION]
    return (
        parameters.chooses(
            method=str(event.get("method", "")),
            status_class=f"{status_class}xx" if status_class else "other",
            version=str(event.get("version", "")),
        )
        and (not codes or (str(status) if status_class else OTHER_CODE) in codes)
        and (trace is None or event.get("trace") == trace)
        and (not least or took_ms > least)
        and (most is None or took_ms <= most)
    )


def _id(row: EventRow) -> str:
    """Return what a request is found by: as stable as what is kept of it."""
    event = row.event
    parts = (*row[:3], *(event.get(name) for name in ("route", "method", "duration_us", "trace")))
    digest = hashlib.sha256(repr((*parts, event.get("span"))).encode()).hexdigest()
    return f"{int(number(event, 'at_us')):x}-{digest[:12]}"


def _request(parameters: Parameters, row: EventRow, event: Mapping[str, Any]) -> SlowRequest:
    def ms(name: str) -> float:
        return number(event, name) / 1000

    def count(name: str) -> int:
        return int(number(event, name))

    spans = event.get("spans", [])
    return SlowRequest(
        id=_id(row),
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
        version=str(event["version"]) if "version" in event else None,
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
