"""The bodies of the API's answers; keys are camelCase on the wire.

Times are milliseconds, rates per second, sizes bytes, shares 0 to 1. What was not measured is null.
"""

from typing import Any

import msgspec

__all__ = [
    "Accounting",
    "Body",
    "Compared",
    "ComparedRoute",
    "Comparison",
    "Current",
    "GaugeHistory",
    "GaugeSeries",
    "GaugeStep",
    "GroupHistory",
    "GroupedHistory",
    "Heatmap",
    "History",
    "HistoryRow",
    "HostGauges",
    "Latency",
    "LatencyRow",
    "LatencyStep",
    "ResponseTime",
    "RouteList",
    "RouteRow",
    "ServiceRow",
    "ServiceStats",
    "Services",
    "Side",
    "Snapshot",
    "Stats",
    "VersionStats",
]


def _wire(name: str) -> str:
    """Return the key of a field: camelCase, and `from` for what Python cannot name so."""
    first, *rest = name.rstrip("_").split("_")
    return first + "".join(map(str.capitalize, rest))


class Body(msgspec.Struct, rename=_wire, kw_only=True):
    """Something with keys as the API names them."""


class Stats(Body, kw_only=True):
    """What a group of requests came to; times are null without requests."""

    requests: int
    errors: int
    error_rate: float
    requests_per_second: float
    mean: float | None
    p50: float | None
    p90: float | None
    p95: float | None
    p99: float | None
    p999: float | None
    max: float | None
    ttfb_mean: float | None
    queue_mean: float | None
    apdex: float | None
    bytes: int
    #: connections that ended, and how long they were open on average
    web_sockets: int
    web_socket_mean: float | None
    event_streams: int
    event_stream_mean: float | None


class Accounting(Body, kw_only=True):
    """What became of a service's records over the life of the store.

    counted + held + agentLost = sent; counted = requests + backgrounds + connections; held lies
    with agents that say so; dropped never got a number.
    """

    counted: int
    sent: int
    held: int
    agent_lost: int
    dropped: dict[str, int]
    requests: int
    backgrounds: int
    connections: int


class _Range(Body, kw_only=True):
    """What an answer is about: the range as it was read, and the width of windows at its edges."""

    from_: str
    to: str
    resolution: int


class ServiceRow(Stats, kw_only=True):
    """A service, with requests of the range."""

    environment: str
    service: str
    versions: list[str]
    instances: list[str]
    in_flight: int | None
    open_web_sockets: int | None
    open_event_streams: int | None
    accounting: Accounting


class Services(_Range, kw_only=True):
    """All services of the store."""

    services: list[ServiceRow]


class RouteRow(Stats, kw_only=True):
    """A route template and method of a service."""

    environment: str
    service: str
    route: str
    method: str
    total_time: float


class RouteList(_Range, kw_only=True):
    """Routes that had requests in the range, first the one that was asked for."""

    routes: list[RouteRow]
    routes_left_out: int


class _Times(Body, kw_only=True):
    """Response times alone."""

    requests: int
    requests_per_second: float
    mean: float | None
    p50: float | None
    p90: float | None
    p95: float | None
    p99: float | None
    p999: float | None
    max: float | None


class LatencyStep(_Times, kw_only=True):
    """Response times of one step of a route."""

    t: str


class LatencyRow(_Times, kw_only=True):
    """Response times of one route and method; `series` where one route was asked for."""

    environment: str
    service: str
    route: str
    method: str
    series: list[LatencyStep] | msgspec.UnsetType = msgspec.UNSET


class Latency(_Range, kw_only=True):
    """Response times of routes, the slowest first; step is null without series."""

    step: int | str | None
    routes: list[LatencyRow]
    routes_left_out: int


class ServiceStats(Stats, kw_only=True):
    """Figures of one service."""

    environment: str
    service: str


class VersionStats(ServiceStats, kw_only=True):
    """Figures of one version of a service."""

    version: str


