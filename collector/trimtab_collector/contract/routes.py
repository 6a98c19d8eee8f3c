"""Routes: those that matter most, and their response times."""

from typing import Final

import msgspec

from trimtab_collector.contract.body import Body, ResolvedBody
from trimtab_collector.contract.figures import RANKED, TIMES, RequestStats, Times
from trimtab_collector.contract.kinds import Choice

__all__ = [
    "KIND",
    "KINDS",
    "LATENCY_BY",
    "RANKINGS",
    "ROUTES_BY",
    "EventStreamRow",
    "Latency",
    "LatencyRow",
    "LatencyStep",
    "RouteList",
    "RouteRow",
    "StreamRow",
    "WebSocketRow",
]

#: what routes may be ordered by -> the figure
RANKINGS: Final = {**RANKED, "rps": "requests_per_second"}
ROUTES_BY: Final = Choice(
    "by", "Routes with the largest of this come first.", RANKINGS, "totalTime"
)
#: kinds of rows: of requests, and of connections that are no requests
KINDS: Final = ("request", "webSocket", "eventStream")
KIND: Final = Choice("kind", "Only rows of this kind; without it all.", ("", *KINDS), "")
LATENCY_BY: Final = Choice(
    "by",
    "Routes with the largest of this come first.",
    (*TIMES, "requests", "requestsPerSecond"),
    "p99",
)


class RouteRow(RequestStats, kw_only=True, tag_field="kind", tag="request"):
    """A route template and method of a service, and its requests."""

    environment: str
    service: str
    route: str
    method: str
    total_time: float


class StreamRow(Body, kw_only=True):
    """A route whose connections stay open: those that ended, and how long they were open."""

    environment: str
    service: str
    route: str
    method: str
    connections: int
    connections_per_second: float
    #: mean time that they were open, ms
    open_mean: float


class WebSocketRow(StreamRow, kw_only=True, tag_field="kind", tag="webSocket"):
    """A route of WebSockets."""


class EventStreamRow(StreamRow, kw_only=True, tag_field="kind", tag="eventStream"):
    """A route of event streams (SSE)."""


class RouteList(ResolvedBody, kw_only=True):
    """Routes with traffic in the range: of requests in the order asked for, then connections."""

    routes: list[RouteRow | WebSocketRow | EventStreamRow]
    routes_left_out: int


class LatencyStep(Times, kw_only=True):
    """Response times of one step of a route."""

    t: str


class LatencyRow(Times, kw_only=True):
    """Response times of one route and method; `series` where route or step was given."""

    environment: str
    service: str
    route: str
    method: str
    series: list[LatencyStep] | msgspec.UnsetType = msgspec.UNSET


class Latency(ResolvedBody, kw_only=True):
    """Response times of routes, the slowest first; step is null without series."""

    step: int | str | None
    routes: list[LatencyRow]
    routes_left_out: int
