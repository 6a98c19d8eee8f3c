"""What seeing inside an app costs: hooks of libraries, own metrics, gauges of host and process.

A hook's cost is the difference of the same call with and without it, in CPU time of the calling
thread, in the same process, in turns. The library below is as fast as it can be (SQLite in memory,
Redis and an HTTP server on loopback), so that the difference is not lost in it. In a request there
is a context, outside none.
"""

import http.server
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import httpx
import prometheus_client
import psutil
import redis
import sqlalchemy

from harness import Row, arguments, differences, interleave, packages, report, spread
from trimtab.context import RequestContext, context_variable
from trimtab.instrumentation import instrument, uninstrument
from trimtab.metrics.counter import Counter
from trimtab.metrics.decorators import monitored
from trimtab.metrics.histogram import Histogram
from trimtab.recorder import Recorder
from trimtab.routes import RouteTable
from trimtab.runtime import PROCESS
from trimtab.vitals import Vitals
from trimtab_agent.gauges.host import HostReader
from trimtab_core.shapecache import ShapeCache
from trimtab_core.shapes import shape

ROUNDS: Final = 15
_CALLS: Final = 4
LIBRARIES: Final = ("sqlalchemy", "redis", "httpx", "prometheus-client", "psutil")
Call = Callable[[], Any]


def main() -> None:
    options = arguments(__doc__)
    rounds = options.rounds or (3 if options.quick else ROUNDS)
    count = 80 if options.quick else 2_000
    rows = [*hooks(rounds, count), *own(rounds, 50 * count), *gauges(rounds, count)]
    report("instrument", rows, options.json, packages(*LIBRARIES))


