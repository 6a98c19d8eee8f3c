"""Measures one variant of an app against the bare one, in this process, and prints JSON.

    python inprocess.py CASE VARIANT PAIRS REQUESTS

Bare and wrapped app take turns of REQUESTS requests, PAIRS times, in random order. Printed are, in
us a request and paired: wall time of the loop and, for `starlette` and `flask`, CPU of all threads
over the turn and a pause after it, so that a thread that ships what was recorded is counted. What a
variant does while nobody asks is in both turns, and cancels: the case `idle` measures it, as CPU us
a second over PAIRS seconds after one request.
"""

import asyncio
import json
import random
import sys
import time
from collections.abc import Awaitable, Callable
from importlib import import_module
from typing import Any, Final, NamedTuple

import apps

PATHS: Final = ("/items/42", "/", "/items/7", "/search")
#: long enough for the emitter (250 ms between sends) to ship a turn and be quiet again
_PAUSE_S: Final = 0.4
#: lets the emitter's buffer drain between the short turns of the raw cases
_BREATH_S: Final = 0.002

_HEADERS: Final = [
    (b"host", b"127.0.0.1:8000"),
    (b"user-agent", b"Mozilla/5.0 (X11; Linux x86_64)"),
    (b"accept", b"text/html,application/json"),
    (b"accept-language", b"en"),
    (b"accept-encoding", b"gzip, deflate"),
    (b"cookie", b"session=0123456789abcdef"),
    (b"connection", b"keep-alive"),
    (b"cache-control", b"max-age=0"),
]


class Turn(NamedTuple):
    """One turn of an app, in us a request."""

    wall_us: float
    cpu_us: float


def scope_of(path: str) -> dict[str, Any]:
    """Return the scope that uvicorn would make."""
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "server": ("127.0.0.1", 8000),
        "client": ("127.0.0.1", 40000),
        "scheme": "http",
        "root_path": "",
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": _HEADERS,
        "state": {},
    }


SCOPES: Final = [scope_of(path) for path in PATHS]


async def receive() -> dict[str, Any]:
    """An empty body."""
    return {"type": "http.request", "body": b"", "more_body": False}


async def send(message: Any) -> None:
    """A server that writes nothing."""


def raw_asgi(app: Any, requests: int) -> Turn:
    """Drive the app without an event loop: nothing in it ever waits."""
    scope = SCOPES[0]
    begin = time.perf_counter_ns()
    for _ in range(requests):
        coroutine = app(dict(scope), receive, send)
        try:
            coroutine.send(None)
        except StopIteration:
            continue
        raise RuntimeError("expected an app that never waits")
    wall_us = (time.perf_counter_ns() - begin) / requests / 1e3
    time.sleep(_BREATH_S)
    return Turn(wall_us, 0.0)


def raw_wsgi(app: Any, requests: int) -> Turn:
    """Drive the app and take its body as a server does."""
    environ = _environ("/items/42")
    begin = time.perf_counter_ns()
    for _ in range(requests):
        body = app(dict(environ), _start_response)
        for _ in body:
            pass
        if hasattr(body, "close"):
            body.close()
    wall_us = (time.perf_counter_ns() - begin) / requests / 1e3
    time.sleep(_BREATH_S)
    return Turn(wall_us, 0.0)


def flask(app: Any, requests: int, settle: Callable[[], object]) -> Turn:
    """Drive Flask in this thread; CPU with all threads and the pause."""
    environs = [_environ(path) for path in PATHS]
    begin_cpu, begin = time.process_time_ns(), time.perf_counter_ns()
    for index in range(requests):
        body = app(dict(environs[index & 3]), _start_response)
        for _ in body:
            pass
        if hasattr(body, "close"):
            body.close()
    wall_ns = time.perf_counter_ns() - begin
    settle()
    time.sleep(_PAUSE_S)
    cpu_ns = time.process_time_ns() - begin_cpu
    return Turn(wall_ns / requests / 1e3, cpu_ns / requests / 1e3)


