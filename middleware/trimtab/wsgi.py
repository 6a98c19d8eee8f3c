"""The WSGI middleware: the same record for synchronous apps.

The server keeps what it optimises on: a list or tuple is returned as it is, a file wrapper stays
the server's own, `len()` and `close()` of a body are there when the app's body has them. The
duration ends with the last part handed to the server. Bytes that an app hands to the `write` of
PEP 3333 are not counted: looking at them would cost each request 0.2 us.
"""

# Inner functions are made for each request: their annotations must not be evaluated there.
from __future__ import annotations

from collections.abc import Callable, Iterable
from time import monotonic_ns
from typing import Any

from trimtab.bodies import measured_body
from trimtab.captures import Captures, Finished
from trimtab.context import RequestContext, context_variable, reset_context
from trimtab.exclude import excluding_wsgi
from trimtab.face import Face
from trimtab.headers import new_request_id, server_timing, valid_request_id
from trimtab.instrumentation import instrumented
from trimtab.queueing import queue_time_us
from trimtab.recorder import PLAIN, Gate
from trimtab.runtime import Runtime, runtime_for
from trimtab.settings import AppSettings, read_settings
from trimtab.templates import Templates, flask_rule, hook_frameworks
from trimtab_core.records import FLAG_FAILED, KIND_EVENT_STREAM, METHOD_IDS

__all__ = ["WSGIApp", "WSGIMiddleware", "wrap_wsgi"]

Environ = dict[str, Any]
_Headers = list[tuple[str, str]]
WSGIApp = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]
#: With a dot, as whatever is no text in environ must have (wsgiref.validate insists).
_SEEN = "trimtab.seen"


class WSGIMiddleware(Face):
    """Wrap a WSGI application: `application = WSGIMiddleware(application)`.

    Keyword arguments are the fields of `trimtab.AppSettings`. Thread-safe; wrapping twice measures
    once.
    """

    def __init__(self, app: WSGIApp, **settings: Any) -> None:
        self.app = app
        self._settings = settings
        resolved = read_settings(**settings)
        self._call = wrap_wsgi(app, runtime_for(resolved)) if resolved.enabled else app

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        return self._call(environ, start_response)


