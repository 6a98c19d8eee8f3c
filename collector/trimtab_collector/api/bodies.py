"""The bodies of the API's answers; keys are camelCase on the wire.

Times are milliseconds, rates per second, sizes bytes, shares 0 to 1. What was not measured is null.
"""

from typing import Any

import msgspec

__all__ = [
    "Accounting",
    "Current",
    "History",
    "HistoryRow",
    "ResponseTime",
    "RouteRow",
    "Routes",
    "ServiceRow",
    "Services",
    "Stats",
]


class Stats(msgspec.Struct, rename="camel", kw_only=True):
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


class Accounting(msgspec.Struct, rename="camel", kw_only=True):
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


class Services(msgspec.Struct, rename={"from_": "from"}, kw_only=True):
    """All services of the store."""

    from_: str
    to: str
    services: list[ServiceRow]


class RouteRow(Stats, kw_only=True):
    """A route template and method of a service."""

    environment: str
    service: str
    route: str
    method: str
    total_time: float


class Routes(msgspec.Struct, rename={"from_": "from"}, kw_only=True):
    """Routes that had requests in the range, first the one that was asked for."""

    from_: str
    to: str
    routes: list[RouteRow]


class ServiceStats(Stats, kw_only=True):
    """Figures of one service."""

    environment: str
    service: str


class ResponseTime(msgspec.Struct, rename={"from_": "from"}, kw_only=True):
    """Response times of everything chosen; the keys of `Stats` stand beside these."""

    from_: str
    to: str
    step: int
    overall: Stats
    # camelCase by hand: `rename` of this class is taken by `from`
    byStatusClass: dict[str, Stats]  # noqa: N815
    byService: list[ServiceStats]  # noqa: N815


class HistoryRow(Stats, kw_only=True):
    """One step of history."""

    t: str


class History(msgspec.Struct, rename={"from_": "from"}, kw_only=True):
    """Steps that hold something; the others have no row."""

    from_: str
    to: str
    period: str
    step: int
    series: list[HistoryRow]


class Current(msgspec.Struct, rename="camel", kw_only=True):
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
    system: dict[str, float]
    instances: list[dict[str, Any]]
