"""From the recorder to the agent over a real socket: order, names, numbers, forks, the end."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.processes.drive import Measured, call
from support.processes.servers import wait_for
from trimtab.connection import Connections
from trimtab.emitter import FRAME_RECORDS, Emitter
from trimtab.events import EventQueue
from trimtab.metrics.measures import Measures
from trimtab.pending import Pending
from trimtab.recorder import Recorder
from trimtab.routes import RouteTable
from trimtab.runtime import flush_all, runtime_for
from trimtab.settings import read_settings
from trimtab_core.catalog import CATALOG
from trimtab_core.config import parse_address
from trimtab_core.messages import MAX_TEMPLATE, Bye, Gauges, Hello, Routes

TESTS = str(Path(__file__).resolve().parent.parent)


async def ok(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})


def contiguous(ranges: list[tuple[int, int]]) -> bool:
    """Tell whether each range begins where the one before it ended, the first at 0."""
    end = 0
    for first, count in ranges:
        if first != end:
            return False
        end += count
    return True


def test_hello_says_who_this_is(measured: Measured) -> None:
    app = measured.asgi(ok, service="shop", environment="prod", version="1.2", host="web-1")
    call(app)
    (hello,) = measured.peer.wait_for(Hello)
    assert (hello.service, hello.environment, hello.version, hello.host) == (
        "shop", "prod", "1.2", "web-1",
    )  # fmt: skip
    assert (hello.pid, hello.sent, hello.worker) == (os.getpid(), 0, -1)
    assert hello.facts["python"].startswith("3.")


def test_records_are_numbered_without_a_gap_and_bye_says_how_many(measured: Measured) -> None:
    app = measured.asgi(ok)
    for n in range(1, 301):
        call(app)
        if n % 100 == 0:
            measured.peer.wait_records(n)
    measured.records(300)
    ((ranges),) = measured.peer.ranges().values()
    assert contiguous(ranges)
    assert len(ranges) >= 3
    assert measured.peer.messages(Bye) == [Bye(300, {})]


def test_names_of_routes_go_ahead_of_the_records_that_need_them(measured: Measured) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        scope["path_template"] = scope["path"]
        await ok(scope, receive, send)

    wrapped = measured.asgi(app)
    for n in range(50):
        call(wrapped, f"/emitted/{n}")
    # A record of an unknown route id is a KeyError in the peer's own books.
    assert [seen.template for seen in measured.records(50)] == [f"/emitted/{n}" for n in range(50)]


def test_a_new_connection_hears_all_names_again_and_where_the_numbers_stand(
    measured: Measured,
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        scope["path_template"] = "/known"
        await ok(scope, receive, send)

    wrapped = measured.asgi(app)
    for _ in range(10):
        call(wrapped)
    measured.peer.wait_records(10)
    measured.peer.cut()
    for _ in range(5):
        call(wrapped)
    assert {seen.template for seen in measured.records(15)} == {"/known"}
    first, second = measured.peer.messages(Hello)
    assert (first.process, first.sent, first.worker) == (second.process, 0, -1)
    # The worker is the one that the peer had given before.
    assert (second.sent, second.worker) == (10, 3)
    assert contiguous(measured.peer.ranges()[first.process])


def test_a_big_burst_travels_in_small_frames(measured: Measured) -> None:
    app = measured.asgi(ok, interval_ms=10_000)
    call(app)
    measured.peer.wait_for(Hello)
    for _ in range(3 * FRAME_RECORDS):
        call(app)
    assert runtime_for(read_settings(**measured.settings(interval_ms=10_000))).flush(5)
    measured.records(3 * FRAME_RECORDS + 1)
    ((ranges),) = measured.peer.ranges().values()
    assert max(count for _, count in ranges) <= FRAME_RECORDS
    assert contiguous(ranges)


def test_a_thousand_of_the_longest_names_arrive(measured: Measured) -> None:
    recorder = Recorder(1 << 20, RouteTable())
    templates = {f"/{n:04}" + "\N{GRINNING FACE}" * (MAX_TEMPLATE - 5) for n in range(1000)}
    for template in sorted(templates):
        recorder.append(recorder.routes.id_of(template), 1, 0, 200, 1, 1, 0, 0, None)
    emitter = started(measured, recorder)
    measured.peer.wait_records(1000)
    emitter.stop(5)
    assert {seen.template for seen in measured.peer.records()} == templates
    assert len(measured.peer.messages(Routes)) > 1


def started(measured: Measured, recorder: Recorder, **changes: Any) -> Emitter:
    hello: Callable[[int, int], Hello] = lambda sent, worker: Hello(  # noqa: E731
        "e", "s", "", "h", os.getpid(), b"8 bytes!", sent, worker
    )
    options = {
        "interval_s": 0.02, "backlog_bytes": 1 << 20, "peer_uids": frozenset({os.getuid()}),
        "connections": Connections(), "pending": Pending(Measures(), EventQueue()), **changes,
    }  # fmt: skip
    address = parse_address(measured.peer.address)
    emitter = Emitter(recorder, address, hello, None, **options)
    emitter.start()
    return emitter


def test_gauges_have_names_of_the_catalogue_and_the_state_of_the_accounting(
    measured: Measured,
) -> None:
    app = measured.asgi(ok, gauges=True)
    call(app)
    first = measured.peer.wait_for(Gauges)[0]
    assert set(first.values) <= set(CATALOG)
    assert {"process.memory.usage", "process.thread.count"} <= set(first.values)
    assert first.values["process.memory.usage"] > 1e6
    assert first.sent <= 1
    second = measured.peer.wait_for(Gauges, 2)[1]
    assert second.sent == 1
    assert 0 <= second.values["process.cpu.utilization"] < 100
    assert 0 <= second.values["trimtab.app.overhead"] < 1


def test_stopping_leaves_no_thread_no_file_and_no_hook_behind(measured: Measured) -> None:
    import gc

    app = measured.asgi(ok, gauges=True)
    files, hooks = len(os.listdir("/proc/self/fd")), len(gc.callbacks)
    for round_ in range(1, 4):
        call(app)
        measured.peer.wait_records(round_)
        flush_all()
        measured.peer.wait_for(Bye, round_)
    wait_for(
        lambda: not [t for t in threading.enumerate() if t.name == "trimtab-emitter"],
        "the emitters to end",
    )
    # The peer closes its end a moment after ours.
    wait_for(lambda: len(os.listdir("/proc/self/fd")) <= files, "the files to be closed")
    assert len(gc.callbacks) == hooks


def test_a_request_after_the_end_starts_anew_under_a_new_process_id(measured: Measured) -> None:
    app = measured.asgi(ok)
    for n in (1, 2, 3):
        call(app)
        measured.records(n)
    assert list(measured.peer.ranges().values()) == [[(0, 1)]] * 3


def test_many_threads_of_one_process_are_counted_exactly(measured: Measured) -> None:
    import asyncio

    from support.processes.drive import request

    app = measured.asgi(ok, buffer_kib=4096)

    async def many() -> None:
        for _ in range(1000):
            await request(app)

    threads = [threading.Thread(target=asyncio.run, args=(many(),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    measured.records(4000)


# ---------------------------------------------------------------- processes

PRELUDE = """
import asyncio, os, sys
sys.path.insert(0, sys.argv[2])
from support.processes.drive import call
from trimtab import Middleware, endings

