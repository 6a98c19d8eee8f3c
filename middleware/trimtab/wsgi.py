"""The WSGI middleware: the same record for synchronous apps.

The server keeps what it optimises on: a list or tuple is returned as it is, a file wrapper stays
the server's own, `len()` and `close()` of a body are there when the app's body has them. The
duration ends with the last part handed to the server; what `close` does after it has a record of
its own. Bytes that an app hands to the `write` of PEP 3333 are not counted: looking at them would
cost each request 0.2 us.
"""

# Inner functions are made for each request: their annotations must not be evaluated there.
from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextvars import Token
from functools import partial
from time import monotonic_ns
from typing import Any

from trimtab.bodies import OpenRequest, measured_body
from trimtab.context import RequestContext, context_variable, reset_context
from trimtab.endings import Endings
from trimtab.exclude import excluding_wsgi
from trimtab.face import Face
from trimtab.failure import failure_of
from trimtab.headers import new_request_id, server_timing, valid_request_id
from trimtab.queueing import queue_time_us
from trimtab.recorder import PLAIN
from trimtab.runtime import Runtime, runtime_for
from trimtab.settings import AppSettings, read_settings
from trimtab.templates import ENVIRON_KEY, Templates, flask_rule, hook_frameworks
from trimtab.types import Environ, StartResponse, WSGIApp, WSGIHeaders
from trimtab_core.records import METHOD_IDS

__all__ = ["WSGIMiddleware", "wrap_wsgi"]

#: Set in environ by the outermost wrapper, so that an inner one lets the request pass.
_SEEN = ENVIRON_KEY


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

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        return self._call(environ, start_response)


def wrap_wsgi(app: WSGIApp, runtime: Runtime) -> WSGIApp:
    """Return the measuring closure around app; the plain case is a list body without extras.

    It is long for the same reason as `trimtab.asgi.wrap`.
    """
    hook_frameworks()
    settings, recorder = runtime.settings, runtime.recorder
    templates = Templates(recorder.routes)
    route_of, queue_time = templates.wsgi, settings.queue_time
    endings = Endings(runtime, _traceparent)
    opened, slow_ns = partial(OpenRequest, endings, templates), endings.slow_ns
    decorates = settings.server_timing or settings.request_id
    clock, pack, append = monotonic_ns, PLAIN.pack, recorder.buffer.extend
    set_context, method_ids, codes = context_variable.set, METHOD_IDS, _Codes()

    def trimtab_wsgi(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if _SEEN in environ:
            return app(environ, start_response)
        script_name = environ.get("SCRIPT_NAME", "")
        environ[_SEEN] = cell = [script_name]
        code = queue_us = size = 0
        given: WSGIHeaders = []
        rule: str | None = None
        context: RequestContext | None = None
        token: Token[RequestContext | None] | None = None

        def start_measured(status: str, headers: WSGIHeaders, exc_info: Any = None) -> Any:
            nonlocal code, rule, given
            given = headers
            try:
                code = codes[status]
                if "werkzeug.request" in environ or len(cell) > 1:
                    rule = flask_rule(environ, script_name)
            except Exception:  # noqa: BLE001 - neither is worth a failed request
                code = code or 0
            if decorates:
                try:
                    took_ns = clock() - start
                    headers = _decorated(headers, environ, took_ns, queue_us, settings, context)
                except Exception:  # noqa: BLE001, S110 - malformed headers are the server's to refuse
                    pass
            if exc_info is None:
                return start_response(status, headers)
            return start_response(status, headers, exc_info)

        if queue_time:
            value = environ.get("HTTP_X_REQUEST_START") or environ.get("HTTP_X_QUEUE_START")
            if value is not None:
                queue_us = queue_time_us(value)
        start = clock()
        if endings.with_context:
            context = RequestContext()
            token = set_context(context)
        endings.active += 1
        try:
            body = app(environ, start_measured)
        except BaseException as error:
            request = opened(environ, lambda: (code, rule, given), start, queue_us, context, token)
            request.ended(500, last_ns=clock(), failure=failure_of(error), streams=False)
            raise
        is_list = type(body) is list or type(body) is tuple
        last = clock()
        if is_list:
            try:
                for part in body:
                    size += len(part)
                if (
                    endings.room > 0
                    and 0 < code < 500
                    and last - start < slow_ns
                    and not queue_us
                    and (context is None or not context.touched)
                ):
                    method = method_ids[environ["REQUEST_METHOD"]]
                    route, took_us = route_of(environ, rule), (last - start) // 1000
                    append(pack(route, method, code, took_us, size))
                    endings.room -= 1
                    endings.active -= 1
                    if token is not None:
                        reset_context(token)
                    return body
            except Exception:  # noqa: BLE001, S110 - what does not fit a plain record; never raises
                pass
        request = opened(environ, lambda: (code, rule, given), start, queue_us, context, token)
        if is_list:
            request.ended(last_ns=last, size=size, streams=False)
            return body
        return measured_body(body, request, environ.get("wsgi.file_wrapper"))

    recorder.attach(trimtab_wsgi, endings)
    if settings.exclude:
        return excluding_wsgi(settings.exclude, app, trimtab_wsgi)
    return trimtab_wsgi


def _traceparent(environ: Mapping[str, Any]) -> str:
    return str(environ.get("HTTP_TRACEPARENT", ""))


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
    headers: WSGIHeaders,
    environ: Environ,
    elapsed_ns: int,
    queue_us: int,
    settings: AppSettings,
    context: RequestContext | None,
) -> WSGIHeaders:
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
