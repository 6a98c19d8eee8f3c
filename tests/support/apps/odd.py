"""A process that is odd in one way, and serves: `python -m support.apps.odd KIND HOW`.

HOW is `bare`, `measured`, or `running`: measured, and odd only once the thread that sends runs.
It prints a line of JSON on the descriptor that was its standard output when it began: what every
request was answered with, and, measured, whether everything was sent, and by which threads.
"""

import asyncio
import gc
import json
import logging
import os
import resource
import sqlite3
import sys
import threading
import time
import warnings
from collections.abc import Callable
from typing import Any, NoReturn

__all__ = ["ODD"]


def _raise(*_: Any, **__: Any) -> NoReturn:
    raise ValueError("odd on purpose")


# ---------------------------------------------------------------- what is odd


def hooks() -> None:
    """Hooks of the interpreter that raise."""
    sys.excepthook = threading.excepthook = sys.unraisablehook = _raise


def strict_warnings() -> None:
    """Each warning is an error."""
    warnings.simplefilter("error")


def no_streams() -> None:
    """As a daemon leaves them."""
    sys.stdout = sys.stderr = None


def closed_streams() -> None:
    """Closed, and still there."""
    sys.stdout.close()
    sys.stderr.close()


class _Unequal:
    def __call__(self, phase: str, info: dict[str, int]) -> None:
        pass

    def __eq__(self, other: object) -> bool:
        raise ValueError("not to be compared")

    __hash__ = None  # type: ignore[assignment]


def callbacks() -> None:
    """Callbacks of the garbage collector that cannot be compared."""
    gc.callbacks.append(_Unequal())


def no_callbacks() -> None:
    """None but those of trimtab, which an app takes away again and again."""
    TURNS.append(gc.callbacks.clear)


def no_collector() -> None:
    """The garbage collector off."""
    gc.disable()


def silent_logging() -> None:
    """Loggers disabled, handlers that raise."""

    class Broken(logging.Handler):
        def handle(self, record: logging.LogRecord) -> bool:
            _raise()

    logging.getLogger().addHandler(Broken())
    logging.disable(logging.CRITICAL)


def traced() -> None:
    """Traced and profiled, threads too."""

    def trace(frame: Any, event: str, argument: Any) -> Any:
        return trace

    sys.settrace(trace)
    threading.settrace(trace)
    sys.setprofile(lambda frame, event, argument: None)
    threading.setprofile(lambda frame, event, argument: None)


def shallow() -> None:
    """A low limit of recursion."""
    sys.setrecursionlimit(120)


def odd_clocks() -> None:
    """Clocks of the module `time` that raise, as a mock does that is out of answers."""
    for name in ("time", "time_ns", "perf_counter", "sleep"):
        setattr(time, name, _raise)


def no_environment() -> None:
    """An empty environment after the import."""
    os.environ.clear()


def no_files() -> None:
    """No file descriptor left."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
    while True:
        try:
            HELD.append(os.open(os.devnull, os.O_RDONLY))
        except OSError:
            return


def no_threads() -> None:
    """No thread can be started: there is no memory for its stack."""
    with open("/proc/self/statm", encoding="ascii") as statm:
        used = int(statm.read().split()[0]) * resource.getpagesize()
    most = used + 128 * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    threading.stack_size(2**30)


def no_modules() -> None:
    """Modules of trimtab taken out of sys.modules, as suites do that import anew."""
    for name in [each for each in sys.modules if each.partition(".")[0] == "trimtab"]:
        del sys.modules[name]


#: kind -> what makes a process odd, after the imports and before the first request
ODD: dict[str, Callable[[], None]] = {
    each.__name__: each
    for each in (
        hooks, strict_warnings, no_streams, closed_streams, callbacks, no_callbacks, no_collector,
        silent_logging, traced, shallow, odd_clocks, no_environment, no_files, no_threads,
        no_modules,
    )
}  # fmt: skip
#: called before each request
TURNS: list[Callable[[], object]] = []
HELD: list[int] = []
DATABASES: list[sqlite3.Connection] = []


# ---------------------------------------------------------------- the app


class RudeError(Exception):
    """An exception that says nothing of itself."""

    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("not to be compared")

    def __hash__(self) -> int:
        raise RuntimeError("not to be hashed")

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        raise RuntimeError("of no class")


class RudeValue:
    """A value that nobody may look at."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError("no attributes")

    __str__ = __repr__ = __bool__ = __eq__ = __hash__ = __len__ = _raise


def _deep(left: int) -> int:
    return _deep(left - 1) + 1


def _fill() -> None:
    raise MemoryError


