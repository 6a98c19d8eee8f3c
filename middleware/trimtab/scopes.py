"""Scopes that are not HTTP requests: WebSocket connections and the lifespan.

A WebSocket connection is not a request of twelve hours: it has counters and a record of its own,
and stays out of the response times. The wrapper counts its messages; it never looks into one.
"""

# Inner functions are made for each connection: their annotations must not be evaluated there.
from __future__ import annotations

from collections.abc import Awaitable
from time import monotonic_ns
from typing import Any, Final

from trimtab.context import RequestContext, context_variable, reset_context
from trimtab.endings import Endings, number_of
from trimtab.failure import is_a
from trimtab.queueing import look_for_queue
from trimtab.runtime import Runtime
from trimtab.templates import CELL_KEY, Templates
from trimtab.types import ASGIApp, Message, Receive, Scope, Send
from trimtab_core.records import KIND_WEBSOCKET, METHOD_IDS

__all__ = ["other_scopes"]

_SWITCHING: Final = 101
_REFUSED: Final = 403


def other_scopes(app: ASGIApp, runtime: Runtime, templates: Templates, endings: Endings) -> ASGIApp:
    """Return the closure around app for every scope that is not an HTTP request."""

    async def other(scope: Scope, receive: Receive, send: Send) -> None:
        if CELL_KEY in scope:
            # An outer wrapper measures it.
            await app(scope, receive, send)
        elif scope["type"] == "websocket":
            scope[CELL_KEY] = []
            await _connection(app, runtime, templates, endings, scope, receive, send)
        elif scope["type"] == "lifespan":
            scope[CELL_KEY] = []
            await app(scope, receive, _lifespan_send(send, runtime))
        else:
            await app(scope, receive, send)

    return other


async def _connection(
    app: ASGIApp,
    runtime: Runtime,
    templates: Templates,
    endings: Endings,
    scope: Scope,
    receive: Receive,
    send: Send,
) -> None:
    """Run a WebSocket connection and append its record when it ends."""
    recorder, settings = runtime.recorder, runtime.settings
    status = sent_bytes = 0

    async def receive_counted() -> Message:
        message = await receive()
        if _type_of(message) == "websocket.receive":
            recorder.messages_received += 1
        return message

    def send_counted(message: Message) -> Awaitable[None]:
        nonlocal status, sent_bytes
        try:
            kind = message["type"]
            if kind == "websocket.send":
                recorder.messages_sent += 1
                sent_bytes += _size(message.get("bytes") or message.get("text") or b"")
            elif not status:
                if kind == "websocket.accept":
                    status = _SWITCHING
                elif kind == "websocket.close":
                    status = _REFUSED
                elif kind == "websocket.http.response.start":
                    status = number_of(message.get("status", 0))
        except Exception:  # noqa: BLE001, S110 - a malformed message is the server's to refuse
            pass
        return send(message)

    if recorder.asleep:
        runtime.wake()
    queue_us = look_for_queue(scope.get("headers")) if settings.queue_time else 0
    context = RequestContext() if endings.wants_context() else None
    token = context_variable.set(context) if context is not None else None
    recorder.websockets += 1
    start = monotonic_ns()
    failed = False
    try:
        await app(scope, receive_counted, send_counted)
    except Exception as error:
        # An app that raises because its client has left has not failed.
        failed = type(error).__name__ not in _LEFT and not is_a(error, OSError)
        raise
    finally:
        open_ns = monotonic_ns() - start
        recorder.websockets -= 1
        if token is not None:
            reset_context(token)
        recorder.append(
            templates.asgi(scope), METHOD_IDS["GET"], 0, 500 if failed else status or _REFUSED,
            open_ns, open_ns, queue_us, sent_bytes, context, KIND_WEBSOCKET,
        )  # fmt: skip


#: Exceptions of frameworks and servers by which a handler learns that its client has left.
_LEFT: Final = {"ClientDisconnect", "ClientDisconnected", "WebSocketDisconnect", "ConnectionClosed",
                "ConnectionClosedOK", "ConnectionClosedError"}  # fmt: skip


def _type_of(message: Message) -> object:
    """Return the type of a message, None for a malformed one: the server refuses that."""
    try:
        return message["type"]
    except Exception:  # noqa: BLE001 - as above
        return None


def _size(data: Any) -> int:
    if isinstance(data, str):
        return len(data) if data.isascii() else len(data.encode("utf-8", "replace"))
    return len(data) if isinstance(data, (bytes, bytearray, memoryview)) else 0


def _lifespan_send(send: Send, runtime: Runtime) -> Send:
    async def send_lifespan(message: Message) -> None:
        what = _type_of(message)
        if what == "lifespan.startup.complete":
            runtime.wake()
        elif what in ("lifespan.shutdown.complete", "lifespan.shutdown.failed"):
            # The server may be killed by its own signal right after this: no atexit runs then.
            runtime.flush()
        await send(message)

    return send_lifespan
