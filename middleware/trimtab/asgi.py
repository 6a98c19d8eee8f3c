"""The ASGI middleware: one closure around the app, one packed record per request.

A plain request reads the clock three times, takes the route that the framework has matched, and
appends 48 bytes; nothing is encoded, locked, logged or sent there (`./dev bench overhead`). What
is plain, and what happens to the rest, is in `trimtab.endings`.

How a request is counted:
- duration: entry to the last body byte handed to the server; work after it has a record of its own
  when it takes 10 ms or fails;
- 500: an exception before the response started, no response at all, or a status that is no number;
- 499: the client left: cancelled, closed, ClientDisconnect, an OSError once the response had
  started, or a return without the last body;
- any other exception after the start keeps the status that was sent and is flagged as failed;
- an event stream (`text/event-stream`) is not a request: its record says how long it was open.
"""

# Inner functions are made for each request: their annotations must not be evaluated there.
from __future__ import annotations

import sys
from collections.abc import Awaitable, Mapping
from time import monotonic_ns
from typing import Any

from trimtab.context import RequestContext, context_variable, reset_context
from trimtab.endings import ASGI_STREAM, Endings, is_event_stream, number_of
from trimtab.exclude import excluding
from trimtab.face import Face, asgi3
from trimtab.failure import NO_FAILURE, failure_of, is_a
from trimtab.headers import with_request_id, with_server_timing
from trimtab.queueing import FOREVER, look_for_queue
from trimtab.recorder import PLAIN, UNKNOWN_SIZE
from trimtab.runtime import Runtime, runtime_for
from trimtab.scopes import other_scopes
from trimtab.settings import read_settings
from trimtab.shutdown import hook_uvicorn
from trimtab.templates import CELL_KEY, Templates, hook_frameworks
from trimtab.types import ASGIApp, Message, Receive, Scope, Send
from trimtab_core.records import FLAG_FAILED, KIND_EVENT_STREAM, METHOD_IDS

__all__ = ["Middleware", "wrap"]

#: Set in the scope by the outermost wrapper, so that an inner one lets the request pass. The value
#: is a list shared by all copies of the scope: code that routes on a copy puts the template there.
_SEEN = CELL_KEY
_NOTHING: Message = {}


class Middleware(Face):
    """Wrap an ASGI application: `app = Middleware(app)`, or `add_middleware(Middleware)`.

    Keyword arguments are the fields of `trimtab.AppSettings` and go before the environment. Nothing
    is started before the first request or the server's lifespan. Safe in any number of worker
    processes, forked or spawned; wrapping twice measures once.
    """

    def __init__(self, app: ASGIApp, *more: Any, **settings: Any) -> None:
        # `more` is there for the type of Starlette's add_middleware, which asks for both.
        if more:
            raise TypeError(f"settings of Middleware are given by name, got {more!r:.80}")
        self.app = app
        self._settings = settings
        served: ASGIApp = asgi3(app)
        resolved = read_settings(**settings)
        self._call = wrap(served, runtime_for(resolved)) if resolved.enabled else served

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._call(scope, receive, send)


