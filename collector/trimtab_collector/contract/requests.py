"""Requests that were kept whole."""

from typing import Final

from trimtab_collector.contract.body import Body, RangeBody
from trimtab_collector.contract.kinds import Choice, Milliseconds, PathName, Text

__all__ = [
    "BY",
    "KEPT",
    "MAX_DURATION",
    "MIN_DURATION",
    "REASON",
    "REASONS",
    "SPANS",
    "TRACE",
    "CallsOfRequest",
    "ReadsOfRequest",
    "SlowRequest",
    "SlowRequests",
    "TimelineSpan",
]

REASONS: Final = ("slow", "failed", "sample")
REASON: Final = Choice(
    "reason", "Why a request was kept; without it all but samples.", ("", *REASONS), ""
)
#: what took time in a request, as the middleware says it: a database, a cache, another service
SPANS: Final = ("db", "cache", "external")
BY: Final = Choice("by", "The latest or the longest first.", ("time", "duration"), "time")
#: as those of a bucket of `/heatmap`, so that a cell can be opened
MIN_DURATION: Final = Milliseconds(
    "minDuration", "Only requests that took longer than this, in ms; 0 for any."
)
MAX_DURATION: Final = Milliseconds(
    "maxDuration", "Only requests that took at most this long, in ms."
)
TRACE: Final = Text("trace", "Only what belongs to the trace with this id.")
KEPT: Final = PathName("id", "The id of a request that was kept.")


class TimelineSpan(Body, kw_only=True):
    """A part of a request that took time; ms from the start of the request."""

    #: one of SPANS
    what: str
    start: float
    duration: float
    text: str


class CallsOfRequest(Body, kw_only=True):
    """Queries, or calls to other services, of one request: ms together, and how many."""

    time: float
    calls: int


class ReadsOfRequest(Body, kw_only=True):
    """Reads of caches of one request: ms together, and how they ended."""

    time: float
    hits: int
    misses: int


class SlowRequest(Body, kw_only=True):
    """A request that was kept whole."""

    #: leads to the request as long as it is kept: `/slow-requests/{id}`
    id: str
    at: str
    #: slow, failed, or sample: one of a small random share
    reason: str
    route: str
    method: str
    status: int
    duration: float
    queue: float
    #: type of the exception that the request failed with
    error: str | None
    #: `path/file.py:42 in function`: the app's own line that raised it or called what did
    error_site: str | None
    trace: str | None
    service: str
    environment: str
    #: null where an earlier agent did not tell
    version: str | None
    instance: str
    database: CallsOfRequest
    external: CallsOfRequest
    cache: ReadsOfRequest
    timeline: list[TimelineSpan]
    timeline_left_out: int


class SlowRequests(RangeBody, kw_only=True):
    """Requests that were kept whole, the latest or the longest first."""

    requests: list[SlowRequest]
    #: as far as events were kept
    requests_left_out: int
