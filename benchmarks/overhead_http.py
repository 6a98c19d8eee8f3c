"""The `http` rows of `overhead`: uvicorn on one core, a load client that polls on the other.

Every round starts fresh servers of all variants; then, for each number of connections, they are
loaded in turns, short windows in random order, while the others idle. Windows of one turn are
paired. A window in which somebody else used a core is thrown away and repeated.
The polling client is `children/polling_client.c`, which says why it polls; wrk, which sleeps, is
run beside it where it is installed.
"""

import hashlib
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from harness import Row, differences, interleave, progress, ratios, spread
from processes import (
    CACHE,
    CHILDREN,
    busy_s,
    core_pair,
    cpu_s,
    free_port,
    pin,
    running,
    wait_for,
)

__all__ = ["Load", "http_rows"]

VARIANTS: Final = (
    "bare",
    "trimtab",
    "trimtab-all",
    "prometheus-fastapi-instrumentator",
    "opentelemetry",
)
RIVALS: Final = VARIANTS[3:]
#: connections -> least requests/s against bare
GOALS: Final = {1: 0.97, 16: 0.88, 64: 0.88}
CPU_GOAL_US: Final = 4.0
PATHS: Final = ("/items/42", "/", "/items/7", "/search")
_WRK: Final = "wrk"
_TRIES: Final = 4
#: share of a window that others may use of the server's core, and ticks of 10 ms for rounding
_FOREIGN_SHARE: Final = 0.04
_FOREIGN_S: Final = 0.02
#: a polling client that got less of its core than this was disturbed
_CLIENT_SHARE: Final = 0.94


class Server(NamedTuple):
    """A server under load."""

    variant: str
    pid: int
    port: int


class Window(NamedTuple):
    """One measurement of one server."""

    per_second: float
    cpu_us: float
    p99_us: float


#: by connections or wrk, then by variant: windows in the order of turns, None when disturbed
Results = dict[str, dict[str, list[Window | None]]]


