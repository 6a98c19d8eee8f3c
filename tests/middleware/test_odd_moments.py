"""Odd moments of an app's process: threads ended by others, no memory, and the end itself."""

import ctypes
import gc
import subprocess
import sys
import threading
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any, NoReturn

import pytest
from flask import Flask
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from support.processes.drive import Measured, call, call_wsgi
from support.processes.servers import clean_environment, wait_for
from trimtab import context, instrument, uninstrument
from trimtab.chunks import ChunkBacklog
from trimtab.instrumentation import queries, redis
from trimtab.instrumentation.patching import Patches
from trimtab.metrics.measures import Measures
from trimtab.recorder import Recorder
from trimtab.routes import RouteTable
from trimtab.runtime import Process, runtime_for
from trimtab.settings import AppSettings, read_settings
from trimtab.sinks import PushgatewaySink, Stored, collect_and_store
from trimtab.vitals import Vitals
from trimtab_core.measures import COUNTER
from trimtab_core.messages import Deltas, Samples


def _raise(*_: Any, **__: Any) -> NoReturn:
    raise ValueError("odd on purpose")


def hello(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return [b"hello"]


def python(script: str) -> subprocess.CompletedProcess[str]:
    """Run a script to its end, within 30 s, without an agent."""
    environ = clean_environment() | {"TRIMTAB_AGENT": "unix:///no/such/agent"}
    return subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True, text=True, check=False, timeout=30, env=environ,
    )  # fmt: skip


# ---------------------------------------------------------------- threads


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_the_request_after_the_end_of_the_thread_that_sends_starts_another(
    measured: Measured, error: type[BaseException], capfd: pytest.CaptureFixture[str]
) -> None:
    app = measured.wsgi(hello, gauges=True)
    call_wsgi(app)
    own = runtime_for(read_settings(**measured.settings(gauges=True)))
    added = own.process.measures.family("tested.ended", COUNTER).at()
    added.add(1)
    wait_for(lambda: own.is_connected, "a connection")
    assert own.flush(5)
    assert own._emitter is not None
    thread = own._emitter._thread
    ending = ctypes.pythonapi.PyThreadState_SetAsyncExc
    assert ending(ctypes.c_ulong(thread.ident or 0), ctypes.py_object(error)) == 1
    own._emitter._waking.wake()
    thread.join(5)
    assert not thread.is_alive()
    added.add(1)
    for _ in range(3):
        assert call_wsgi(app).body == [b"hello"]
    wait_for(lambda: own.is_connected, "another connection")
    assert own.flush(5)
    assert own.accounting["dropped"] == 0
    measured.records(4)
    deltas = [delta for each in measured.peer.messages(Deltas) for _, delta in each.deltas]
    assert sum(delta.sum for delta in deltas if delta.count) >= 2
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, GeneratorExit])
def test_a_function_of_the_app_ends_no_thread_of_ours(error: type[BaseException]) -> None:
    def reader() -> None:
        raise error

    measures, asked = Measures(), list[int]()
    measures.before(reader)
    measures.before(lambda: asked.append(1))
    thread = threading.Thread(target=measures.ask)
    thread.start()
    thread.join(5)
    assert asked
    # In the main thread, where threads are greenlets, it may be the app's own end.
    with pytest.raises(error):
        measures.ask()


def test_a_sink_whose_thread_cannot_be_started_says_so_and_may_be_started_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    sink = PushgatewaySink("http://127.0.0.1:9", "odd", interval_s=3600)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        assert sink.start() is sink
    assert "not pushed until start is called again" in caplog.text
    sink.start()
    assert sink._thread is not None
    assert sink._thread.is_alive()
    sink.stop()


def test_a_sink_that_fails_without_a_text_fails_by_its_name() -> None:
    class RudeError(Exception):
        __str__ = __repr__ = _raise

    class Sink:
        def store(self, rows: Any) -> Stored:
            raise RudeError

    assert collect_and_store(Sink()) == Stored(0, "RudeError")


