"""WSGI bodies that are not lists: counted while the server takes them, booked at their end."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextvars import Token
from time import monotonic_ns
from typing import Any

from trimtab.context import RequestContext, current_context, reset_context
from trimtab.endings import WSGI_STREAM, Endings, is_event_stream
from trimtab.failure import NO_FAILURE, Failure, failure_of, is_a
from trimtab.recorder import UNKNOWN_SIZE
from trimtab.templates import Templates
from trimtab.types import Environ, WSGIHeaders
from trimtab_core.records import FLAG_FAILED, KIND_EVENT_STREAM

__all__ = ["OpenRequest", "measured_body"]


class OpenRequest:
    """A WSGI request that is not plain, from what the app returned or raised to its end.

    started returns what `start_response` was given so far: status code, route and headers.
    """

    __slots__ = ("_context", "_endings", "_environ", "_is_stream", "_kind", "_life", "_queue_us",
                 "_start", "_started", "_status", "_templates", "_token")  # fmt: skip

    def __init__(
        self,
        endings: Endings,
        templates: Templates,
        environ: Environ,
        started: Callable[[], tuple[int, str | None, WSGIHeaders]],
        start_ns: int,
        queue_us: int,
        context: RequestContext | None,
        token: Token[RequestContext | None] | None,
    ) -> None:
        self._endings, self._templates = endings, templates
        self._life = endings.life
        self._environ, self._started = environ, started
        self._start, self._queue_us = start_ns, queue_us
        self._context, self._token = context, token
        #: status that was booked, 0 before the end
        self._status = 0
        self._kind = 0
        self._is_stream = False

    @property
    def method(self) -> str:
        """Return the request's method."""
        method = self._environ.get("REQUEST_METHOD", "")
        # Not str(): what the app has put there may raise.
        return method if type(method) is str else ""

    def began(self) -> None:
        """Note that the first part of a body has left; an event stream is open from here."""
        self._kind = self._endings.stream_began(self._started()[2], WSGI_STREAM)

    def ended(
        self,
        status: int = 0,
        *,
        last_ns: int,
        first_ns: int = 0,
        flags: int = 0,
        size: int = 0,
        failure: Failure = NO_FAILURE,
        streams: bool = True,
    ) -> None:
        """Book the request, at its first call; status is 0 for the app's own.

        last_ns and first_ns are the times of the last and the first part, first_ns 0 where they
        are the same; streams is false for a body that is a list.
        """
        if self._status:
            return
        code, rule, headers = self._started()
        kind, endings = self._kind, self._endings
        endings.active -= 1
        endings.stream_ended(kind)
        if self._token is not None:
            reset_context(self._token)
        if kind or (streams and is_event_stream(headers, WSGI_STREAM)):
            # It ends when its client leaves, if not before: only a failure of the app is a fault.
            status = 500 if status == 500 or flags & FLAG_FAILED else code
            kind, flags = KIND_EVENT_STREAM, 0
        elif status == 499 and code >= 499:
            status = code
        self._status = status or code or 500
        endings.finish(
            self._environ, self._templates.wsgi(self._environ, rule), self.method, flags,
            self._status, (self._start, first_ns, last_ns), self._queue_us, size, self._context,
            kind, failure,
        )  # fmt: skip

    def dropped(self, **figures: Any) -> None:
        """Book a request whose body nobody holds any more, and nobody has closed; in a finalizer.

        Not one of the parent of a fork, which has it, too.
        """
        if self._status or self._life is not self._endings.life:
            return
        try:
            if current_context() is not self._context:
                # Another request's context is in its place by now.
                self._token = None
            status = 0 if self.method == "HEAD" else 499
            self.ended(status, last_ns=monotonic_ns(), **figures)
        except Exception:  # noqa: BLE001, S110 - the app would find it on its stderr
            pass

    def worked_on(self, duration_ns: int, *, failed: bool) -> None:
        """Book work of the app after the end: what its `close` did, if it was long or failed."""
        is_first_failure = failed and self._status < 500
        if self._status and (is_first_failure or duration_ns >= self._endings.background_ns):
            route = self._templates.wsgi(self._environ, self._started()[1])
            self._endings.background(route, self.method, self._status, duration_ns, failed=failed)


