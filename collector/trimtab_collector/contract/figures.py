"""Figures of requests, as they appear wherever requests are summed up."""

from typing import Final

from trimtab_collector.contract.body import Body

__all__ = ["TIMES", "Stats", "Times"]

#: figures that are response times, in ms
TIMES: Final = ("mean", "p50", "p90", "p95", "p99", "p999", "max")


class Stats(Body, kw_only=True):
    """The figures of a group of requests; times are null without requests."""

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
    #: requests by exact status code; see contract/statuscodes.py for `other` and `unknown`
    status_codes: dict[str, int]


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