class ResponseTime(_Range, kw_only=True):
    """Response times of everything chosen, and of its parts."""

    step: int
    overall: Stats
    by_status_class: dict[str, Stats]
    by_service: list[ServiceStats]
    by_version: list[VersionStats]


class HistoryRow(Stats, kw_only=True):
    """One step of history; rates are over the seconds of it that have arrived."""

    t: str
    seconds: float


class History(_Range, kw_only=True):
    """Steps that hold something; the others have no row."""

    period: str
    step: int | str
    series: list[HistoryRow]


class GroupHistory(Body, kw_only=True):
    """The steps of one group, and its requests in the whole range."""

    group: dict[str, str]
    requests: int
    series: list[HistoryRow]


class GroupedHistory(_Range, kw_only=True):
    """A series for each group, the one with the most requests first."""

    period: str
    step: int | str
    group_by: list[str]
    groups: list[GroupHistory]
    groups_left_out: int


class Heatmap(_Range, kw_only=True):
    """Requests by time and duration: counts[i][j] of step times[i] and bucket j.

    A bucket has the durations over lower[j] and up to upper[j], ms; it is 2 ** (2 ** -scale) wide.
    """

    step: int | str
    scale: int
    requests: int
    lower: list[float]
    upper: list[float]
    times: list[str]
    counts: list[list[int]]


class Side(_Range, kw_only=True):
    """One side of a comparison: what it is of, and how much there is."""

    #: what its requests have beside the filters of both sides
    where: dict[str, str]
    seconds: float
    requests: int


class Compared(Body, kw_only=True):
    """Figures of both sides, b - a, and (b - a) / a; null is what a side has no figure for."""

    a: Stats | None
    b: Stats | None
    difference: dict[str, float | None]
    change: dict[str, float | None]
    #: whether there are requests enough for the figure that routes are ordered by
    enough: bool


class ComparedRoute(Compared, kw_only=True):
    """One route and method on both sides."""

    environment: str
    service: str
    route: str
    method: str


class Comparison(Body, kw_only=True):
    """Two sides: all together, and route by route with the largest change first."""

    by: str
    min_requests: int
    a: Side
    b: Side
    overall: Compared
    routes: list[ComparedRoute]
    routes_left_out: int
    #: what to know before one believes it, in sentences
    notes: list[str]


class GaugeStep(Body, kw_only=True):
    """Readings of one step; last is null where several gauges are taken together.

    total is the sum over those gauges of the mean of each.
    """

    t: str
    count: int
    mean: float
    min: float
    max: float
    last: float | None
    total: float


class GaugeSeries(Body, kw_only=True):
    """The steps of one gauge, or of those of one name and group."""

    name: str
    group: dict[str, str]
    series: list[GaugeStep]


class GaugeHistory(_Range, kw_only=True):
    """Gauges over time, by name in the order asked for, of each name the largest first."""

    step: int | str
    group_by: list[str]
    gauges: list[GaugeSeries]
    gauges_left_out: int


class HostGauges(Body, kw_only=True):
    """The latest gauges of one host, as its agent took them."""

    host: str
    agent: str
    gauges: dict[str, float]


class Current(Body, kw_only=True):
    """One look at now; null is what nothing measures yet."""

    timestamp: str
    cpu_usage: dict[str, float | None]
    memory_usage: dict[str, float | None]
    event_loop_delay: float | None
    active_handles: int | None
    active_requests: int | None
    uptime: float | None
    requests_per_second: float
    error_rate: float
    response_time: dict[str, float | None]
    system: list[HostGauges]
    instances: list[dict[str, Any]]


class Snapshot(Body, kw_only=True):
    """The parts of one moment together; null is what nothing measures.

    Of database, cache and external services: the last minute.
    """

    timestamp: str
    system: list[HostGauges]
    application: dict[str, Any]
    database: dict[str, Any] | None = None
    cache: dict[str, Any] | None = None
    external_services: dict[str, Any] | None = None
