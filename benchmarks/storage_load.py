"""Load on a whole collector: what it costs until all is merged, how it answers beside, its memory.

Windows are old enough that they are merged as soon as they are there, and those of a round lie in
hours of their own. CPU is that of all processes of the collector, from the first byte on.
"""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final, NamedTuple

import processes
from harness import progress
from storage_collector import Collector

__all__ = ["Held", "Merged", "Weighed", "compacted", "half_load", "hours_back", "weighed"]

AGENTS: Final = 32
_HOUR_S: Final = 3600
#: windows that start longer ago than this are merged at once
_RECENT_S: Final = 1000
_DRAIN_S: Final = 180.0
_IDLE: Final = 0.05


class Merged(NamedTuple):
    """A round until everything was merged; None for what was not waited for."""

    per_cpu_s: float | None
    #: until no process had anything more to do, as far as one sees that from outside
    settled_per_cpu_s: float | None
    #: until the last answer, of the server alone
    ack_per_cpu_s: float
    batches_per_s: float
    per_s: float | None
    p99_ms: float
    facts: dict[str, float]


class Held(NamedTuple):
    """A load at a fixed rate; answers in ms while another process than the server was busy."""

    rate: float
    p50_ms: float | None
    p99_ms: float | None
    max_ms: float | None
    #: of these times, in seconds, and the answers in them
    busy_s: float
    answers: int
    #: over all of it
    all_p50_ms: float
    all_p99_ms: float
    #: batches merged while it went on, and sent
    merged: int
    sent: int
    #: share of a core that each took: server, others
    server: float
    worker: float


class Weighed(NamedTuple):
    """The most memory seen, in MB: of all at one moment, of the server, of the others."""

    total: float
    server: float
    worker: float
    samples: int
    reads: int
    sent: int
    seconds: float


def hours_back(hours: int) -> int:
    """Return the end of an hour that is past, counted back from the last that is merged whole."""
    now_s = int(time.time()) - _RECENT_S
    return now_s - now_s % _HOUR_S - hours * _HOUR_S