def test_records_that_found_no_memory_are_counted(
    measured: Measured, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = measured.wsgi(hello)
    own = runtime_for(read_settings(**measured.settings()))
    right = ChunkBacklog.add
    failing = [MemoryError()]

    def add(chunks: Any, data: bytes, since: float) -> None:
        if failing:
            raise failing.pop()
        right(chunks, data, since)

    monkeypatch.setattr(ChunkBacklog, "add", add)
    call_wsgi(app)
    wait_for(lambda: own.accounting["dropped"] == 1, "a drop")
    call_wsgi(app)
    measured.records(1)
    assert measured.peer.messages(Samples)[-1].dropped == {"unsendable": 1}


# ---------------------------------------------------------------- the end of a process

SERVING = """
import atexit, builtins, gc, os, sys, threading
from trimtab import WSGIMiddleware

def app(environ, start_response):
    start_response("200 OK", [])
    return iter([b"x", b"y"]) if environ["PATH_INFO"] == "/parts" else [b"x"]

def serve(path="/"):
    environ = {"REQUEST_METHOD": "GET", "SCRIPT_NAME": "", "PATH_INFO": path}
    return wrapped(environ, lambda *started: None)

"""
WRAPPED = """
wrapped = WSGIMiddleware(app, interval_ms=20)
serve()
"""
ENDS = {
    # What is kept by `builtins` goes last.
    "a finalizer serves": SERVING + WRAPPED + """
class Last:
    def __del__(self):
        serve()
builtins.kept = Last()
""",
    "a body is left open": SERVING + WRAPPED + """
builtins.kept = serve("/parts")
next(builtins.kept)
""",
    "an exit handler serves": SERVING + "atexit.register(serve)" + WRAPPED,
    "a child that a thread forks leaves": SERVING + WRAPPED + """
def fork():
    child = os.fork()
    if child:
        sys.exit(os.waitpid(child, 0)[1])
    serve()
forking = threading.Thread(target=fork)
forking.start()
forking.join()
""",
}  # fmt: skip


@pytest.mark.parametrize("script", ENDS.values(), ids=ENDS.keys())
def test_a_process_ends_when_the_app_does(script: str) -> None:
    done = python(script)
    assert done.returncode == 0
    lines = [line for line in done.stderr.splitlines() if "multi-threaded" not in line]
    assert len([line for line in lines if "no agent at" in line]) <= 1
    assert [line for line in lines if "no agent at" not in line] == []


def test_a_runtime_that_cannot_be_stopped_and_a_part_that_fails_cost_themselves_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Part:
        def __init__(self, after_fork: Callable[[], object]) -> None:
            self.after_fork = after_fork

    process, stopped, forked = Process(), list[int](), list[int]()
    parts: list[Any] = [Part(_raise), Part(lambda: forked.append(1))]
    with monkeypatch.context() as patch:
        patch.setattr("atexit.register", lambda function: function)
        for service in "ab":
            process.runtime(AppSettings(service=service))
    bad, good = process.runtimes()
    monkeypatch.setattr(bad, "stop", _raise)
    monkeypatch.setattr(good, "stop", lambda: stopped.append(1))
    process.flush()
    assert stopped
    for part in parts:
        process.join(part)
    process.after_fork()
    assert forked


# ---------------------------------------------------------------- libraries and frameworks


def test_an_error_handler_of_flask_may_be_called_by_keyword() -> None:
    instrument("frameworks")
    try:
        app = Flask("odd")
        with app.test_request_context():
            answer = app.handle_exception(e=ValueError("odd"))
    finally:
        uninstrument()
    assert answer.status_code == 500


@pytest.mark.parametrize("kind", ["redis.client", "redis.asyncio.client"])
def test_a_pipeline_unlike_those_of_redis_py_is_left_alone(kind: str) -> None:
    class Pipeline:
        immediate_execute_command = None

        def execute(self) -> Any:
            return self._later() if "asyncio" in kind else "done"

        async def _later(self) -> str:
            return "done"

    module, patches = ModuleType(kind), Patches()
    vars(module).update(Redis=type("Redis", (), {"execute_command": None}), Pipeline=Pipeline)
    redis.patch(module, patches)
    result = Pipeline().execute()
    if "asyncio" in kind:
        with pytest.raises(StopIteration, match="done"):
            result.send(None)
    else:
        assert result == "done"


def test_a_route_that_takes_no_attributes_has_its_template(measured: Measured) -> None:
    class Strict(Route):
        def __setattr__(self, name: str, value: Any) -> None:
            if name.startswith("trimtab"):
                raise ValueError("no such field")
            super().__setattr__(name, value)

    async def answer(request: Any) -> PlainTextResponse:
        return PlainTextResponse("x")

    app = measured.asgi(Starlette(routes=[Strict("/items/{id}", answer)]))
    for _ in range(2):
        assert call(app, "/items/1").status == 200
    assert [seen.template for seen in measured.records(2)] == ["/items/{id}"] * 2


def test_a_failure_that_cannot_be_counted_raises_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queries, "_FAILED", SimpleNamespace(at=_raise))
    monkeypatch.setattr(queries, "_query", _raise)
    queries.book("odd", "SELECT odd", 0, 1)


def test_a_context_that_is_out_already_is_left_alone() -> None:
    token = context.context_variable.set(None)
    for _ in range(2):
        context.reset_context(token)


# ---------------------------------------------------------------- what is unlike all else


class Uncomparable:
    """A callback of the garbage collector that is equal to nothing, and says so loudly."""

    __eq__ = _raise
    __hash__ = object.__hash__

    def __call__(self, phase: str, info: dict[str, int]) -> None:
        pass


def test_the_garbage_collector_is_let_go_of_whatever_else_listens() -> None:
    other, before = Uncomparable(), len(gc.callbacks)
    gc.callbacks.insert(0, other)
    try:
        vitals = Vitals(Recorder(65536, RouteTable()))
        assert len(gc.callbacks) == before + 2
        vitals.close()
        vitals.close()
        assert gc.callbacks[0] is other
        assert len(gc.callbacks) == before + 1
    finally:
        del gc.callbacks[0]


def test_a_record_without_memory_is_counted_and_raises_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_memory(*_: Any, **__: Any) -> NoReturn:
        raise MemoryError

    monkeypatch.setattr("trimtab.recorder.Record", no_memory)
    recorder = Recorder(65536, RouteTable())
    recorder.append(0, 0, 0, 1 << 40, 0, 0, 0, 0, None)
    assert recorder.dropped_full == 1