async def starlette(app: Any, requests: int, settle: Callable[[], object]) -> Turn:
    """Drive Starlette with one task a request; CPU with all threads and the pause."""
    loop = asyncio.get_running_loop()
    begin_cpu, begin = time.process_time_ns(), time.perf_counter_ns()
    for index in range(requests):
        await loop.create_task(app(dict(SCOPES[index & 3]), receive, send))
    wall_ns = time.perf_counter_ns() - begin
    settle()
    await asyncio.sleep(_PAUSE_S)
    cpu_ns = time.process_time_ns() - begin_cpu
    return Turn(wall_ns / requests / 1e3, cpu_ns / requests / 1e3)


def idle(variant: str, seconds: int) -> dict[str, Any]:
    """Return CPU us a second of a process that waits, after its first request."""
    raw_asgi(apps.asgi(variant)[0], 1)
    time.sleep(1)
    begin_cpu, begin = time.process_time_ns(), time.perf_counter_ns()
    time.sleep(seconds)
    wall_s = (time.perf_counter_ns() - begin) / 1e9
    return {"requests": 1, "cpu_us": [(time.process_time_ns() - begin_cpu) / 1e3 / wall_s]}


def plain(drive: Callable[[Any, int], Turn], make: Any, variant: str) -> Callable[..., Turn]:
    """Return the turn of a raw case by variant."""
    ready = {name: make(name)[0] for name in ("bare", variant)}
    return lambda name, requests: drive(ready[name], requests)


async def paired(
    turn: Callable[[str, int], Turn | Awaitable[Turn]], variant: str, pairs: int, requests: int
) -> dict[str, Any]:
    """Run the turns, the first pair only to warm up, and return all figures."""
    turns: dict[str, list[Turn]] = {"bare": [], variant: []}
    for index in range(pairs + 1):
        for name in random.sample(("bare", variant), 2):
            done = turn(name, requests)
            taken = await done if isinstance(done, Awaitable) else done
            if index:
                turns[name].append(taken)
    return {
        "requests": (pairs + 1) * requests,
        "bare_wall_us": [one.wall_us for one in turns["bare"]],
        "bare_cpu_us": [one.cpu_us for one in turns["bare"]],
        "wall_us": [one.wall_us for one in turns[variant]],
        "cpu_us": [one.cpu_us for one in turns[variant]],
    }


def _environ(path: str) -> dict[str, Any]:
    environ: dict[str, Any] = import_module("werkzeug.test").create_environ(path)
    return environ


def _start_response(status: str, headers: Any, exc_info: Any = None) -> Callable[[bytes], object]:
    return lambda data: None


def main() -> None:
    """Measure and print."""
    case, variant, pairs, requests = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    turn: Callable[[str, int], Turn | Awaitable[Turn]]
    if case == "idle":
        print(json.dumps(idle(variant, pairs)))
        return
    if case == "asgi":
        turn = plain(raw_asgi, apps.asgi, variant)
    elif case == "wsgi":
        turn = plain(raw_wsgi, apps.wsgi, variant)
    else:
        make: Any = {"starlette": apps.starlette, "flask": apps.flask}[case]
        drive: Any = {"starlette": starlette, "flask": flask}[case]
        # The bare app is made first: some rivals change the framework's classes.
        ready = {name: make(name) for name in ("bare", variant)}

        def turn(name: str, requests: int) -> Turn | Awaitable[Turn]:
            app, settle = ready[name]
            result: Turn | Awaitable[Turn] = drive(app, requests, settle)
            return result

    if case == "starlette":
        result = import_module("uvloop").run(paired(turn, variant, pairs, requests))
    else:
        # Without a loop: nothing awaited here ever waits.
        try:
            paired(turn, variant, pairs, requests).send(None)
        except StopIteration as done:
            result = done.value
    print(json.dumps(result))


if __name__ == "__main__":
    main()