class Load:
    """The load client, the sizes of a run, and what was asked in it."""

    def __init__(self, python: Path, environ: Mapping[str, str], *, quick: bool) -> None:
        self.python = python
        self.environ = environ
        self.quick = quick
        self.seconds = 0.3 if quick else 1.0
        self.turns = 1 if quick else 3
        self.cores = core_pair()
        self.client = _polling_client()
        self.wrk = shutil.which("wrk")
        self.thrown_away = 0
        #: responses that trimtab should have recorded, and requests cut off at a window's end
        self.responses = 0
        self.cut_off = 0

    def round(self, results: Results) -> None:
        """Start a server of each variant and add their windows to the results."""
        with ExitStack() as stack:
            servers = {name: stack.enter_context(self._server(name)) for name in VARIANTS}
            for server in servers.values():
                self._poll(server, 16, self.seconds)
            for key in (*map(str, GOALS), *([_WRK] if self.wrk else [])):
                variants = {name: self._turn(servers[name], key) for name in VARIANTS}
                for name, windows in interleave(variants, self.turns).items():
                    results.setdefault(key, {}).setdefault(name, []).extend(windows)

    @contextmanager
    def _server(self, variant: str) -> Iterator[Server]:
        port = free_port()
        command = [
            *(str(self.python), "-m", "uvicorn", "apps:served", "--factory"),
            *("--app-dir", str(CHILDREN), "--port", str(port)),
            *("--http", "httptools", "--loop", "uvloop"),
            *("--no-access-log", "--log-level", "warning"),
        ]
        environ = {**self.environ, "BENCH_VARIANT": variant}
        core = self.cores[0] if self.cores else None
        with running(command, core=core, environ=environ) as child:
            wait_for(("127.0.0.1", port), child)
            yield Server(variant, child.pid, port)

    def _turn(self, server: Server, key: str) -> Callable[[], Window | None]:
        connections = 0 if key == _WRK else int(key)
        return lambda: self._clean(server, connections)

    def _clean(self, server: Server, connections: int) -> Window | None:
        """Return a window that nobody disturbed; None when there was none in some tries."""
        for _ in range(_TRIES):
            window, disturbed = self._window(server, connections)
            if not disturbed or self.quick:
                return window
            self.thrown_away += 1
        return None

    def _window(self, server: Server, connections: int) -> tuple[Window, bool]:
        core = self.cores[0] if self.cores else None
        busy = busy_s(core) if core is not None else 0.0
        used, client, begin = cpu_s(server.pid), _children_s(), time.monotonic()
        if connections:
            responses, per_second, p99_us = self._poll(server, connections, self.seconds)
        else:
            responses, per_second, p99_us = self._sleep(server)
        took = time.monotonic() - begin
        used, client = cpu_s(server.pid) - used, _children_s() - client
        disturbed = False
        if core is not None:
            foreign = busy_s(core) - busy - used
            disturbed = foreign > _FOREIGN_SHARE * took + _FOREIGN_S
            if connections:
                disturbed |= client < _CLIENT_SHARE * took
        return Window(per_second, used / responses * 1e6, p99_us), disturbed

    def _poll(self, server: Server, connections: int, seconds: float) -> tuple[int, float, float]:
        command = [*self.client, str(server.port), str(connections), str(seconds), *PATHS]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        result = json.loads(done.stdout)
        if result["bad"] or not result["responses"]:
            raise RuntimeError(f"expected responses of status 200, got {result}")
        self._count(server, result["responses"], connections)
        return result["responses"], result["responses"] / result["seconds"], result["p99_us"]

    def _sleep(self, server: Server) -> tuple[int, float, float]:
        # wrk asks for one path; half of the polling client's requests are this one or alike.
        url = f"http://127.0.0.1:{server.port}{PATHS[0]}"
        seconds = max(1, round(self.seconds))
        command = [str(self.wrk), "-t1", "-c16", f"-d{seconds}s", "--latency", url]
        text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        total = re.search(r"(\d+) requests in", text)
        rate = re.search(r"Requests/sec: +([\d.]+)", text)
        tail = re.search(r"99% +([\d.]+)(us|ms|s)", text)
        if total is None or rate is None or tail is None or "Non-2xx" in text:
            raise RuntimeError(f"expected the report of wrk with responses of 2xx, got {text!r}")
        p99_us = float(tail[1]) * {"us": 1.0, "ms": 1e3, "s": 1e6}[tail[2]]
        self._count(server, int(total[1]), 16)
        return int(total[1]), float(rate[1]), p99_us

    def _count(self, server: Server, responses: int, connections: int) -> None:
        if server.variant.startswith("trimtab"):
            self.responses += responses
            self.cut_off += connections


def measure(load: Load, rounds: int) -> Results:
    """Return the windows of all rounds."""
    results: Results = {}
    allowed = os.sched_getaffinity(0)
    try:
        # The clients inherit this process's core; it does nothing itself while they run.
        pin(load.cores[1] if load.cores else None)
        for index in range(rounds):
            progress(f"http: round {index + 1} of {rounds}")
            load.round(results)
    finally:
        os.sched_setaffinity(0, allowed)
    return results


def http_rows(load: Load, rounds: int) -> list[Row]:
    """Return the rows."""
    results = measure(load, rounds)
    progress(f"http: {load.thrown_away} disturbed windows thrown away")
    rows: list[Row] = []
    for connections, goal in GOALS.items():
        rows += _rows(results, connections, goal)
    rows += _extra_rows(results, with_wrk=load.wrk is not None)
    if load.client[0] == sys.executable:
        rows[0] = _noted(rows[0], "no C compiler: the load came from the slower Python client")
    if load.cores is None:
        rows[0] = _noted(rows[0], "one core only: client and server shared it")
    return rows