def measured_body(
    body: Iterable[bytes], request: OpenRequest, file_wrapper: Any
) -> Iterable[bytes]:
    """Return what the server takes in place of body, with its `len()` and `close()`."""
    if isinstance(body, (str, bytes)) or not _is_iterable(body):
        # No body of WSGI: the server refuses it, or knows what to do with it.
        request.ended(last_ns=monotonic_ns(), size=UNKNOWN_SIZE)
        return body
    if isinstance(file_wrapper, type) and isinstance(body, file_wrapper):
        return _closing_file(body, request)
    kind = _SizedBody if hasattr(type(body), "__len__") else _Body
    return kind(body, request)


def _is_iterable(body: object) -> bool:
    # As the interpreter looks: an app's body may raise when it is asked for an attribute.
    return hasattr(type(body), "__iter__") or hasattr(type(body), "__getitem__")


def _closing_file(body: Any, request: OpenRequest) -> Iterable[bytes]:
    # The server looks for its own type, to hand the file to the kernel: only close is ours.
    try:
        body.close = _FileClose(getattr(body, "close", None), request)
    except Exception:  # noqa: BLE001 - a wrapper that takes no attributes, and says so in its way
        request.ended(last_ns=monotonic_ns(), size=UNKNOWN_SIZE)
    return body  # type: ignore[no-any-return]


class _FileClose:
    """The `close` of a file that the server sends; it is all that we see of its end."""

    __slots__ = ("_close", "_request")

    def __init__(self, close: Callable[[], object] | None, request: OpenRequest) -> None:
        self._close, self._request = close, request

    def __call__(self) -> None:
        # Servers close in the `finally` or `except` of their sending: what broke it is there.
        broke = sys.exc_info()[1]
        try:
            if self._close is not None:
                self._close()
        finally:
            failed = broke is not None and is_a(broke, Exception) and not is_a(broke, OSError)
            self._request.ended(
                499 if broke is not None and not failed else 0,
                last_ns=monotonic_ns(),
                flags=FLAG_FAILED if failed else 0,
                size=UNKNOWN_SIZE,
                failure=failure_of(broke) if failed else NO_FAILURE,
            )

    def __del__(self) -> None:
        self._request.dropped(size=UNKNOWN_SIZE)


class _Body:
    __slots__ = ("_body", "_first", "_iterator", "_request", "_size")

    def __init__(self, body: Iterable[bytes], request: OpenRequest) -> None:
        self._body = body
        self._request = request
        self._iterator: Iterator[bytes] | None = None
        self._first = self._size = 0

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        iterator = self._iterator
        try:
            if iterator is None:
                iterator = self._iterator = iter(self._body)
            part = next(iterator)
        except StopIteration:
            self._end(0)
            raise
        except BaseException as error:
            # Before the first byte has left, the server answers with its own 500.
            self._end(0 if self._size else 500, FLAG_FAILED, failure_of(error))
            raise
        if not self._first:
            self._first = monotonic_ns()
            self._request.began()
        try:
            self._size += len(part)
        except Exception:  # noqa: BLE001, S110 - no bytes: the server's to refuse
            pass
        return part

    def _end(self, status: int, flags: int = 0, failure: Failure = NO_FAILURE) -> None:
        whole = status != 500
        self._request.ended(
            status,
            last_ns=monotonic_ns(),
            first_ns=self._first if whole else 0,
            flags=flags if whole else 0,
            size=self._size,
            failure=failure,
        )

    def close(self) -> None:
        """Close the app's body; a body that was not taken to its end is a client that left."""
        began = monotonic_ns()
        failed = True
        try:
            close = getattr(self._body, "close", None)
            if close is not None:
                close()
            failed = False
        finally:
            self._request.worked_on(monotonic_ns() - began, failed=failed)
            left = self._iterator is not None and self._request.method != "HEAD"
            self._end(499 if left else 0)

    def __del__(self) -> None:
        self._request.dropped(first_ns=self._first, size=self._size)


class _SizedBody(_Body):
    __slots__ = ()

    def __len__(self) -> int:
        return len(self._body)  # type: ignore[arg-type]
