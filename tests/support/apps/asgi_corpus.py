"""ASGI apps of every kind: whatever they do, a wrapper around them must not change it.

An app is a list of steps: a message is sent, an exception raised, a callable called with
(scope, receive, send) and awaited. `HTTP`, `SOCKET` and `LIFESPAN` are such lists by name.
`WIRE` names those of HTTP that a server answers with the same bytes each time.
"""

import asyncio
import http
import types
from collections import UserDict
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["ERRORS", "HTTP", "LIFESPAN", "SOCKET", "WIRE", "app_of"]

Message = dict[str, Any]
Steps = list[Any]

PLAIN = [(b"content-type", b"text/plain"), (b"content-length", b"2")]
CHUNKED = [(b"content-type", b"text/plain")]


def app_of(*steps: Any) -> Any:
    """Return an app that takes the steps in order."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for step in steps:
            if isinstance(step, BaseException):
                raise step
            if callable(step):
                await step(scope, receive, send)
            else:
                await send(step)

    return app


def start(status: Any = 200, headers: Any = CHUNKED, **more: Any) -> Message:
    return {"type": "http.response.start", "status": status, "headers": headers, **more}


def body(data: Any = b"ok", **more: Any) -> Message:
    return {"type": "http.response.body", "body": data, **more}


def more(data: Any = b"ok") -> Message:
    return body(data, more_body=True)


def end() -> Message:
    return {"type": "http.response.body"}


class ClientDisconnect(Exception):  # noqa: N818 - frameworks have one of this name
    """What a framework raises when its client has left."""


class OddMessage(UserDict[str, Any]):
    """A mapping that is no dict."""


async def read_all(scope: Any, receive: Any, send: Any) -> None:
    while (await receive()).get("more_body"):
        pass


async def until_gone(scope: Any, receive: Any, send: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def catch_and_go_on(scope: Any, receive: Any, send: Any) -> None:
    try:
        await send({"type": "http.response.no-such"})
    except RuntimeError as error:
        scope["state"]["caught"] = str(error)


async def send_later(scope: Any, receive: Any, send: Any) -> None:
    # Awaitables made first and awaited out of order.
    first, second = send(more(b"one")), send(more(b"two"))
    await second
    await first


async def send_in_tasks(scope: Any, receive: Any, send: Any) -> None:
    await asyncio.create_task(send(more(b"task")))
    await asyncio.gather(send(more(b"a")), send(more(b"b")))


async def note_names(scope: Any, receive: Any, send: Any) -> None:
    task = asyncio.current_task()
    assert task is not None
    scope["state"]["task"] = (task.get_name(), task.cancelling(), id(task))


async def timed_out(scope: Any, receive: Any, send: Any) -> None:
    async with asyncio.timeout(0):
        await asyncio.Event().wait()


async def timed_out_and_caught(scope: Any, receive: Any, send: Any) -> None:
    try:
        await timed_out(scope, receive, send)
    except TimeoutError:
        await send(start(504))


async def cancelled_itself(scope: Any, receive: Any, send: Any) -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel("own reason")
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        task.uncancel()
        raise


async def group(scope: Any, receive: Any, send: Any) -> None:
    async def fail() -> None:
        raise ValueError("in a task")

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(fail())


async def rewrite_scope(scope: Any, receive: Any, send: Any) -> None:
    scope["path"], scope["method"] = "/rewritten", "PATCH"
    scope["own"] = object


async def strip_scope(scope: Any, receive: Any, send: Any) -> None:
    # An app may do with its scope what it likes, afterwards nobody needs it.
    for key in [key for key in scope if key not in ("state", "trimtab")]:
        del scope[key]


PUSH = {"type": "http.response.push", "path": "/style.css", "headers": []}
HINT = {"type": "http.response.early_hint", "links": [b"</style.css>; rel=preload"]}
DEBUG = {"type": "http.response.debug", "info": {"template": "a.html"}}
TRAILERS = {"type": "http.response.trailers", "headers": [(b"x-sum", b"1")]}
CHUNK = more(b"again")

HTTP: Mapping[str, Steps] = {
    "plain": [start(headers=PLAIN), body()],
    "created": [start(201, PLAIN), body()],
    "empty body": [start(), body(b"")],
    "no body key": [start(), end()],
    "many chunks": [start(), *[more(b"%d;" % number) for number in range(50)], end()],
    "chunks, an empty end": [start(), more(b"a"), more(b"b"), body(b"", more_body=False)],
    "more_body false": [start(), body(b"ok", more_body=False)],
    "more_body zero": [start(), body(b"ok", more_body=0)],
    "more_body none": [start(), body(b"ok", more_body=None)],
    "empty chunks": [start(), more(b""), more(b"a"), more(b""), body(b"")],
    "the same chunk again": [start(), CHUNK, CHUNK, CHUNK, end()],
    "a megabyte": [start(), body(b"x" * 1_048_576)],
    "no content": [start(204, []), body(b"")],
    "not modified": [start(304, []), body(b"")],
    "not found": [start(404, PLAIN), body(b"no")],
    "an enumerated status": [start(http.HTTPStatus.ACCEPTED), body()],
    "a made-up status": [start(299), body()],
    "no headers key": [{"type": "http.response.start", "status": 200}, body()],
    "no headers": [start(headers=[]), body()],
    "headers in a tuple": [start(headers=tuple(PLAIN)), body()],
    "headers of lists": [start(headers=[[b"content-length", b"2"]]), body()],
    "headers twice": [start(headers=[(b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")]), body()],
    "a header of each kind": [
        start(headers=[(b"X-Mixed", b"Yes"), (b"x-empty", b""), (b"x-latin", b"\xe9")]), body(),
    ],
    "own server-timing": [start(headers=[(b"server-timing", b"db;dur=1")]), body()],
    "an event stream": [
        start(headers=[(b"content-type", b"text/event-stream")]), more(b"data: 1\n\n"), end(),
    ],
    "an event stream, headers odd": [start(headers=[(b"content-type",)]), more(b"data"), end()],
    "a bytearray": [start(), body(bytearray(b"ok"))],
    "a memoryview": [start(), body(memoryview(b"ok"))],
    "a memoryview of words": [start(), body(memoryview(b"12345678").cast("I"))],
    "trailers": [start(trailers=True), body(), TRAILERS],
    "trailers in parts": [
        start(trailers=True), more(), end(), {**TRAILERS, "more_trailers": True}, TRAILERS,
    ],
    "a path": [start(), {"type": "http.response.pathsend", "path": "/etc/hostname"}],
    "a file": [start(), {"type": "http.response.zerocopysend", "file": 3, "count": 2}],
    "a file in parts": [
        start(), {"type": "http.response.zerocopysend", "file": 3, "more_body": True}, end(),
    ],
    "an early hint": [HINT, start(), body()],
    "a push": [start(), PUSH, body()],
    "debug": [DEBUG, start(), body()],
    "an interim response": [start(103, [(b"link", b"</a>")]), start(), body()],
    "extra keys": [start(reason="Fine", x=1), body(b"ok", y=[2])],
    "mappings that are no dicts": [OddMessage(start()), OddMessage(more()), OddMessage(end())],
    "read-only mappings": [types.MappingProxyType(start()), types.MappingProxyType(body())],
    "an unknown message": [start(), {"type": "http.response.no-such", "x": 1}, body()],
    "an unknown message, caught": [catch_and_go_on, start(), body()],
    "a request read whole": [read_all, start(), body()],
    "a client that left": [read_all, start(), more(), until_gone],
    "a client that left, raised": [read_all, until_gone, ClientDisconnect()],
    "a client that left in between": [start(), more(), until_gone, ClientDisconnect("gone")],
    "awaited out of order": [start(), send_later, end()],
    "sent in tasks": [start(), send_in_tasks, end()],
    "names of tasks": [note_names, start(), body()],
    "a timeout": [timed_out],
    "a timeout, caught": [timed_out_and_caught, body()],
    "cancelled": [start(), cancelled_itself],
    "a group of tasks": [start(), group],
    "a scope rewritten": [rewrite_scope, start(), body()],
    "a scope emptied": [strip_scope, start(), body()],
    "a scope emptied, then raised": [strip_scope, RuntimeError("late")],
    # What a server refuses: its own error has to come through, and nobody else's.
    "no message at all": [],
    "no end": [start(), more()],
    "a start alone": [start()],
    "a body after the end": [start(), body(), body(b"late")],
    "a start after the end": [start(), body(), start()],
    "a start twice": [start(), start(500), body()],
    "a body before the start": [body(), start()],
    "no status": [{"type": "http.response.start", "headers": []}, body()],
    "a status of text": [start("200"), more(), RuntimeError("late")],
    "a status of none": [start(None), more()],
    "a body of none": [start(), body(None)],
    "a body of text": [start(), body("text")],
    "a body that is a number": [start(), body(7)],
    "headers of none": [start(headers=None), more(), end()],
    "headers of numbers": [start(headers=7), more(), end()],
    "no type": [{"status": 200}],
    "a type of none": [{"type": None}],
    "no mapping": [7],
    "none": [None],
    "a trailer before the start": [TRAILERS, start(), body()],
}  # fmt: skip

WIRE = [
    "plain", "created", "empty body", "no body key", "many chunks", "chunks, an empty end",
    "more_body false", "empty chunks", "the same chunk again", "a megabyte", "no content",
    "not modified", "not found", "an enumerated status", "no headers key", "no headers",
    "headers in a tuple", "headers of lists", "headers twice", "a header of each kind",
    "own server-timing", "an event stream", "a bytearray", "extra keys", "an unknown message",
    "a request read whole", "sent in tasks", "a timeout", "a timeout, caught", "a group of tasks",
    "a scope rewritten", "no message at all", "no end", "a start alone", "a body after the end",
    "a start after the end", "a start twice", "a body before the start", "no status",
    "a status of text", "a body of none", "a body that is a number", "headers of none", "none",
]  # fmt: skip


class OwnError(BaseException):
    """An exception that `except Exception` does not see."""


ERRORS: list[Callable[[], BaseException]] = [
    RuntimeError, lambda: OSError(32, "broken pipe"), KeyError, MemoryError, RecursionError,
    TimeoutError, StopAsyncIteration, ClientDisconnect, asyncio.CancelledError, KeyboardInterrupt,
    lambda: SystemExit(3), GeneratorExit, OwnError, OverflowError, LookupError,
    lambda: ExceptionGroup("some", [ValueError("a"), OSError("b")]),
    lambda: BaseExceptionGroup("some", [KeyboardInterrupt()]),
]  # fmt: skip

# ---------------------------------------------------------------- other scopes

ACCEPT = {"type": "websocket.accept"}
CLOSE = {"type": "websocket.close"}
DENIAL = {"type": "websocket.http.response.start", "status": 401, "headers": []}


async def echo(scope: Any, receive: Any, send: Any) -> None:
    while (message := await receive())["type"] != "websocket.disconnect":
        if message["type"] == "websocket.receive":
            await send({**message, "type": "websocket.send"})


SOCKET: Mapping[str, Steps] = {
    "accept and echo": [ACCEPT, echo],
    "subprotocol": [{**ACCEPT, "subprotocol": "chat", "headers": [(b"x", b"1")]}, echo],
    "text": [ACCEPT, {"type": "websocket.send", "text": "tëxt"}, CLOSE],
    "bytes": [ACCEPT, {"type": "websocket.send", "bytes": b"\0\xff"}, CLOSE],
    "both": [ACCEPT, {"type": "websocket.send", "bytes": None, "text": "a"}, CLOSE],
    "neither": [ACCEPT, {"type": "websocket.send"}, CLOSE],
    "numbers": [ACCEPT, {"type": "websocket.send", "text": 7}, CLOSE],
    "a close with a code": [ACCEPT, {**CLOSE, "code": 4001, "reason": "enough"}],
    "a close before accept": [{**CLOSE, "code": 1008}],
    "a denial": [DENIAL, {"type": "websocket.http.response.body", "body": b"no"}],
    "a denial without status": [{"type": "websocket.http.response.start"}],
    "an unknown message": [ACCEPT, {"type": "websocket.no-such"}],
    "no type": [{"x": 1}],
    "none": [None],
    "nothing": [],
    "raised before accept": [RuntimeError("early")],
    "raised when open": [ACCEPT, RuntimeError("late")],
    "the disk": [ACCEPT, OSError("disk")],
    "cancelled": [ACCEPT, asyncio.CancelledError("reason")],
    "interrupted": [ACCEPT, KeyboardInterrupt()],
    "sent after the close": [ACCEPT, CLOSE, {"type": "websocket.send", "text": "late"}],
    "names": [ACCEPT, note_names],
}


def _lifespan(*answers: Any) -> Steps:
    async def receive_one(scope: Any, receive: Any, send: Any) -> None:
        await receive()

    return [step for answer in answers for step in (receive_one, answer)]


async def keep_state(scope: Any, receive: Any, send: Any) -> None:
    scope["state"]["pool"] = "opened"


UP, DOWN = {"type": "lifespan.startup.complete"}, {"type": "lifespan.shutdown.complete"}
LIFESPAN: Mapping[str, Steps] = {
    "up and down": _lifespan(UP, DOWN),
    "a state": [keep_state, *_lifespan(UP, DOWN)],
    "a start that fails": _lifespan({"type": "lifespan.startup.failed", "message": "no database"}),
    "an end that fails": _lifespan(UP, {"type": "lifespan.shutdown.failed", "message": "stuck"}),
    "unsupported": [RuntimeError("no lifespan")],
    "raised at the start": _lifespan(ValueError("start")),
    "raised at the end": _lifespan(UP, ValueError("end")),
    "interrupted": _lifespan(UP, KeyboardInterrupt()),
    "returns at once": [],
    "none": _lifespan(None),
    "no type": _lifespan({"x": 1}),
}