endings.BACKGROUND_NS = 3600 * 10**9  # as in `measuring`
async def ok(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})

app = Middleware(ok, agent=sys.argv[1], service="s", interval_ms=10000)
def calls(n):
    for _ in range(n):
        assert call(app).status == 200
"""


def run(script: str, measured: Measured) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", PRELUDE + script, measured.peer.address, TESTS]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done


def test_what_is_held_at_the_end_of_a_process_is_sent(measured: Measured) -> None:
    run("calls(500)", measured)
    assert len(measured.peer.wait_records(500)) == 500
    assert measured.peer.wait_for(Bye) == [Bye(500, {})]


def test_an_uncaught_exception_and_an_exit_code_change_nothing_of_that(measured: Measured) -> None:
    script = "calls(20)\ntry:\n    sys.exit(3)\nfinally:\n    os.close(1)"
    command = [sys.executable, "-c", PRELUDE + script, measured.peer.address, TESTS]
    done = subprocess.run(command, capture_output=True, check=False, timeout=60)
    assert done.returncode == 3
    measured.peer.wait_records(20)


def test_a_fork_counts_under_its_own_id_and_resends_nothing_of_its_parents(
    measured: Measured,
) -> None:
    run(
        """
calls(30)
pid = os.fork()
if pid == 0:
    calls(7)
    sys.exit(0)
assert os.waitpid(pid, 0)[1] == 0
calls(5)
""",
        measured,
    )
    measured.peer.wait_for(Bye, 2)
    pids = {hello.process: hello.pid for hello in measured.peer.messages(Hello)}
    assert len(set(pids.values())) == 2
    counts = {
        process: sum(n for _, n in found) for process, found in measured.peer.ranges().items()
    }
    assert sorted(counts.values()) == [7, 35]
    assert all(contiguous(ranges) for ranges in measured.peer.ranges().values())


def test_forks_of_a_preloaded_app_that_has_served_nothing_are_all_counted(
    measured: Measured,
) -> None:
    run(
        """
children = []
for n in range(3):
    pid = os.fork()
    if pid == 0:
        calls(10 + n)
        sys.exit(0)
    children.append(pid)
for pid in children:
    assert os.waitpid(pid, 0)[1] == 0
""",
        measured,
    )
    measured.peer.wait_for(Bye, 3)
    counts = [sum(n for _, n in found) for found in measured.peer.ranges().values()]
    assert sorted(counts) == [10, 11, 12]


def test_importing_starts_no_thread_and_loads_nothing_heavy() -> None:
    script = """
import sys, threading
before = set(sys.modules)
import trimtab
from trimtab import Middleware, WSGIMiddleware
async def app(scope, receive, send): pass
Middleware(app); WSGIMiddleware(app)
heavy = {"zstandard", "psutil", "httpx", "numpy", "starlette", "django", "flask", "uvicorn"}
print(sorted(heavy & set(sys.modules)), threading.active_count())
"""
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout == "[] 1\n"


@pytest.mark.parametrize("signal_name", ["SIGTERM", "SIGINT", "SIGHUP"])
def test_no_signal_handler_is_installed(measured: Measured, signal_name: str) -> None:
    done = run(
        f"import signal\nbefore = signal.getsignal(signal.{signal_name})\ncalls(3)\n"
        f"print(signal.getsignal(signal.{signal_name}) == before)",
        measured,
    )
    assert done.stdout == "True\n"


def test_the_same_settings_share_one_connection(measured: Measured) -> None:
    first, second = measured.asgi(ok), measured.wsgi(lambda e, s: [s("200 OK", [])] and [b""])
    call(first)
    second({"REQUEST_METHOD": "GET"}, lambda *_: None)
    measured.records(2)
    assert len(measured.peer.messages(Hello)) == 1
    settings = read_settings(**measured.settings())
    assert runtime_for(settings) is runtime_for(settings)
