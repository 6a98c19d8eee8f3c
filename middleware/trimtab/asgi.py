"""The ASGI middleware: one closure around the app, one packed record a request.

The path of a request reads the clock three times, takes the route that the framework has matched,
and appends 48 bytes; nothing is encoded, locked, logged or sent there (`./dev bench overhead`).
Whatever is not the plain case leaves by an exception into `Recorder.append`, so that the plain
case pays for no question it need not ask.

What counts as what:
- duration: entry to the last body byte handed to the server; work after it is its own record;
- 500: an exception before the response started, or no response at all;
- 499: the client left: cancelled, ClientDisconnect, an OSError once the response had started, or
  a return without the last body;
- any other exception after the start keeps the status that was sent and is flagged as failed;
- an event stream (`text/event-stream`) is no request: its record says how long it was open.
"""

# Inner functions are made for each request: their annotations must not be evaluated there.
from __future__ import annotations

import sys
from collections.abc import Awaitable
from time import monotonic_ns
from typing import Any

from trimtab.captures import Captures, Finished
from trimtab.context import RequestContext, context_variable, reset_context
from trimtab.exclude import excluding
from trimtab.face import Face, asgi3
from trimtab.headers import with_request_id, with_server_timing
from trimtab.instrumentation import instrumented
from trimtab.queueing import FOREVER, LOOKS, look_for_queue
from trimtab.recorder import BACKGROUND_NS, PLAIN, UNKNOWN_SIZE, Gate
from trimtab.runtime import Runtime, runtime_for
from trimtab.scopes import ASGIApp, Message, Receive, Scope, Send, other_scopes
from trimtab.settings import read_settings
from trimtab.shutdown import hook_uvicorn
from trimtab.templates import CELL_KEY, Templates, hook_frameworks
from trimtab_core.records import FLAG_FAILED, KIND_EVENT_STREAM, METHOD_IDS

__all__ = ["ASGIApp", "Middleware", "Receive", "Scope", "Send"]

#: Set in the scope by the outermost wrapper, so that an inner one lets the request pass. The value
#: is a list: who routes on a copy of the scope leaves the template in it.
_SEEN = CELL_KEY
_NOTHING: Message = {}