def timed(call: Call, count: int) -> float:
    """Return us of CPU a call, over count calls, with what the emitter has to add up later."""
    for _ in range(count // 10):
        call()
    for _ in PROCESS.measures.changed():
        pass
    # What waits for a server, or for a neighbour of this machine, is no cost.
    begun = time.thread_time()
    for _ in range(count):
        call()
    for _ in PROCESS.measures.changed():
        pass
    return (time.thread_time() - begun) / count * 1e6


def hooks(rounds: int, count: int) -> Iterator[Row]:
    """Yield what a statement, a command and a call cost more when they are measured."""
    engine = sqlalchemy.create_engine("sqlite://", poolclass=sqlalchemy.StaticPool)
    with engine.connect() as connection:
        connection.exec_driver_sql("CREATE TABLE things (id INTEGER PRIMARY KEY, name TEXT)")
        query = sqlalchemy.text("SELECT name FROM things WHERE id = :id")

        def statement() -> None:
            connection.execute(query, {"id": 1}).all()

        yield from hook("SQLAlchemy statement", "sqlalchemy", statement, rounds, count)
    with redis_client() as client:
        if client is None:
            yield Row("redis command", None, "us", "<= 3", note="redis-server is not here")
        else:
            yield from hook("redis command", "redis", lambda: client.get("key"), rounds, count)
    with site() as url, httpx.Client() as http_client:
        yield from hook("httpx call", "httpx", lambda: http_client.get(url), rounds, count // 4)
    texts = ShapeCache(lambda sql: shape(sql, "sqlite"))
    sql = "SELECT name FROM things WHERE id = 17 AND name IN ('a', 'b', 'c')"
    cached = interleave({"shape": lambda: timed(lambda: texts.of(sql), 20 * count)}, rounds)[
        "shape"
    ]
    bare = interleave({"empty": lambda: timed(lambda: None, 20 * count)}, rounds)["empty"]
    found = differences(cached, bare)
    yield Row("fingerprint, cached", found.median, "us", "<= 0.1", found.median <= 0.1,
              spread=found)  # fmt: skip


def hook(what: str, library: str, call: Call, rounds: int, count: int) -> Iterator[Row]:
    """Yield the cost of a library's hook, inside a request and outside one."""

    def bare() -> float:
        uninstrument()
        return timed(call, count)

    def measured() -> float:
        instrument(library)
        return timed(call, count)

    def inside() -> float:
        instrument(library)

        def request() -> None:
            # A context of its own for every four calls, as requests have; five would be an N+1.
            token = context_variable.set(RequestContext())
            for _ in range(_CALLS):
                call()
            context_variable.reset(token)

        return timed(request, count // _CALLS) / _CALLS

    turns = interleave(
        {"bare": bare, "measured": measured, "in a request": inside}, rounds, said=what
    )
    uninstrument()
    for name in ("in a request", "measured"):
        found = differences(turns[name], turns["bare"])
        where = "in a request" if name == "in a request" else "outside one"
        goal = "<= 3" if name == "in a request" else ""
        met = found.median <= 3 if goal else None
        note = f"the call itself takes {spread(turns['bare']).median:.1f} us" if goal else ""
        yield Row(f"{what}, {where}", found.median, "us", goal, met, spread=found, note=note)


@contextmanager
def redis_client() -> Iterator["redis.Redis | None"]:
    """Yield a client of a Redis of our own, None where there is no program."""
    program = shutil.which("redis-server")
    if program is None:
        yield None
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as directory:
        server = subprocess.Popen(
            [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", directory],
            stdout=subprocess.DEVNULL,
        )
        try:
            with redis.Redis(port=port) as client:
                for _ in range(200):
                    try:
                        client.set("key", "value")
                        break
                    except redis.ConnectionError:
                        time.sleep(0.05)
                yield client
        finally:
            server.terminate()
            server.wait()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    #: buffered: head and body in one segment, or the client waits 40 ms for the second
    wbufsize = -1

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def site() -> Iterator[str]:
    """Yield the address of a small HTTP server."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()


def own(rounds: int, count: int) -> Iterator[Row]:
    """Yield what own metrics cost, beside prometheus_client."""
    counter = Counter("bench.calls", "Calls.")
    histogram = Histogram("bench.sizes", "Sizes.")
    theirs = prometheus_client.CollectorRegistry()
    their_counter = prometheus_client.Counter("calls", "Calls.", registry=theirs)
    their_histogram = prometheus_client.Histogram("sizes", "Sizes.", registry=theirs)
    their_summary = prometheus_client.Summary("timed", "Time.", registry=theirs)

    @monitored
    def decorated() -> None:
        """Do nothing."""

    @their_summary.time()
    def theirs_decorated() -> None:
        """Do nothing."""

    def plain() -> None:
        """Do nothing."""

    pairs: dict[str, tuple[float, Call, Call]] = {
        "counter increment": (0.25, counter.inc, their_counter.inc),
        "histogram observe": (
            0.5, lambda: histogram.observe(0.123), lambda: their_histogram.observe(0.123)
        ),
        "timed decorator": (1.0, decorated, theirs_decorated),
    }  # fmt: skip
    for what, (goal, ours, other) in pairs.items():
        turns = interleave(
            {
                "ours": lambda ours=ours: timed(ours, count),  # type: ignore[misc]
                "theirs": lambda other=other: timed(other, count),  # type: ignore[misc]
                "empty": lambda: timed(plain, count),
            },
            rounds,
            said=what,
        )
        found = differences(turns["ours"], turns["empty"])
        rival = differences(turns["theirs"], turns["empty"]).median
        yield Row(
            what,
            found.median,
            "us",
            f"<= {goal:g}",
            found.median <= goal,
            {"prometheus_client": rival},
            found,
            "with what adding up takes later",
        )


def gauges(rounds: int, count: int) -> Iterator[Row]:
    """Yield what reading the host and a process takes."""
    host = HostReader()
    vitals = Vitals(Recorder(64 * 1024, RouteTable()))
    process = psutil.Process()
    variants: dict[str, Call] = {
        "host": lambda: host.read(time.monotonic()),
        "process": vitals.read,
        "psutil": lambda: (
            psutil.cpu_percent(),
            psutil.virtual_memory(),
            psutil.swap_memory(),
            psutil.disk_io_counters(),
            psutil.net_io_counters(),
            psutil.disk_usage("/"),
            process.memory_info(),
            process.num_fds(),
        ),
    }
    turns = interleave(
        {name: lambda call=call: timed(call, count // 4) for name, call in variants.items()},  # type: ignore[misc]
        rounds,
        said="gauges",
    )
    vitals.close()
    taken = spread(turns["host"])
    yield Row("all gauges of the host", taken.median / 1000, "ms", "<= 0.5", taken.median <= 500,
              {"psutil, as much of it": spread(turns["psutil"]).median / 1000})  # fmt: skip
    process_us = spread(turns["process"])
    yield Row("all gauges of the process", process_us.median, "us", spread=process_us)
    # The host twice a window of ten seconds, each process once a second: four of them.
    share = (taken.median / 5 + 4 * process_us.median) / 1e6 * 100
    yield Row("all gauges together", share, "% of a core", "<= 0.3", share <= 0.3,
              note="the host each 5 s, four processes each second")  # fmt: skip


if __name__ == "__main__":
    main()