def compacted(
    server: Collector,
    batches: int,
    end_s: int,
    seed: int,
    core: int | None,
    *,
    wait: bool,
    varied: bool = False,
) -> Merged:
    """Send so many batches as fast as they are answered and wait until they are merged."""
    windows = max(1, batches // AGENTS)
    asked = {"agents": AGENTS, "windows": windows, "end_s": end_s, "seed": seed, "varied": varied}
    with _agents(server, core, **asked) as (client, facts):
        before_s, begun = server.cpu_s(), time.perf_counter()
        own_s = processes.cpu_s(server.pid)
        result = _go(client)
        own_s = processes.cpu_s(server.pid) - own_s
        rates: list[float | None] = [None] * 3
        points = facts["points"]
        if wait:
            _drained(server)
            cpu_s, seconds = server.cpu_s() - before_s, time.perf_counter() - begun
            rates = [points / cpu_s, points / (_settled(server) - before_s), points / seconds]
    p99_ms = _quantile([ms for _, ms in result["answers"]], 0.99)
    assert p99_ms is not None
    per_s = facts["batches"] / result["seconds"]
    return Merged(rates[0], rates[1], points / own_s, per_s, rates[2], p99_ms, facts)


def half_load(server: Collector, rate: float, seconds: float, end_s: int, seed: int) -> Held:
    """Send batches at a rate and return how they were answered."""
    windows = max(1, round(rate * seconds / AGENTS))
    asked = {"agents": AGENTS, "windows": windows, "end_s": end_s, "seed": seed, "rate": rate}
    with _agents(server, None, **asked) as (client, facts):
        waiting, own_s, all_s = server.journal(), processes.cpu_s(server.pid), server.cpu_s()
        begun = time.perf_counter()
        with _watched(server) as busy:
            result = _go(client)
        took_s = time.perf_counter() - begun
        own_s, all_s = processes.cpu_s(server.pid) - own_s, server.cpu_s() - all_s
        sent = int(facts["batches"])
        merged = sent + waiting - server.journal()
    beside = [
        ms for due_s, ms in result["answers"] if any(low <= due_s < high for low, high in busy)
    ]
    every = [ms for _, ms in result["answers"]]
    all_p50_ms, all_p99_ms = _quantile(every, 0.5), _quantile(every, 0.99)
    assert all_p50_ms is not None
    assert all_p99_ms is not None
    return Held(
        rate,
        _quantile(beside, 0.5),
        _quantile(beside, 0.99),
        max(beside, default=None),
        sum(high - low for low, high in busy),
        len(beside),
        all_p50_ms,
        all_p99_ms,
        merged,
        sent,
        own_s / took_s,
        (all_s - own_s) / took_s,
    )


@contextmanager
def _watched(server: Collector) -> Iterator[list[tuple[float, float]]]:
    """Collect the times, to a fifth of a second, in which others than the server were busy."""
    busy: list[tuple[float, float]] = []
    done = threading.Event()

    def watch() -> None:
        at, before_s = time.perf_counter(), server.cpu_s() - processes.cpu_s(server.pid)
        while not done.wait(0.2):
            now, cpu_s = time.perf_counter(), server.cpu_s() - processes.cpu_s(server.pid)
            if cpu_s - before_s > 0.2 * (now - at):
                busy.append((at, now))
            at, before_s = now, cpu_s

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield busy
    finally:
        done.set()
        thread.join()


def weighed(
    server: Collector, routes: int, instances: int, windows: int, rate: float, more_s: float
) -> Weighed:
    """Send the last `windows` windows of all series at a rate, reading all the while.

    Memory is looked at four times a second, also for more_s seconds after the last batch.
    """
    done = threading.Event()
    reads = 0

    def read() -> None:
        nonlocal reads
        asking = Collector(server.pid, server.port, server.key, server.token, 0.0)
        questions: tuple[tuple[str, dict[str, object]], ...] = (
            ("/routes", {"by": "p99", "limit": 20, "from": "-1h"}),
            ("/metrics/history", {"from": "-24h", "step": 60}),
            ("/services", {"from": "-15m"}),
            ("/metrics/history", {"from": "-1h", "step": 10, "route": "/v1/things/1/{id}"}),
            ("/response-time", {"from": "-2h"}),
        )
        while not done.wait(0.2):
            path, query = questions[reads % len(questions)]
            asking.get(path, **query)
            reads += 1

    end_s = int(time.time()) // 10 * 10
    reader = threading.Thread(target=read, daemon=True)
    samples: list[tuple[float, float]] = []
    begun = time.perf_counter()
    asked = {"agents": instances, "routes": routes, "windows": windows, "end_s": end_s}
    with _agents(server, None, rate=rate, seed=7, **asked) as (client, facts):
        assert client.stdin is not None
        assert client.stdout is not None
        client.stdin.write("go\n")
        client.stdin.flush()
        reader.start()
        sending = threading.Thread(target=client.stdout.readline, daemon=True)
        sending.start()
        end_at = 0.0
        while not end_at or time.perf_counter() < end_at:
            samples.append(server.memory_mb())
            time.sleep(0.25)
            if not end_at and not sending.is_alive():
                end_at = time.perf_counter() + more_s
            if not reader.is_alive():
                raise SystemExit("ingest: a read failed; its error is above")
    done.set()
    reader.join()
    return Weighed(
        max(map(sum, samples)),
        max(server_mb for server_mb, _ in samples),
        max(worker_mb for _, worker_mb in samples),
        len(samples),
        reads,
        int(facts["batches"]),
        time.perf_counter() - begun,
    )


@contextmanager
def _agents(
    server: Collector, core: int | None, **more: Any
) -> Iterator[tuple["subprocess.Popen[str]", dict[str, float]]]:
    """Start the client and let it make its batches; see there for what may be asked."""
    asked = {"port": server.port, "key": server.key, "routes": 200, "rate": 0, "varied": False}
    asked |= more
    command = [sys.executable, str(processes.CHILDREN / "ingest_agents.py"), json.dumps(asked)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as client:
        assert client.stdout is not None
        processes.pin(core, client.pid)
        try:
            yield client, json.loads(client.stdout.readline())
        finally:
            with suppress(OSError):
                client.terminate()


def _quantile(values: list[float], quantile: float) -> float | None:
    return sorted(values)[int(len(values) * quantile)] if values else None


def _go(client: "subprocess.Popen[str]") -> dict[str, Any]:
    assert client.stdin is not None
    assert client.stdout is not None
    client.stdin.write("go\n")
    client.stdin.flush()
    line = client.stdout.readline()
    if not line:
        raise SystemExit("ingest: the client ended without a result; its error is above")
    result: dict[str, Any] = json.loads(line)
    return result


def _drained(server: Collector) -> None:
    """Return when the journal is empty."""
    deadline = time.monotonic() + _DRAIN_S
    while left := server.journal():
        if time.monotonic() > deadline:
            raise SystemExit(
                f"ingest: expected an empty journal within {_DRAIN_S:.0f} s, {left} batches wait"
            )
        time.sleep(0.1)


def _settled(server: Collector) -> float:
    """Return the CPU seconds when nothing is done any more for three seconds."""
    before, quiet = server.cpu_s(), 0
    deadline = time.monotonic() + _DRAIN_S
    while quiet < 3 and time.monotonic() < deadline:
        time.sleep(1)
        now = server.cpu_s()
        quiet = quiet + 1 if now - before < _IDLE else 0
        before = now
    if quiet < 3:
        progress("ingest: the collector is busy still, with an empty journal")
    return before