class Middleware(Face):
    """Wrap an ASGI application: `app = Middleware(app)`, or `add_middleware(Middleware)`.

    Keyword arguments are the fields of `trimtab.Settings` and go before the environment. Nothing
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
    """Return the measuring closure around app; only the features that are on cost anything."""
    hook_frameworks()
    hook_uvicorn()
    settings = runtime.settings
    recorder = runtime.recorder
    server_timing, request_id = settings.server_timing, settings.request_id
    captures = Captures(settings.slow_request_ms, settings.capture_share)
    slow_ns = captures.slow_ns
    set_context = context_variable.set
    # Names in the closure are the cheapest to reach; recorder.buffer is one object for ever.
    clock, pack, append = monotonic_ns, PLAIN.pack, recorder.buffer.extend
    method_ids = METHOD_IDS
    templates = Templates(recorder.routes.id_of)
    resolve = templates.asgi
    other = other_scopes(app, runtime, templates)
    # State of the closure, shared with the recorder through the functions of `Gate`.
    active = room = looks = 0
    with_slot = settings.context
    sample = captures.next_sample()

    async def trimtab_asgi(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal active, room, looks, sample
        if scope["type"] != "http" or _SEEN in scope:
            await other(scope, receive, send)
            return
        scope[_SEEN] = []
        status = first = last = size = flags = queue_us = kind = 0
        started: Message = _NOTHING
        context: RequestContext | None = None
        failure = ""

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
                        if _is_event_stream(started):
                            kind = KIND_EVENT_STREAM
                            recorder.event_streams += 1
                elif what == "http.response.start":
                    status = message["status"]
                    started = message
                    if server_timing:
                        message = with_server_timing(message, clock() - start, queue_us, context)
                elif what in _ENDS:
                    last, size = _unusual_end(message, last, size)
            except Exception:  # noqa: BLE001, S110 - what is no message is the server's to refuse
                pass
            return send(message)

        active += 1
        start = clock()
        if looks:
            queue_us = look_for_queue(scope.get("headers"))
            looks = FOREVER if queue_us >= 0 else looks - 1
        if request_id:
            send = with_request_id(send, scope.get("headers"))
        if with_slot:
            context = RequestContext()
            token = set_context(context)
        try:
            await app(scope, receive, send_measured)
        except BaseException as error:
            failure = type(error).__name__
            if not last or type(error).__name__ == "ClientDisconnect":
                # The latter also behind the 500 that a framework answered nobody with.
                status, flags = _outcome(error, status)
            elif clock() - last >= BACKGROUND_NS:
                flags = _BACKGROUND_FAILED
            raise
        finally:
            end = clock()
            active -= 1
            if context is not None:
                reset_context(token)
            if kind or (not last and _is_event_stream(started)):
                if kind:
                    recorder.event_streams -= 1
                kind = KIND_EVENT_STREAM
                # It ends when its client leaves, if not before: only the app's failing is a fault.
                status = 500 if flags & FLAG_FAILED else started["status"]
                flags &= _BACKGROUND_FAILED
                last = last or end
            elif not last:
                last = end
                status = status if flags or not _is_unfinished(status) else 499 if status else 500
            try:
                if (
                    room <= 0
                    or queue_us > 0
                    or flags
                    or first
                    or kind
                    or (context and context.touched)
                ):
                    raise OverflowError
                known = scope["route"].trimtab_route
                if known[0] != scope["root_path"]:
                    raise LookupError
                method = method_ids[scope["method"]]
                append(pack(known[1], method, status, (last - start) // 1000, size))
                room -= 1
            except Exception:  # noqa: BLE001 - whatever is not the plain case; it never raises
                recorder.append(
                    resolve(scope),
                    method_ids.get(scope.get("method", ""), 0),
                    flags & 0xFF,
                    status,
                    last - start,
                    (first or last) - start,
                    queue_us,
                    size,
                    context,
                    kind,
                )
                if recorder.asleep:
                    runtime.wake()
            sample -= 1
            try:
                took = last - start
                if sample <= 0 or took >= slow_ns or status >= 500 or (context and context.notes):
                    template = recorder.routes.template(resolve(scope))
                    traceparent = _header(scope.get("headers"), b"traceparent")
                    method = scope.get("method", "")
                    what = Finished(template, method, status, start, took, queue_us, kind, failure)
                    captures.finish(what, context, traceparent, sampled=sample <= 0)
                    if sample <= 0:
                        sample = captures.next_sample()
            except Exception:  # noqa: BLE001, S110 - a request is worth more than its capture
                pass
            if end - last >= BACKGROUND_NS:
                failed = FLAG_FAILED if flags & _BACKGROUND_FAILED else 0
                method = method_ids.get(scope.get("method", ""), 0)
                recorder.append_background(resolve(scope), method, failed, status, end - last)

    def grant(records: int) -> None:
        nonlocal room, looks, with_slot
        room = records
        with_slot = settings.context or instrumented()
        if settings.queue_time and not looks:
            looks = 1

    def in_flight() -> int:
        return active

    def forget() -> None:
        nonlocal active, room, looks, with_slot
        active = room = 0
        with_slot = settings.context or instrumented()
        looks = LOOKS if settings.queue_time else 0

    forget()
    recorder.attach(trimtab_asgi, Gate(grant, in_flight, forget))
    return excluding(settings.exclude, app, trimtab_asgi) if settings.exclude else trimtab_asgi


_ENDS = {"http.response.trailers", "http.response.pathsend", "http.response.zerocopysend"}


def _unusual_end(message: Message, last: int, size: int) -> tuple[int, int]:
    """Time of the last byte and size after a message of the ASGI extensions."""
    more = message.get("more_trailers", False) or message.get("more_body", False)
    if message["type"] != "http.response.trailers":
        size = UNKNOWN_SIZE
    return last if more else monotonic_ns(), size


def _is_event_stream(started: Message) -> bool:
    """Tell by its start message whether a response is of server-sent events."""
    headers = started.get("headers")
    # Anything else may be an iterator that the server has yet to go through.
    if type(headers) is not list and type(headers) is not tuple:
        return False
    try:
        return any(
            name.lower() == b"content-type" and value.lower().startswith(b"text/event-stream")
            for name, value in headers
        )
    except Exception:  # noqa: BLE001 - headers that are none are the server's to refuse
        return False


def _header(headers: object, name: bytes) -> str:
    # Anything else may be an iterator that the server has yet to go through.
    if type(headers) is not list and type(headers) is not tuple:
        return ""
    return next((value.decode("latin-1") for key, value in headers if key == name), "")


def _is_unfinished(status: Any) -> bool:
    """Tell whether a response with this status that has no end is a client that left."""
    return not isinstance(status, int) or status < 499


#: Above the eight bits that travel: the work after the last byte ended in an exception.
_BACKGROUND_FAILED = 0x100


def _outcome(error: BaseException, status: int) -> tuple[int, int]:
    """Status and flags of a request that an exception ended before its last byte."""
    if _is_cancelled(error) or type(error).__name__ == "ClientDisconnect":
        return 499, 0
    if not status:
        return 500, 0
    if isinstance(error, OSError):
        return 499, 0
    return status, FLAG_FAILED


def _is_cancelled(error: BaseException) -> bool:
    # Who was cancelled has asyncio loaded; importing it here would double the time of our import.
    asyncio = sys.modules.get("asyncio")
    return asyncio is not None and isinstance(error, asyncio.CancelledError)