def wrap(app: ASGIApp, runtime: Runtime) -> ASGIApp:
    """Return the measuring closure around app; only the features that are on cost anything.

    It is long because what runs in every request stays in one function: its local names are the
    cheapest to reach, and a call more per request is a tenth of what measuring costs.
    """
    hook_frameworks()
    hook_uvicorn()
    settings, recorder = runtime.settings, runtime.recorder
    server_timing, request_id = settings.server_timing, settings.request_id
    templates = Templates(recorder.routes)
    endings = Endings(runtime, _traceparent)
    resolve, other = templates.asgi, other_scopes(app, runtime, templates, endings)
    finish, background_ns, slow_ns = endings.finish, endings.background_ns, endings.slow_ns
    # recorder.buffer is one object for the life of the process.
    clock, pack, append = monotonic_ns, PLAIN.pack, recorder.buffer.extend
    set_context, method_ids = context_variable.set, METHOD_IDS

    async def trimtab_asgi(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or _SEEN in scope:
            await other(scope, receive, send)
            return
        scope[_SEEN] = []
        status = first = last = size = flags = queue_us = kind = late = 0
        started: Message = _NOTHING
        context: RequestContext | None = None
        failure = NO_FAILURE

        def send_measured(message: Message) -> Awaitable[None]:
            nonlocal status, first, last, size, started, kind
            try:
                what = message["type"]
                if what == "http.response.body":
                    if "body" in message:
                        size += len(message["body"])
                    if "more_body" not in message or not message["more_body"]:
                        last = clock()
                    elif not first:
                        first = clock()
                        kind = endings.stream_began(started.get("headers"), ASGI_STREAM)
                elif what == "http.response.start":
                    status = message["status"]
                    started = message
                    if server_timing:
                        message = with_server_timing(message, clock() - start, queue_us, context)
                elif what in _ENDS:
                    last, size = _unusual_end(message, last, size)
            except Exception:  # noqa: BLE001, S110 - a malformed message is the server's to refuse
                pass
            return send(message)

        start = clock()
        if endings.looks:
            queue_us = look_for_queue(scope.get("headers"))
            endings.looks = FOREVER if queue_us >= 0 else endings.looks - 1
        if request_id:
            send = with_request_id(send, scope.get("headers"))
        if endings.with_context:
            context = RequestContext()
            token = set_context(context)
        # Last: what is raised before, for want of memory or by a signal handler, counts nothing.
        endings.active += 1
        try:
            await app(scope, receive, send_measured)
        except BaseException as error:
            failure = failure_of(error)
            if not last or failure.type == _LEFT:
                # The latter also behind the 500 that a framework answered nobody with.
                status, flags = _outcome(error, status)
            else:
                late = _is_late_failure(error, status)
            raise
        finally:
            end = clock()
            endings.active -= 1
            if context is not None:
                reset_context(token)
            if kind or not last:
                endings.stream_ended(kind)
                status, flags, kind = _without_end(status, flags, kind, started)
                last = last or end
            plain = False
            try:
                if (
                    endings.room > 0
                    and not (first or flags or kind or queue_us > 0)
                    and status < 500
                    and last - start < slow_ns
                    and (context is None or not context.touched)
                ):
                    if "route" in scope:
                        known = scope["route"].trimtab_route
                        route = known[1].id if known[0] == scope["root_path"] else resolve(scope)
                    else:
                        route = resolve(scope)
                    method = method_ids[scope["method"]]
                    append(pack(route, method, status, (last - start) // 1000, size))
                    endings.room -= 1
                    plain = True
            except Exception:  # noqa: BLE001, S110 - what does not fit a plain record; never raises
                pass
            if not plain:
                finish(
                    scope, resolve(scope), scope.get("method", ""), flags, status,
                    (start, first, last), queue_us, size, context, kind, failure,
                )  # fmt: skip
            if late or end - last >= background_ns:
                endings.background(
                    resolve(scope), scope.get("method", ""), status, end - last,
                    failed=failure.type not in _NO_FAILURES,
                )  # fmt: skip

    recorder.attach(trimtab_asgi, endings)
    return excluding(settings.exclude, app, trimtab_asgi) if settings.exclude else trimtab_asgi


#: Exception by which frameworks say that the client left.
_LEFT = "ClientDisconnect"
#: How work after the last byte ends that did not fail: by itself, or as the server or client went.
_NO_FAILURES = {"", _LEFT, "CancelledError", "GeneratorExit"}
_ENDS = {"http.response.trailers", "http.response.pathsend", "http.response.zerocopysend"}


def _unusual_end(message: Message, last: int, size: int) -> tuple[int, int]:
    """Time of the last byte and size after a message of the ASGI extensions."""
    more = message.get("more_trailers", False) or message.get("more_body", False)
    if message["type"] != "http.response.trailers":
        size = UNKNOWN_SIZE
    return last if more else monotonic_ns(), size


def _without_end(status: Any, flags: int, kind: int, started: Message) -> tuple[Any, int, int]:
    """Status, flags and kind of an event stream, or of a response whose last byte did not come."""
    began_with, headers = _start_of(started)
    if kind or is_event_stream(headers, ASGI_STREAM):
        # It ends when its client leaves, if not before: only a failure of the app is a fault.
        return 500 if flags & FLAG_FAILED else began_with, 0, KIND_EVENT_STREAM
    status = number_of(status)
    if flags or status >= 499:
        return status, flags, 0
    return 499 if status else 500, 0, 0


def _start_of(started: Message) -> tuple[int, object]:
    """Return status and headers of a start message, whatever the app has put there."""
    try:
        return number_of(started.get("status")), started.get("headers")
    except Exception:  # noqa: BLE001 - a malformed message is the server's to refuse
        return 500, None


def _outcome(error: BaseException, status: Any) -> tuple[int, int]:
    """Status and flags of a request that an exception ended before its last byte."""
    status = number_of(status)
    if _is_cancelled(error) or type(error).__name__ == _LEFT:
        return 499, 0
    if not status:
        return 500, 0
    if is_a(error, OSError):
        return 499, 0
    return status, FLAG_FAILED


def _is_late_failure(error: BaseException, status: Any) -> bool:
    """Tell whether an exception after the last byte is to be booked, however soon it came.

    A framework raises again what it answered with a 500; an OSError may be that of the server's
    `send`, whose client left.
    """
    if type(error).__name__ in _NO_FAILURES or is_a(error, OSError):
        return False
    return number_of(status) < 500


def _is_cancelled(error: BaseException) -> bool:
    # The server closes the coroutine of a request that it leaves behind when it stops.
    if is_a(error, GeneratorExit):
        return True
    # Who was cancelled has asyncio loaded; importing it here would double the time of our import.
    asyncio = sys.modules.get("asyncio")
    return asyncio is not None and is_a(error, asyncio.CancelledError)


def _traceparent(scope: Mapping[str, Any]) -> str:
    headers = scope.get("headers")
    # Anything else may be an iterator that the server has yet to go through.
    if type(headers) is not list and type(headers) is not tuple:
        return ""
    return next((value.decode("latin-1") for key, value in headers if key == b"traceparent"), "")