def _rows(results: Results, connections: int, goal: float) -> list[Row]:
    key = str(connections)
    ends = f"{connections} connection" + ("s" if connections > 1 else "")
    rate = {name: _paired(results, name, key, "per_second") for name in VARIANTS[1:]}
    cpu = {name: _paired(results, name, key, "cpu_us") for name in VARIANTS[1:]}
    own_rate, own_cpu = rate["trimtab"], cpu["trimtab"]
    if not own_rate[0]:
        note = "no window without load of others; run it on a quiet machine"
        return [Row(f"http, {ends}: requests/s against bare", None, "x", f">= {goal}", note=note)]
    kept, added = ratios(*own_rate), differences(*own_cpu)
    rivals_rate = {name: ratios(*rate[name]).median for name in RIVALS if rate[name][0]}
    rivals_cpu = {name: differences(*cpu[name]).median for name in RIVALS if cpu[name][0]}
    bare = spread(own_rate[1])
    return [
        Row(
            f"http, {ends}: requests/s against bare",
            kept.median,
            "x",
            f">= {goal}",
            kept.median >= goal,
            rivals_rate,
            kept,
            f"bare {bare} requests/s, {len(own_rate[0])} clean turns",
        ),
        Row(
            f"http, {ends}: server CPU added",
            added.median,
            "us/request",
            f"<= {CPU_GOAL_US:g}",
            added.median <= CPU_GOAL_US,
            rivals_cpu,
            added,
            f"bare {spread(own_cpu[1])} us",
        ),
    ]


def _extra_rows(results: Results, *, with_wrk: bool) -> list[Row]:
    rows = []
    every = _paired(results, "trimtab-all", "16", "per_second")
    if every[0]:
        cpu = differences(*_paired(results, "trimtab-all", "16", "cpu_us"))
        rows.append(
            Row(
                "http, 16 connections, with Server-Timing: against bare",
                ratios(*every).median,
                "x",
                spread=ratios(*every),
                note=f"server CPU {cpu} us a request more; one header more for uvicorn to check",
            )
        )
    tail = _paired(results, "trimtab", "16", "p99_us")
    if tail[0]:
        rivals = {name: _paired(results, name, "16", "p99_us") for name in RIVALS}
        rows.append(
            Row(
                "http, 16 connections: p99 against bare",
                ratios(*tail).median,
                "x",
                rivals={name: ratios(*pair).median for name, pair in rivals.items() if pair[0]},
                spread=ratios(*tail),
            )
        )
    sleeping = _paired(results, "trimtab", _WRK, "per_second") if with_wrk else ([], [])
    what = "http, wrk (a client that sleeps), 16 connections: against bare"
    if sleeping[0]:
        rivals = {name: _paired(results, name, _WRK, "per_second") for name in RIVALS}
        cpu = differences(*_paired(results, "trimtab", _WRK, "cpu_us"))
        rows.append(
            Row(
                what,
                ratios(*sleeping).median,
                "x",
                rivals={name: ratios(*pair).median for name, pair in rivals.items() if pair[0]},
                spread=ratios(*sleeping),
                note=f"server CPU {cpu} us a request more, most of it waking the client: no goal",
            )
        )
    else:
        rows.append(Row(what, None, "x", note="wrk is not installed or was always disturbed"))
    return rows


def _paired(results: Results, name: str, key: str, figure: str) -> tuple[list[float], list[float]]:
    """Return a figure of a variant and of bare, for the turns in which both were clean."""
    windows = results.get(key, {})
    pairs = [
        (getattr(window, figure), getattr(bare, figure))
        for window, bare in zip(windows.get(name, ()), windows.get("bare", ()), strict=True)
        if window is not None and bare is not None
    ]
    return [own for own, _ in pairs], [bare for _, bare in pairs]


def _noted(row: Row, note: str) -> Row:
    both = f"{row.note}; {note}" if row.note else note
    return Row(row.what, row.value, row.unit, row.goal, row.met, row.rivals, row.spread, both)


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _polling_client() -> list[str]:
    """Return the command of the compiled client, of the Python one where nothing compiles."""
    source = CHILDREN / "polling_client.c"
    fallback = [sys.executable, str(CHILDREN / "polling_client.py")]
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        return fallback
    digest = hashlib.sha256(source.read_bytes()).hexdigest()[:16]
    program = CACHE / f"polling_client-{digest}"
    if not program.is_file():
        progress("compiling the polling client")
        CACHE.mkdir(parents=True, exist_ok=True)
        done = subprocess.run([compiler, "-O2", "-o", program, source], check=False)
        if done.returncode:
            return fallback
    return [str(program)]