def wrap_wsgi(app: WSGIApp, runtime: Runtime) -> WSGIApp:
    """Return the measuring closure around app; the plain case is a list body without extras."""
    hook_frameworks()
    settings = runtime.settings
    recorder = runtime.recorder
    templates = Templates(recorder.routes.id_of)
    queue_time, with_slot = settings.queue_time, settings.context
    captures = Captures(settings.slow_request_ms, settings.capture_share)
    slow_ns, slow_us = captures.slow_ns, captures.slow_ns // 1000
    sample = captures.next_sample()
    decorates = settings.server_timing or settings.request_id
    clock, pack, append = monotonic_ns, PLAIN.pack, recorder.buffer.extend
    method_ids, codes = METHOD_IDS, _Codes()
    active = room = 0

    def trimtab_wsgi(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        nonlocal active, room, sample
        if _SEEN in environ:
            return app(environ, start_response)
        script_name = environ.get("SCRIPT_NAME", "")
        environ[_SEEN] = cell = [script_name]
        code = queue_us = kind = 0
        streams = False
        started: _Headers = []
        rule: str | None = None
        context: RequestContext | None = None
        failure = ""

        def start_measured(status: str, headers: _Headers, exc_info: Any = None) -> Any:
            nonlocal code, rule, started
            started = headers
            try:
                code = codes[status]
                if "werkzeug.request" in environ or len(cell) > 1:
                    rule = flask_rule(environ, script_name)
            except Exception:  # noqa: BLE001 - neither is worth a failed request
                code = code or 0
            if decorates:
                headers = _decorated(headers, environ, clock() - start, queue_us, settings, context)
            if exc_info is None:
                return start_response(status, headers)
            return start_response(status, headers, exc_info)

        if queue_time:
            value = environ.get("HTTP_X_REQUEST_START") or environ.get("HTTP_X_QUEUE_START")
            if value is not None:
                queue_us = queue_time_us(value)
        active += 1
        start = clock()
        if with_slot:
            context = RequestContext()
            token = context_variable.set(context)
        done = False

        def finish(own: int, flags: int, first: int, size: int) -> None:
            nonlocal active, done, kind, sample
            if done:
                return
            done = True
            end = clock()
            active -= 1
            if context is not None:
                reset_context(token)
            if kind:
                recorder.event_streams -= 1
            elif streams and _is_event_stream(started):
                kind = KIND_EVENT_STREAM
            if kind:
                # It ends when its client leaves, if not before: only the app's failing is a fault.
                own = 500 if own == 500 or flags & FLAG_FAILED else code
                flags = 0
            booked = own if own != 499 or code < 499 else code
            recorder.append(
                templates.wsgi(environ, rule),
                method_ids.get(environ.get("REQUEST_METHOD", ""), 0),
                flags,
                booked or code or 500,
                end - start,
                (first or end) - start,
                queue_us,
                size,
                context,
                kind,
            )
            if recorder.asleep:
                runtime.wake()
            try:
                status, took = booked or code or 500, end - start
                if sample <= 0 or took >= slow_ns or status >= 500 or (context and context.notes):
                    template = recorder.routes.template(templates.wsgi(environ, rule))
                    method = environ.get("REQUEST_METHOD", "")
                    what = Finished(template, method, status, start, took, queue_us, kind, failure)
                    traceparent = environ.get("HTTP_TRACEPARENT", "")
                    captures.finish(what, context, traceparent, sampled=sample <= 0)
                    if sample <= 0:
                        sample = captures.next_sample()
            except Exception:  # noqa: BLE001, S110 - a request is worth more than its capture
                pass

        try:
            body = app(environ, start_measured)
        except BaseException as error:
            failure = type(error).__name__
            finish(500, 0, 0, 0)
            raise
        if type(body) is not list and type(body) is not tuple:
            streams = True
            if _is_event_stream(started):
                kind = KIND_EVENT_STREAM
                recorder.event_streams += 1
            wrapper = environ.get("wsgi.file_wrapper")
            return measured_body(body, finish, wrapper, environ.get("REQUEST_METHOD", ""))
        try:
            size = 0
            for part in body:
                size += len(part)
            sample -= 1
            duration_us = (clock() - start) // 1000
            if (
                room <= 0
                or queue_us
                or not 0 < code < 500
                or sample <= 0
                or duration_us >= slow_us
                or (context is not None and context.touched)
            ):
                raise OverflowError
            method = method_ids[environ["REQUEST_METHOD"]]
            append(pack(templates.wsgi(environ, rule), method, code, duration_us, size))
            room -= 1
            active -= 1
            done = True
            if context is not None:
                reset_context(token)
        except Exception:  # noqa: BLE001 - whatever is not the plain case; it never raises
            finish(0, 0, 0, size)
        return body

    def grant(records: int) -> None:
        nonlocal room, with_slot
        room = records
        with_slot = settings.context or instrumented()

    def in_flight() -> int:
        return active

    def forget() -> None:
        nonlocal active, room, with_slot
        active = room = 0
        with_slot = settings.context or instrumented()

    forget()
    recorder.attach(trimtab_wsgi, Gate(grant, in_flight, forget))
    if settings.exclude:
        return excluding_wsgi(settings.exclude, _SEEN, app, trimtab_wsgi)
    return trimtab_wsgi


def _is_event_stream(headers: _Headers) -> bool:
    try:
        return any(
            name.lower() == "content-type" and value.lower().startswith("text/event-stream")
            for name, value in headers
        )
    except Exception:  # noqa: BLE001 - headers that are none are the server's to refuse
        return False


class _Codes(dict[str, int]):
    """Status codes by the status lines that apps use, 0 for a line without one."""

    def __missing__(self, line: str) -> int:
        try:
            code = int(line[:3])
        except (ValueError, TypeError):
            code = 0
        if len(self) < 1000:
            self[line] = code
        return code


def _decorated(
    headers: _Headers,
    environ: Environ,
    elapsed_ns: int,
    queue_us: int,
    settings: AppSettings,
    context: RequestContext | None,
) -> _Headers:
    if not isinstance(headers, list):
        return headers  # the server's to refuse
    headers = list(headers)
    if settings.request_id:
        given = str(environ.get("HTTP_X_REQUEST_ID", "")).encode("latin-1", "replace")
        own = given if valid_request_id(given) else new_request_id()
        headers = [header for header in headers if header[0].lower() != "x-request-id"]
        headers.append(("X-Request-ID", own.decode("ascii")))
    if settings.server_timing:
        value = server_timing(elapsed_ns, queue_us, context)
        headers.append(("Server-Timing", value.decode("ascii")))
    return headers