async def asgi(scope: Any, receive: Any, send: Any) -> None:
    """Answer by the path."""
    path = scope["path"]
    DATABASES[0].execute("select 1").fetchall()
    if path == "/rude":
        raise RudeError
    if path == "/deep":
        _deep(100_000)
    if path == "/memory":
        _fill()
    if path == "/cancelled":
        raise asyncio.CancelledError
    if path == "/exit":
        raise SystemExit(3)
    if path == "/interrupt":
        raise KeyboardInterrupt
    if path == "/scope":
        scope.update(method=RudeValue(), route=RudeValue(), app=RudeValue(), path=RudeValue())
        scope.update(endpoint=RudeValue(), root_path=RudeValue(), headers=RudeValue())
    if path == "/template":
        scope["trimtab.route"] = RudeValue()
    if path == "/emptied":
        scope.clear()
    status: Any = RudeValue() if path == "/status" else 200
    headers: Any = [(RudeValue(), RudeValue())] if path == "/headers" else []
    if path == "/stream":
        headers = [(b"content-type", b"text/event-stream")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    if path == "/broken":
        raise RudeError
    if path == "/parts":
        await send({"type": "http.response.body", "body": b"part ", "more_body": True})
    body: Any = RudeValue() if path == "/body" else b"asgi"
    await send({"type": "http.response.body", "body": body})
    if path == "/late":
        raise RudeError


def wsgi(environ: Any, start_response: Any) -> Any:
    """Answer by the path."""
    path = environ["PATH_INFO"]
    DATABASES[0].execute("select 1").fetchall()
    if path == "/rude":
        raise RudeError
    if path == "/deep":
        _deep(100_000)
    if path == "/memory":
        _fill()
    if path == "/exit":
        raise SystemExit(3)
    if path == "/interrupt":
        raise KeyboardInterrupt
    if path == "/scope":
        environ.update(REQUEST_METHOD=RudeValue(), SCRIPT_NAME=RudeValue(), PATH_INFO=RudeValue())
    if path == "/template":
        environ["trimtab.route"] = RudeValue()
    if path == "/bytes":
        environ["trimtab.route"] = b"/bytes"
    if path == "/emptied":
        environ.clear()
    headers: Any = [(RudeValue(), RudeValue())] if path == "/headers" else []
    start_response(RudeValue() if path == "/status" else "200 OK", headers)
    if path == "/broken":
        raise RudeError
    if path == "/parts":
        return iter([b"part ", b"wsgi"])
    if path == "/body":
        return [RudeValue()]
    if path == "/odd":
        return RudeValue()
    return [b"wsgi"]


PATHS = (
    "/", "/rude", "/deep", "/memory", "/cancelled", "/exit", "/interrupt", "/scope", "/template",
    "/bytes", "/emptied", "/status", "/headers", "/stream", "/broken", "/parts", "/body", "/odd",
    "/late", "/socket", "/",
)  # fmt: skip


async def socket(scope: Any, receive: Any, send: Any) -> None:
    """Answer a WebSocket with what no server would take."""
    await send({"type": "websocket.http.response.start", "status": RudeValue()})
    await send({"type": "websocket.send", "bytes": RudeValue()})
    scope.update(path=RudeValue(), app=RudeValue())
    raise RudeError


async def _asgi_answer(app: Any, path: str) -> list[str]:
    found: list[str] = []

    async def send(message: Any) -> None:
        body = message.get("body", b"")
        found.append(f"{message['type']} {body.decode() if type(body) is bytes else type(body)}")

    scope: dict[str, Any] = {
        "type": "websocket" if path == "/socket" else "http", "method": "GET", "path": path,
        "root_path": "", "headers": [], "http_version": "1.1", "query_string": b"",
    }  # fmt: skip
    try:
        await app(scope, None, send)
    except BaseException as error:
        found.append(type(error).__name__)
    return found


def _wsgi_answer(app: Any, path: str) -> list[str]:
    found: list[str] = []
    environ = {
        "REQUEST_METHOD": "GET", "SCRIPT_NAME": "", "PATH_INFO": path, "wsgi.version": (1, 0),
    }  # fmt: skip
    try:
        body = app(environ, lambda *started: found.append(str(len(started))))
        found.append(type(body).__name__ if type(body) is RudeValue else "")
        if type(body) is not RudeValue:
            found += [str(part) if type(part) is bytes else "?" for part in body]
    except BaseException as error:
        found.append(type(error).__name__)
    return found


def _answers(loop: asyncio.AbstractEventLoop, of_asgi: Any, of_wsgi: Any) -> list[list[str]]:
    found = []
    for path in PATHS:
        for turn in TURNS:
            turn()
        found.append([path, *loop.run_until_complete(_asgi_answer(of_asgi, path))])
        if path != "/socket":
            found.append([path, *_wsgi_answer(of_wsgi, path)])
    return found


async def _routed(scope: Any, receive: Any, send: Any) -> None:
    await (socket if scope["type"] == "websocket" else asgi)(scope, receive, send)


def main(kind: str, how: str) -> None:
    """Serve, and say what came of it."""
    out, loop = os.dup(1), asyncio.new_event_loop()
    apps: tuple[Any, Any] = _routed, wsgi
    waits = threading.Event()
    if how != "bare":
        import trimtab
        from trimtab.runtime import PROCESS

        settings: Any = {"interval_ms": 20, "context": True, "server_timing": True}
        apps = trimtab.Middleware(_routed, **settings), trimtab.WSGIMiddleware(wsgi, **settings)
        trimtab.instrument()
        counted = trimtab.Counter("odd.requests").inc
        TURNS.append(counted)
    DATABASES.append(sqlite3.connect(":memory:"))
    if how == "running":
        _answers(loop, *apps)
        PROCESS.runtimes()[0].flush(5)
    if kind in ODD:
        ODD[kind]()
    told: dict[str, Any] = {"answers": _answers(loop, *apps)}
    loop.close()
    if how != "bare":
        own = PROCESS.runtimes()[0]
        # The first flush may find no connection yet.
        for _ in range(100):
            if (own.flush(5) and own.accounting["sent"]) or own.recorder.asleep:
                break
            waits.wait(0.02)
        told.update(own.accounting, in_flight=own.recorder.in_flight())
        told["threads"] = [each.name for each in threading.enumerate()]
    os.write(out, json.dumps(told).encode())


if __name__ == "__main__":
    main(*sys.argv[1:3])
