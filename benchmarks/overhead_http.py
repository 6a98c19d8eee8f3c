"""The `http` rows of `overhead`: uvicorn on one core, a load client that polls on the other.

Every round starts fresh servers of all variants in a new random order, and loads each at every
number of connections. A window in which somebody else used a core is thrown away and repeated.
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
from collections.abc import Mapping, Sequence
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

__all__ = ["http_rows"]

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


class Window(NamedTuple):
    """One measurement of one server."""

    per_second: float
    cpu_us: float
    p99_us: float


#: by connections, or wrk
Windows = dict[str, Window | None]


class Load:
    """The load client and the sizes of a run."""

    def __init__(self, python: Path, environ: Mapping[str, str], *, quick: bool) -> None:
        self.python = python
        self.environ = environ
        self.quick = quick
        self.seconds = 0.3 if quick else 2.0
        self.cores = core_pair()
        self.client = _polling_client()
        self.wrk = shutil.which("wrk")
        self.thrown_away = 0

    def serve(self, variant: str) -> Windows:
        """Start a server of the variant and return its windows."""
        port = free_port()
        command = [
            *(self.python, "-m", "uvicorn", "apps:served", "--factory", "--app-dir", CHILDREN),
            *("--http", "httptools", "--loop", "uvloop", "--port", port),
            *("--no-access-log", "--log-level", "warning"),
        ]
        environ = {**self.environ, "BENCH_VARIANT": variant}
        core = self.cores[0] if self.cores else None
        with running(list(map(str, command)), core=core, environ=environ) as server:
            wait_for(("127.0.0.1", port), server)
            self._poll(port, 16, self.seconds / 2)
            windows: Windows = {
                str(connections): self._clean(server.pid, port, connections)
                for connections in GOALS
            }
            if self.wrk:
                windows[_WRK] = self._clean(server.pid, port, 0)
            return windows

    def _clean(self, server: int, port: int, connections: int) -> Window | None:
        """Return a window that nobody disturbed; None when there was none in some tries."""
        for _ in range(_TRIES):
            window, disturbed = self._window(server, port, connections)
            if not disturbed or self.quick:
                return window
            self.thrown_away += 1
        return None

    def _window(self, server: int, port: int, connections: int) -> tuple[Window, bool]:
        core = self.cores[0] if self.cores else None
        busy = busy_s(core) if core is not None else 0.0
        used, client, begin = cpu_s(server), _children_s(), time.monotonic()
        if connections:
            responses, per_second, p99_us = self._poll(port, connections, self.seconds)
        else:
            responses, per_second, p99_us = self._sleep(port)
        took = time.monotonic() - begin
        used, client = cpu_s(server) - used, _children_s() - client
        disturbed = False
        if core is not None:
            foreign = busy_s(core) - busy - used
            disturbed = foreign > _FOREIGN_SHARE * took + _FOREIGN_S
            if connections:
                disturbed |= client < _CLIENT_SHARE * took
        return Window(per_second, used / responses * 1e6, p99_us), disturbed

    def _poll(self, port: int, connections: int, seconds: float) -> tuple[int, float, float]:
        command = [*self.client, str(port), str(connections), str(seconds), *PATHS]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        result = json.loads(done.stdout)
        if result["bad"] or not result["responses"]:
            raise RuntimeError(f"expected responses of status 200, got {result}")
        return result["responses"], result["responses"] / result["seconds"], result["p99_us"]

    def _sleep(self, port: int) -> tuple[int, float, float]:
        # wrk asks for one path; half of the polling client's requests are this one or alike.
        url = f"http://127.0.0.1:{port}{PATHS[0]}"
        seconds = max(1, round(self.seconds))
        command = [str(self.wrk), "-t1", "-c16", f"-d{seconds}s", "--latency", url]
        text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        total = re.search(r"(\d+) requests in", text)
        rate = re.search(r"Requests/sec: +([\d.]+)", text)
        tail = re.search(r"99% +([\d.]+)(us|ms|s)", text)
        if total is None or rate is None or tail is None or "Non-2xx" in text:
            raise RuntimeError(f"expected the report of wrk with responses of 2xx, got {text!r}")
        p99_us = float(tail[1]) * {"us": 1.0, "ms": 1e3, "s": 1e6}[tail[2]]
        return int(total[1]), float(rate[1]), p99_us


def http_rows(python: Path, environ: Mapping[str, str], rounds: int, *, quick: bool) -> list[Row]:
    """Return the rows; python is the rivals' environment, environ what its processes need."""
    load = Load(python, environ, quick=quick)
    allowed = os.sched_getaffinity(0)
    try:
        # The clients inherit this process's core; it does nothing itself while they run.
        pin(load.cores[1] if load.cores else None)
        variants = {name: (lambda name=name: load.serve(name)) for name in VARIANTS}
        results = interleave(variants, rounds, said="http")
    finally:
        os.sched_setaffinity(0, allowed)
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


def _rows(results: Mapping[str, Sequence[Windows]], connections: int, goal: float) -> list[Row]:
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
            f"bare {bare} requests/s, {len(own_rate[0])} clean rounds",
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


def _extra_rows(results: Mapping[str, Sequence[Windows]], *, with_wrk: bool) -> list[Row]:
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
                note=f"server CPU +{cpu} us a request; uvicorn checks and writes one header more",
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
                note=f"server CPU +{cpu} us a request, most of it waking the client: no goal",
            )
        )
    else:
        rows.append(Row(what, None, "x", note="wrk is not installed or was always disturbed"))
    return rows


def _paired(
    results: Mapping[str, Sequence[Windows]], name: str, key: str, figure: str
) -> tuple[list[float], list[float]]:
    """Return a figure of a variant and of bare, for the rounds in which both were clean."""
    pairs = [
        (getattr(window, figure), getattr(bare, figure))
        for window, bare in zip(
            (windows.get(key) for windows in results[name]),
            (windows.get(key) for windows in results["bare"]),
            strict=True,
        )
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
