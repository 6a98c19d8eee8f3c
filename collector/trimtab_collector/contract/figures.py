"""Figures of requests, as they appear wherever requests are summed up."""

from typing import Final

from trimtab_collector.contract.body import Body

__all__ = ["RANKED", "TIMES", "RequestStats", "Stats", "TimeIn", "Times"]

#: figures that are response times, in ms
TIMES: Final = ("mean", "p50", "p90", "p95", "p99", "p999", "max")
#: what rows of requests may be ordered by -> the figure; the names are keys of the rows
RANKED: Final = {
    **{name: name for name in TIMES},
    "requests": "requests",
    "errors": "errors",
    "errorRate": "error_rate",
    "requestsPerSecond": "requests_per_second",
    "totalTime": "total_time",
}


class TimeIn(Body, kw_only=True):
    """Where the time of a request goes on average, ms.

    app is what is left of the response time without the others, never below 0: calls that run at
    the same time count each. queue is the wait before the app, which the response time has not.
    """

    app: float
    database: float
    cache: float
    external: float
    queue: float


class RequestStats(Body, kw_only=True):
    """The figures of a group of requests; times and shares are null without requests."""

    requests: int
    errors: int
    error_rate: float | None
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
    time_in: TimeIn | None
    bytes: int
    #: requests by exact status code; see contract/statuscodes.py for `other` and `unknown`
    status_codes: dict[str, int]


class Stats(RequestStats, kw_only=True):
    """The figures of requests, and of connections that ended: how many, how long they were open."""

    web_sockets: int
    web_socket_mean: float | None
    event_streams: int
    event_stream_mean: float | None


class Times(Body, kw_only=True):
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
