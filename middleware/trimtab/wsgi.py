"""The WSGI middleware: the same record for synchronous apps.

The server keeps what it optimises on: a list or tuple is returned as it is, a file wrapper stays
the server's own, `len()` and `close()` of a body are there when the app's body has them. The
duration ends with the last part handed to the server. Bytes that an app hands to the `write` of
PEP 3333 are not counted: looking at them would cost each request 0.2 us.
"""

# Inner functions are made for each request: their annotations must not be evaluated there.
from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from time import monotonic_ns
from typing import Any

from trimtab.headers import new_request_id, server_timing, valid_request_id
from trimtab.queueing import queue_time_us
from trimtab.recorder import UNKNOWN_SIZE
from trimtab.runtime import Runtime, runtime_for
from trimtab.settings import read_settings
from trimtab.slot import Slot, slot_variable
from trimtab.templates import Templates, flask_rule, hook_django
from trimtab_core.records import (
    FLAG_FAILED,
    METHOD_IDS,
)

__all__ = ["WSGIApp", "WSGIMiddleware", "wrap_wsgi"]

Environ = dict[str, Any]
WSGIApp = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]
#: With a dot, as whatever is no text in environ must have (wsgiref.validate insists).
_SEEN = "trimtab.seen"


class WSGIMiddleware:
    """Wrap a WSGI application: `application = WSGIMiddleware(application)`.

    Keyword arguments are the fields of `trimtab.Settings`. Thread-safe; wrapping twice measures
    once.
    """

    def __init__(self, app: WSGIApp, **settings: Any) -> None:
        self.app = app
        resolved = read_settings(**settings)
        self._call = wrap_wsgi(app, runtime_for(resolved)) if resolved.enabled else app

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        return self._call(environ, start_response)

    def __getattr__(self, name: str) -> Any:
        if name == "app":
            raise AttributeError(name)
        return getattr(self.app, name)


class _Request:
    """One request on its way through the wrapper."""

    __slots__ = (
        "environ", "first", "flags", "queue_us", "rule", "runtime", "script_name", "size", "slot",
        "start", "status", "templates", "token",
    )  # fmt: skip

    def __init__(self, environ: Environ, runtime: Runtime, templates: Templates) -> None:
        self.environ = environ
        self.runtime = runtime
        self.templates = templates
        self.script_name = environ.get("SCRIPT_NAME", "")
        self.rule: str | None = None
        self.status = self.first = self.size = self.flags = self.queue_us = 0
        self.slot: Slot | None = None
        self.token: Any = None
        self.start = 0

    def finish(self, status: int | None = None) -> None:
        """Append the record, once; status overrides what the app said."""
        start, self.start = self.start, 0
        if not start:
            return
        end = monotonic_ns()
        recorder = self.runtime.recorder
        recorder.active -= 1
        if self.token is not None:
            try:
                slot_variable.reset(self.token)
            except ValueError:  # the server closes the body in another context
                pass
        environ = self.environ
        method = environ.get("REQUEST_METHOD", "")
        recorder.append(
            self.templates.wsgi(environ, self.rule),
            METHOD_IDS.get(method, 0),
            self.flags,
            status or self.status or 500,
            end - start,
            (self.first or end) - start,
            self.queue_us,
            self.size,
            self.slot,
        )


def wrap_wsgi(app: WSGIApp, runtime: Runtime) -> WSGIApp:
    """Return the measuring closure around app."""
    settings = runtime.settings
    recorder = runtime.recorder
    hook_django()
    templates = Templates(recorder.routes.id_of)
    queue_time, with_slot = settings.queue_time, settings.context
    decorates = settings.server_timing or settings.request_id
    clock = monotonic_ns

    def trimtab_wsgi(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        if _SEEN in environ:
            return app(environ, start_response)
        environ[_SEEN] = True
        if recorder.asleep:
            runtime.wake()
        request = _Request(environ, runtime, templates)
        if queue_time:
            value = environ.get("HTTP_X_REQUEST_START") or environ.get("HTTP_X_QUEUE_START")
            if value is not None:
                request.queue_us = queue_time_us(value)
        recorder.active += 1
        request.start = clock()
        if with_slot:
            request.slot = Slot()
            request.token = slot_variable.set(request.slot)

        def start_measured(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            request.first = clock()
            try:
                request.status = int(status[:3])
            except (ValueError, TypeError):
                request.status = 0
            request.rule = _rule(environ, request.script_name)
            if decorates:
                headers = _decorated(headers, environ, request, settings)
            return start_response(status, headers, *rest)

        try:
            body = app(environ, start_measured)
        except BaseException:
            request.finish(500)
            raise
        kind = type(body)
        if kind is list or kind is tuple:
            for part in body:
                request.size += len(part)
            request.finish()
            return body
        return _measured(body, request, environ.get("wsgi.file_wrapper"))

    return trimtab_wsgi


def _measured(body: Iterable[bytes], request: _Request, file_wrapper: Any) -> Iterable[bytes]:
    if isinstance(file_wrapper, type) and isinstance(body, file_wrapper):
        # The server looks for its own type, to hand the file to the kernel: only close is ours.
        close = getattr(body, "close", None)
        request.size = UNKNOWN_SIZE

        def finishing_close() -> None:
            try:
                if close is not None:
                    close()
            finally:
                request.finish()

        try:
            body.close = finishing_close  # type: ignore[attr-defined]
        except AttributeError:
            request.finish()
        return body
    return _SizedBody(body, request) if hasattr(body, "__len__") else _Body(body, request)


class _Body:
    """The app's iterable, counted while the server takes it; the record ends with it."""

    __slots__ = ("_body", "_iterator", "_request")

    def __init__(self, body: Iterable[bytes], request: _Request) -> None:
        self._body = body
        self._request = request
        self._iterator: Iterator[bytes] | None = None

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        iterator = self._iterator
        try:
            if iterator is None:
                iterator = self._iterator = iter(self._body)
            part = next(iterator)
        except StopIteration:
            self._request.finish()
            raise
        except BaseException:
            request = self._request
            if request.size:
                request.flags |= FLAG_FAILED
                request.finish()
            else:
                # Nothing has left yet: the server answers with its own 500.
                request.finish(500)
            raise
        self._request.size += len(part)
        return part

    def close(self) -> None:
        """Close the app's body; a body that was not taken to its end is a client that left."""
        request = self._request
        try:
            close = getattr(self._body, "close", None)
            if close is not None:
                close()
        finally:
            left = self._iterator is not None and request.environ.get("REQUEST_METHOD") != "HEAD"
            request.finish(499 if left and request.status < 499 else None)


class _SizedBody(_Body):
    __slots__ = ()

    def __len__(self) -> int:
        return len(self._body)  # type: ignore[arg-type]


def _rule(environ: Environ, script_name: str) -> str | None:
    try:
        return flask_rule(environ, script_name)
    except Exception:  # noqa: BLE001 - a template is never worth a failed request
        return None


def _decorated(
    headers: list[tuple[str, str]], environ: Environ, request: _Request, settings: Any
) -> list[tuple[str, str]]:
    headers = list(headers)
    if settings.request_id:
        given = str(environ.get("HTTP_X_REQUEST_ID", "")).encode("latin-1", "replace")
        own = given if valid_request_id(given) else new_request_id()
        headers = [header for header in headers if header[0].lower() != "x-request-id"]
        headers.append(("X-Request-ID", own.decode("ascii")))
    if settings.server_timing:
        value = server_timing(request.first - request.start, request.queue_us)
        headers.append(("Server-Timing", value.decode("ascii")))
    return headers
