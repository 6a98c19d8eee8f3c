"""Requests that were kept whole, and the processes and hosts that serve them."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from trimtab_collector.contract.readbodies import (
    Application,
    Memory,
    SlowRequest,
    SlowRequests,
    System,
)
from trimtab_collector.reads.figures import TIMES
from trimtab_collector.reads.measured import events
from trimtab_collector.reads.ranges import View
from trimtab_collector.reads.source import Source, hosts_of, instances_of
from trimtab_collector.storage.store import LatestGauge
from trimtab_core.rows import EventRow

__all__ = ["ORDERS", "REASONS", "application", "memory", "slow_requests", "system"]

REASONS: Final = ("slow", "failed", "sample")
ORDERS: Final = ("time", "duration")
_EVENTS: Final = 5000
_MEMORY: Final = (
    "process.memory.", "cpython.gc.", "cpython.memory.", "system.memory.", "system.paging.",
    "container.memory.",
)  # fmt: skip


def slow_requests(source: Source, view: View, reason: str, order: str, limit: int) -> SlowRequests:
    """Return requests that were kept whole, all but samples unless a reason is asked for."""
    wanted = (reason,) if reason else REASONS[:2]
    found = [
        _request(view, row, event)
        for row, event in events(source, view, "request", _EVENTS)
        if event.get("reason") in wanted
    ]
    if order == "duration":
        found.sort(key=lambda each: -each.duration)
    return SlowRequests(from_=view.from_text, to=view.to_text, requests=found[:limit])


def _request(view: View, row: EventRow, event: Mapping[str, Any]) -> SlowRequest:
    def number(name: str, divisor: float = 1) -> float:
        value = event.get(name, 0)
        return value / divisor if isinstance(value, (int, float)) else 0.0

    spans = event.get("spans", [])
    return SlowRequest(
        at=view.params.shown(event["at_us"] / 1e6),
        reason=str(event.get("reason", "")),
        route=str(event.get("route", "")),
        method=str(event.get("method", "")),
        status=int(number("status")),
        duration=number("duration_us", 1000),
        queue=number("queue_us", 1000),
        error=event.get("error") or None,
        trace=event.get("trace") or None,
        service=row.service,
        environment=row.environment,
        instance=row.instance,
        database={"time": number("db_us", 1000), "calls": number("db_calls")},
        external={"time": number("external_us", 1000), "calls": number("external_calls")},
        cache={
            "time": number("cache_us", 1000),
            "hits": number("cache_hits"),
            "misses": number("cache_misses"),
        },
        timeline=[
            {"what": span[0], "start": span[1] / 1000, "duration": span[2] / 1000, "text": span[3]}
            for span in (spans if isinstance(spans, list) else [])
            if isinstance(span, list) and len(span) == 4
        ],
        timeline_left_out=int(number("spans_left_out")),
    )


def application(source: Source, view: View) -> Application:
    """Return the requests of a range, where their time went, and the processes."""
    figures, _ = source.overall(view)
    columns = source.rows(view).columns
    requests = figures["requests"]

    def mean(name: str, divisor: float = 1) -> float | None:
        return float(columns.value(name).sum()) / divisor / requests if requests else None

    return Application(
        from_=view.from_text,
        to=view.to_text,
        requests=requests,
        requests_per_second=figures["requests_per_second"],
        error_rate=figures["error_rate"],
        response_time={name: figures[name] for name in TIMES},
        database_time=mean("db_us", 1000),
        external_time=mean("external_us", 1000),
        cache_time=mean("cache_us", 1000),
        queries_per_request=mean("db_calls"),
        instances=instances_of(source.gauges(view.params)),
    )


def system(source: Source, view: View) -> System:
    """Return the latest gauges of hosts and containers."""
    gauges = source.gauges(view.params)
    return System(timestamp=view.params.shown(view.params.now_s), hosts=_hosts(gauges))


def memory(source: Source, view: View) -> Memory:
    """Return what gauges say of memory, of processes and hosts."""
    gauges = [row for row in source.gauges(view.params) if row.name.startswith(_MEMORY)]
    return Memory(
        timestamp=view.params.shown(view.params.now_s),
        processes=instances_of(gauges),
        hosts=_hosts(gauges),
    )


def _hosts(gauges: Iterable[LatestGauge]) -> list[dict[str, Any]]:
    return [
        {"host": each.host, "agent": each.agent, "gauges": each.gauges} for each in hosts_of(gauges)
    ]
