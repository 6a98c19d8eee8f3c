"""Durable ingest of the collector: series-points a CPU-second, time to the ack, memory.

32 keep-alive connections send batches of 200 points (about nine buckets each, scale 5); each is
answered after an fsync. CPU of the plain ack is that of the serving process: HTTP, decoding,
checks, accounting, commit. The rival keeps the same data, as durably, as one row a point.
With compaction, it is that of all processes until the journal is empty and all points are merged.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import harness
import processes
import storage_load
from storage_collector import collector

GOAL = 600_000
MERGED_GOAL = 300_000
ACK_MS = 25
MEMORY_MB = 150
ROUNDS = 5
BATCHES = 3_200
HALF_LOAD_S = 60
VERSIONS = ("numpy", "uvicorn", "uvloop", "httptools", "zstandard", "msgpack")


class Round(NamedTuple):
    """One round against one server."""

    per_cpu_s: float
    per_s: float
    p50_ms: float
    p99_ms: float
    facts: dict[str, float]


class Server(NamedTuple):
    """A server under measurement."""

    pid: int
    port: int
    key: str


def main() -> None:
    options = harness.arguments(__doc__)
    rounds = options.rounds or (1 if options.quick else ROUNDS)
    batches = 320 if options.quick else BATCHES
    processes.CACHE.mkdir(parents=True, exist_ok=True)
    # On the disk of the repository: a directory in memory would make fsync free.
    directory = Path(tempfile.mkdtemp(prefix="ingest-", dir=processes.CACHE))
    try:
        rows = acknowledged(directory, rounds, batches)
        rows += merged(directory, min(3, rounds), batches, options.quick)
        rows += memory(directory, options.quick)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    harness.report("ingest", rows, options.json, harness.packages(*VERSIONS))


def acknowledged(directory: Path, rounds: int, batches: int) -> list[harness.Row]:
    """Return the rows of the plain ack, beside the rival; windows are too young to be merged."""
    server_core, client_core = processes.core_pair() or (None, None)
    with ExitStack() as stack:
        running = stack.enter_context(collector(directory, directory / "ack", server_core))
        ours = Server(running.pid, running.port, running.key)
        rival = stack.enter_context(row_per_point(directory, server_core))
        for server in (ours, rival):
            measure(server, 320, 0, client_core)
        seeds = iter(range(1, 1_000))
        results = harness.interleave(
            {
                "trimtab": lambda: measure(ours, batches, next(seeds), client_core),
                "row per point": lambda: measure(rival, batches, next(seeds), client_core),
            },
            rounds,
            said="ingest, ack",
        )
    return ack_rows(results)


def merged(directory: Path, rounds: int, batches: int, quick: bool) -> list[harness.Row]:
    """Return the rows with compaction: what a point costs in all, and the ack at half load."""
    _, client_core = processes.core_pair() or (None, None)
    with collector(directory, directory / "merged") as server:
        hours = iter(range(100))

        def one(varied: bool) -> storage_load.Merged:
            hour = next(hours)
            end_s = storage_load.hours_back(hour)
            return storage_load.compacted(
                server, batches, end_s, hour, client_core, wait=not quick, varied=varied
            )

        one(False)  # the first that this process sees
        both = {"alike": lambda: one(False), "varied": lambda: one(True)}
        results = harness.interleave(both, rounds, said="ingest, with compaction")
        found = results["alike"]
        rate = harness.spread([each.batches_per_s for each in found]).median / 2
        seconds = 1 if quick else HALF_LOAD_S
        harness.progress(f"ingest, {rate:.0f} batches a second for {seconds} s")
        end_s = storage_load.hours_back(next(hours) + 2)
        held = storage_load.half_load(server, rate, seconds, end_s, 99)
    return merged_rows(found, results["varied"], held)


def memory(directory: Path, quick: bool) -> list[harness.Row]:
    """Return the rows of memory: 70 minutes of 10,000 series in about a minute and a half."""
    routes, instances, windows = (20, 4, 12) if quick else (200, 50, 420)
    with collector(directory, directory / "memory") as server:
        idle = sum(server.memory_mb())
        harness.progress("ingest, memory")
        rate = 240.0
        found = storage_load.weighed(server, routes, instances, windows, rate, 1 if quick else 45)
    note = (
        f"PSS, worst of {found.samples} looks in {found.seconds:.0f} s: {found.sent} batches at "
        f"{rate:.0f} a second, {routes} routes on {instances} instances, windows of the last "
        f"{windows / 6:.0f} minutes, {found.reads} reads; {idle:.0f} MB before"
    )
    goal = f"<= {MEMORY_MB}"
    met = found.total <= MEMORY_MB
    return [
        harness.Row("memory, all processes", found.total, "MB", goal, met, note=note),
        harness.Row("memory, server", found.server, "MB"),
        harness.Row("memory, worker", found.worker, "MB"),
    ]


def ack_rows(results: dict[str, list[Round]]) -> list[harness.Row]:
    """Return the rows of the plain ack."""

    def spread(name: str, field: str) -> harness.Spread:
        return harness.spread([getattr(result, field) for result in results[name]])

    ours, rival = results["trimtab"], results["row per point"]
    rate = spread("trimtab", "per_cpu_s")
    ratio = harness.ratios([r.per_cpu_s for r in ours], [r.per_cpu_s for r in rival])
    facts = ours[0].facts
    rows = [
        harness.Row(
            "durable ack",
            rate.median,
            "points/CPU-s",
            f">= {GOAL}",
            rate.median >= GOAL,
            {"row per point": spread("row per point", "per_cpu_s").median},
            rate,
            f"{facts['buckets']:.1f} buckets and {facts['requests']:.1f} requests a point, "
            f"{facts['wire_bytes']:.1f} bytes a point on the wire",
        ),
        harness.Row("durable ack, to the rival", ratio.median, "times", spread=ratio),
    ]
    for name, unit in (("per_s", "points/s"), ("p50_ms", "ms"), ("p99_ms", "ms")):
        own = spread("trimtab", name)
        rows.append(
            harness.Row(
                {"per_s": "throughput", "p50_ms": "ack p50", "p99_ms": "ack p99"}[name],
                own.median,
                unit,
                rivals={"row per point": spread("row per point", name).median},
                spread=own,
                note="32 connections that never pause" if name == "p99_ms" else "",
            )
        )
    return rows


def merged_rows(
    found: Sequence[storage_load.Merged],
    varied: Sequence[storage_load.Merged],
    held: storage_load.Held,
) -> list[harness.Row]:
    """Return the rows with compaction."""
    facts = found[0].facts
    rows = [
        _merged_row(
            "with compaction",
            [each.per_cpu_s for each in found],
            "points/CPU-s",
            f"{facts['points']:.0f} points a round, {facts['buckets']:.1f} buckets a point; all "
            "processes, from the first byte until the journal is empty",
            MERGED_GOAL,
        ),
        _merged_row(
            "with compaction, and settled",
            [each.settled_per_cpu_s for each in found],
            "points/CPU-s",
            "the same until no process has been busy for three seconds",
        ),
        _merged_row(
            "with compaction, until merged", [each.per_s for each in found], "points/s", ""
        ),
        _merged_row(
            "with compaction, series that vary",
            [each.per_cpu_s for each in varied],
            "points/CPU-s",
            "no two batches list their series alike, as when a route has no request in a window",
        ),
        _merged_row(
            "durable ack, series that vary",
            [each.ack_per_cpu_s for each in varied],
            "points/CPU-s",
            f"the server alone; {harness.spread([e.ack_per_cpu_s for e in found])} when they do "
            "not",
        ),
    ]
    note = (
        f"{held.rate:.0f} batches a second, half of what connections that never pause got, each "
        f"due at its time; {held.answers} answers in the {held.busy_s:.0f} s in which the worker "
        f"was busy; p99 over all times {held.all_p99_ms:.1f} ms; {held.merged} of {held.sent} "
        f"batches were merged; server {held.server:.0%}, worker {held.worker:.0%} of a core"
    )
    if held.p99_ms is not None:
        note += f"; p50 {held.p50_ms:.1f}, longest {held.max_ms:.0f} ms"
    met = None if held.p99_ms is None else held.p99_ms <= ACK_MS
    what = "ack p99 at half load, compaction running"
    return [*rows, harness.Row(what, held.p99_ms, "ms", f"<= {ACK_MS}", met, note=note)]


def _merged_row(
    what: str, values: Sequence[float | None], unit: str, note: str, goal: float = 0
) -> harness.Row:
    known = [value for value in values if value is not None]
    text = f">= {goal:.0f}" if goal else ""
    if not known:
        return harness.Row(what, None, unit, text, note="not waited for, to be quick")
    middle = harness.spread(known)
    met = middle.median >= goal if goal else None
    return harness.Row(what, middle.median, unit, text, met, spread=middle, note=note)


def measure(server: Server, batches: int, seed: int, core: int | None) -> Round:
    """Let the client send so many batches and return what they cost the server."""
    script = processes.CHILDREN / "ingest_client.py"
    command = [sys.executable, str(script), str(server.port), server.key, str(batches), str(seed)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as client:
        assert client.stdin is not None
        assert client.stdout is not None
        processes.pin(core, client.pid)
        facts = json.loads(client.stdout.readline())
        before = processes.cpu_s(server.pid)
        client.stdin.write("go\n")
        client.stdin.flush()
        line = client.stdout.readline()
        cpu_s = processes.cpu_s(server.pid) - before
    if not line:
        raise SystemExit("ingest: the client ended without a result; its error is above")
    result = json.loads(line)
    points = facts["points"]
    return Round(
        points / cpu_s, points / result["seconds"], result["p50_ms"], result["p99_ms"], facts
    )


@contextmanager
def row_per_point(directory: Path, core: int | None) -> Iterator[Server]:
    """Run the rival."""
    port = processes.free_port()
    script = processes.CHILDREN / "row_per_point.py"
    command = [sys.executable, str(script), str(port), str(directory / "rows.db")]
    with processes.running(command, core=core, log=directory / "rows.log") as child:
        processes.wait_for(("127.0.0.1", port), child)
        yield Server(child.pid, port, "none")


if __name__ == "__main__":
    main()
