"""Slow and failed requests kept whole: where their time went, what failed, whose trace they are.

A capture is made after the last byte, for requests over the threshold, failed ones, and a small
random share, so that there is something to compare them with. It has the route's template and
never the path, types and lines of exceptions and never their texts, and nothing of bodies and
headers but the ids of a valid `traceparent` (W3C Trace Context).
"""

import random
import re
from math import log1p
from typing import Any, Final, NamedTuple

from trimtab.context import RequestContext
from trimtab.events import REQUEST, EventQueue
from trimtab.failure import Failure
from trimtab_core.records import METHOD_IDS, OTHER_METHOD

__all__ = ["NEVER", "Captures", "Finished", "trace_of"]

#: a countdown that does not end
NEVER: Final = 1 << 62
_TRACE: Final = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-")


class Finished(NamedTuple):
    """A request that has ended; kind is above zero for an event stream, which is not a request."""

    route: str
    method: str
    status: int
    start_ns: int
    duration_ns: int
    queue_us: int
    kind: int
    #: whether it counts as one that failed; also one whose response broke off after its 200
    failed: bool
    #: the exception that it ended with
    failure: Failure


class Captures:
    """Decides about captures of one wrapper and makes them; from the request's own thread."""

    def __init__(self, slow_ms: int, share: float, events: EventQueue) -> None:
        self._events = events
        #: requests that took as long are captured
        self.slow_ns = slow_ms * 1_000_000
        self._share = share

    def next_sample(self) -> int:
        """Return how many requests from here the next one of the random share is."""
        if self._share <= 0:
            return NEVER
        if self._share >= 1:
            return 1
        # Geometric: each request has the same chance, whatever came before it.
        return 1 + int(random.expovariate(-log1p(-self._share)))

    def finish(
        self,
        request: "Finished",
        context: RequestContext | None,
        traceparent: str,
        *,
        sampled: bool,
    ) -> None:
        """Send the notes of a request, and its capture if it was slow, failed or drawn."""
        trace, span = trace_of(traceparent)
        method = request.method if request.method in METHOD_IDS else OTHER_METHOD
        whose = {"route": request.route, "method": method, "trace": trace}
        if context is not None and context.notes:
            for note in context.notes:
                note = {**note, **whose}
                self._events.add(str(note.pop("kind", "")), str(note.pop("alike", "")), note)
        failed, slow = request.failed, request.duration_ns >= self.slow_ns
        if request.kind or not (failed or slow or sampled):
            return
        failure = request.failure
        if context is not None and not failure.type:
            failure = context.failure
        reason = "failed" if failed else "slow" if slow else "sample"
        event: dict[str, Any] = {
            **whose,
            "span": span,
            "reason": reason,
            "status": request.status,
            "duration_us": request.duration_ns // 1000,
            "queue_us": max(0, request.queue_us),
            "error": failure.type[:128],
            "error_site": failure.site,
        }
        if context is not None and context.touched:
            event |= {
                "db_us": context.db_ns // 1000,
                "db_calls": context.db_calls,
                "external_us": context.external_ns // 1000,
                "external_calls": context.external_calls,
                "cache_us": context.cache_ns // 1000,
                "cache_hits": context.cache_hits,
                "cache_misses": context.cache_misses,
                "spans": [
                    [what, max(0, began - request.start_ns) // 1000, took // 1000, text[:200]]
                    for what, began, took, text in context.spans or ()
                ],
                "spans_left_out": context.spans_left_out,
            }
        self._events.add(REQUEST, f"{reason} {method} {request.route}", event)


def trace_of(traceparent: str) -> tuple[str, str]:
    """Return trace id and parent span id of a traceparent header, empty if it is not valid."""
    found = _TRACE.match(traceparent[:64])
    return (found[1], found[2]) if found else ("", "")
