"""Routes: those that matter most, and their response times."""

from typing import Final

import msgspec

from trimtab_collector.contract.body import ResolvedBody
from trimtab_collector.contract.figures import TIMES, Stats, Times
from trimtab_collector.contract.kinds import Choice

__all__ = [
    "LATENCY_BY",
    "RANKINGS",
    "ROUTES_BY",
    "Latency",
    "LatencyRow",
    "LatencyStep",
    "RouteList",
    "RouteRow",
]

#: what routes may be ordered by -> the field of RouteRow
RANKINGS: Final = {
    "p99": "p99",
    "totalTime": "total_time",
    "errorRate": "error_rate",
    "rps": "requests_per_second",
}
ROUTES_BY: Final = Choice(
    "by", "Routes with the largest of this come first.", RANKINGS, "totalTime"
)
LATENCY_BY: Final = Choice("by", "Routes with the largest of this come first.", TIMES, "p99")


class RouteRow(Stats, kw_only=True):
    """A route template and method of a service."""

    environment: str
    service: str
    route: str
    method: str
    total_time: float


class RouteList(ResolvedBody, kw_only=True):
    """Routes that had requests in the range, in the order that was asked for."""

    routes: list[RouteRow]
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
