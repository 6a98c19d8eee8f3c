"""What happens when a request ends, once for ASGI, WSGI lists and WSGI iterators.

A wrapper appends the records of plain requests itself, as many as `room` says: that is the path of
nearly every request, and its price is what users pay. `room` is the emitter's last grant, cut off
before the next sampled request. The other requests come to `Endings.finish`: the full record, the
emitter woken, the notes of the request sent, and the request kept whole if it was slow, failed or
sampled.

A request is plain when all of this is true:

- there is room;
- it has no queue time, no context that was used, no failure, one body message, a known method, and
  is no event stream;
- its status is below 500, and it took less than `slow_ns`.
"""

from collections.abc import Callable, Mapping
from typing import Any, AnyStr, Final

from trimtab.captures import Captures, Finished
from trimtab.context import RequestContext
from trimtab.failure import Failure
from trimtab.instrumentation import instrumented
from trimtab.queueing import LOOKS
from trimtab.recorder import BACKGROUND_NS
from trimtab.runtime import Runtime
from trimtab_core.records import FLAG_FAILED, KIND_EVENT_STREAM, METHOD_IDS

__all__ = ["ASGI_STREAM", "WSGI_STREAM", "Endings", "is_event_stream", "number_of"]

#: Name of the header that tells an event stream, and how its value begins.
ASGI_STREAM: Final = (b"content-type", b"text/event-stream")
WSGI_STREAM: Final = ("content-type", "text/event-stream")


class Endings:
    """The ends of all requests of one wrapper, and the counts that decide which are plain.

    Wrappers read and change the counts directly, in the threads of requests; the recorder calls
    `grant`, `in_flight` and `forget`. It must not refer to the wrapper, which would then never be
    freed.
    """

    __slots__ = (
        "_captures", "_given", "_granted", "_recorder", "_runtime", "_sample", "_traceparent",
        "active", "background_ns", "life", "looks", "room", "slow_ns", "with_context",
    )  # fmt: skip

    def __init__(self, runtime: Runtime, traceparent: Callable[[Mapping[str, Any]], str]) -> None:
        settings = runtime.settings
        #: requests whose headers are still looked through for a queue time
        self.looks = 0
        #: plain requests that may still be appended
        self.room = 0
        #: what `room` was when it was last set
        self._given = 0
        #: what is left of the emitter's grant, as of the last `_count`
        self._granted = 0
        self._runtime, self._recorder = runtime, runtime.recorder
        self._captures = Captures(
            settings.slow_request_ms, settings.capture_share, runtime.process.events
        )
        self._traceparent = traceparent
        #: requests that take as long are not plain
        self.slow_ns = self._captures.slow_ns
        #: work after the last byte is booked apart from here on
        self.background_ns = BACKGROUND_NS
        #: requests left until the next sample, as of the last `_count`
        self._sample = self._captures.next_sample()
        self.forget()

    def finish(
        self,
        place: Mapping[str, Any],
        route: int,
        method: str,
        flags: int,
        status: int,
        times_ns: tuple[int, int, int],
        queue_us: int,
        size: int,
        context: RequestContext | None,
        kind: int,
        failure: Failure,
    ) -> None:
        """Book a request that has ended and is not plain; never raises.

        place is its scope or environ; times_ns are entry, first byte (0 for one with the last) and
        last byte; failure is the exception that it ended with.
        """
        recorder = self._recorder
        if type(status) is not int:
            status = number_of(status)
        start, first, last = times_ns
        took = last - start
        recorder.append(
            route, _method_id(method), flags, status, took, (first or last) - start,
            queue_us, size, context, kind,
        )  # fmt: skip
        if recorder.asleep:
            self._runtime.wake()
        self._count()
        # It takes its place in the buffer, too.
        self._granted -= 1
        self._sample -= 1
        sampled = self._sample <= 0 and not kind
        try:
            noted = context is not None and context.notes
            failed = status >= 500 or bool(flags & FLAG_FAILED)
            if sampled or took >= self.slow_ns or failed or noted:
                template = recorder.routes.template(route)
                what = Finished(
                    template, method, status, start, took, queue_us, kind, failed, failure
                )
                self._captures.finish(what, context, self._traceparent(place), sampled=sampled)
        except Exception:  # noqa: BLE001, S110 - a request is worth more than its capture
            pass
        if sampled:
            self._sample = self._captures.next_sample()
        self._give()

    def background(
        self, route: int, method: str, status: int, duration_ns: int, *, failed: bool
    ) -> None:
        """Book the work that an app did after the last byte of a request."""
        flags = FLAG_FAILED if failed else 0
        self._recorder.append_background(
            route, _method_id(method), flags, number_of(status), duration_ns
        )

    def stream_began(self, headers: object, event_stream: tuple[AnyStr, AnyStr]) -> int:
        """Return the kind of what has sent its first part; an event stream is open from here."""
        if not is_event_stream(headers, event_stream):
            return 0
        self._recorder.event_streams += 1
        return KIND_EVENT_STREAM

    def stream_ended(self, kind: int) -> None:
        """Count an event stream as closed, if `stream_began` had found one."""
        if kind:
            self._recorder.event_streams -= 1

    def grant(self, records: int) -> None:
        """Allow this many plain requests until the next call."""
        self._count()
        self._granted = records
        self._give()
        self.with_context = self.wants_context()
        if self._runtime.settings.queue_time and not self.looks:
            self.looks = 1

    def wants_context(self) -> bool:
        """Tell whether what begins now gets a context: when asked for, or when calls are measured.

        Requests go by `with_context`, which is what this was at the last visit of the emitter.
        """
        return self._runtime.settings.context or instrumented()

    def _count(self) -> None:
        """Count the plain requests since room was last given."""
        plain = self._given - self.room
        self._given = self.room
        self._granted -= plain
        self._sample -= plain

    def _give(self) -> None:
        """Give room up to the next sample; threads that race for it may lose a request or two."""
        self._given = self.room = max(0, min(self._granted, self._sample - 1))

    def in_flight(self) -> int:
        """Return the number of requests in flight."""
        return self.active

    def forget(self) -> None:
        """Start again from nothing; in the child of a fork, too."""
        #: what a request that began before is told by
        self.life = object()
        #: requests in flight
        self.active = 0
        self.room = self._given = self._granted = 0
        #: whether requests get a context
        self.with_context = self.wants_context()
        self.looks = LOOKS if self._runtime.settings.queue_time else 0


def _method_id(method: Any) -> int:
    try:
        return METHOD_IDS.get(method, 0)
    except Exception:  # noqa: BLE001 - whatever the app has put there
        return 0


def number_of(status: Any) -> int:
    """Return what an app gave as its status as a number; 500 for what no server can send.

    Never raises.
    """
    try:
        return int(status)
    except Exception:  # noqa: BLE001 - whatever the app has put there
        return 500


def is_event_stream(headers: object, event_stream: tuple[AnyStr, AnyStr]) -> bool:
    """Tell by its headers whether a response is a stream of server-sent events."""
    # Anything else may be an iterator that the server has yet to go through.
    if type(headers) is not list and type(headers) is not tuple:
        return False
    wanted, beginning = event_stream
    try:
        return any(
            name.lower() == wanted and value.lower().startswith(beginning)
            for name, value in headers
        )
    except Exception:  # noqa: BLE001 - malformed headers are the server's to refuse
        return False
