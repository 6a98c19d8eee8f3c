"""The context of a request: what code inside it can add to its record.

One mutable object is put into a ContextVar at entry and taken out in `finally`. Code below mutates
it and never sets the variable: BaseHTTPMiddleware and thread pools run the app in a copy of the
context, which shares the object and would hide a new one. `+=` under the GIL is enough.
"""

from contextvars import ContextVar, Token
from typing import Any, Final

from trimtab.failure import NO_FAILURE

__all__ = ["RequestContext", "Span", "context_variable", "current_context", "reset_context"]

#: spans kept per request: the first ones; the others are counted
_MOST_SPANS: Final = 100

#: what (`db`, `cache`, `external`), monotonic_ns at its start, ns, and a text without secrets
Span = tuple[str, int, int, str]


class RequestContext:
    """Times in ns and counts of one request; code that measures adds to them.

    Made for every request, so its zeros are the class's: an untouched one costs 0.05 us.
    """

    #: set when something is added, so that the record of an untouched request stays cheap
    touched = False
    db_ns = 0
    db_calls = 0
    external_ns = 0
    external_calls = 0
    cache_ns = 0
    cache_hits = 0
    cache_misses = 0
    #: what took time, in the order in which it ended; made with the first one
    spans: list[Span] | None = None
    spans_left_out = 0
    #: events that wait for the route of the request, to be sent at its end
    notes: list[dict[str, Any]] | None = None
    #: an exception that a framework made a response of
    failure = NO_FAILURE
    #: for hooks of queries: what they count within the request
    repeats: Any = None

    def add_db(self, duration_ns: int, calls: int = 1) -> None:
        """Book time in database calls."""
        self.touched = True
        self.db_ns += duration_ns
        self.db_calls += calls

    def add_external(self, duration_ns: int, calls: int = 1) -> None:
        """Book time in calls to other services."""
        self.touched = True
        self.external_ns += duration_ns
        self.external_calls += calls

    def add_cache(self, duration_ns: int, hits: int = 0, misses: int = 0) -> None:
        """Book time in cache calls."""
        self.touched = True
        self.cache_ns += duration_ns
        self.cache_hits += hits
        self.cache_misses += misses

    def add_span(self, what: str, start_ns: int, duration_ns: int, text: str) -> None:
        """Keep what took time for a timeline; text must hold no value that could be a secret."""
        spans = self.spans
        if spans is None:
            self.spans = [(what, start_ns, duration_ns, text)]
        elif len(spans) < _MOST_SPANS:
            spans.append((what, start_ns, duration_ns, text))
        else:
            self.spans_left_out += 1

    def note(self, event: dict[str, Any]) -> None:
        """Keep an event until the request ends and its route is known."""
        self.touched = True
        if self.notes is None:
            self.notes = []
        self.notes.append(event)


context_variable: ContextVar[RequestContext | None] = ContextVar("trimtab_context", default=None)


def reset_context(token: Token[RequestContext | None]) -> None:
    """Take a request's context out again; its end may run in another `contextvars` context."""
    try:
        context_variable.reset(token)
    except (ValueError, RuntimeError):
        # RuntimeError: it is out already, and a signal handler raised before that was noted.
        pass


def current_context() -> RequestContext | None:
    """Return the context of the request that is running here, None outside one."""
    return context_variable.get()
