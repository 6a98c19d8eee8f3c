"""Durable ingest of the collector: series-points a CPU-second, and how long an ack takes.

32 keep-alive connections send batches of 200 points (about nine buckets each, scale 5); each is
answered after an fsync. CPU is that of the whole collector process: HTTP, decoding, checks,
accounts, commit. The rival keeps the same data with the same durability as one row a point.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import harness
import processes

GOAL = 600_000
ROUNDS = 5
BATCHES = 3_200
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
    pair = processes.core_pair()
    server_core, client_core = pair or (None, None)
    processes.CACHE.mkdir(parents=True, exist_ok=True)
    # On the disk of the repository: a directory in memory would make fsync free.
    directory = Path(tempfile.mkdtemp(prefix="ingest-", dir=processes.CACHE))
    try:
        with ExitStack() as stack:
            ours = stack.enter_context(collector(directory, server_core))
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
                said="ingest",
            )
            rss = processes.rss_mb(ours.pid)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    report(results, rss, options.json)


def report(results: dict[str, list[Round]], rss: float, json_path: str | None) -> None:
    """Print the table."""

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
    rows.append(harness.Row("memory of the collector afterwards", rss, "MB"))
    harness.report("ingest", rows, json_path, harness.packages(*VERSIONS))


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
def collector(directory: Path, core: int | None) -> Iterator[Server]:
    """Run the collector as it is shipped."""
    port = processes.free_port()
    console = [sys.executable, "-m", "trimtab_core.console"]
    data = ["--data-dir", str(directory / "collector")]
    made = subprocess.run(
        [*console, "key", "new", *data], capture_output=True, text=True, check=True
    )
    log = directory / "collector.log"
    command = [*console, "collector", "--port", str(port), "--log-level", "warning", *data]
    with processes.running(command, core=core, log=log) as child:
        processes.wait_for(("127.0.0.1", port), child)
        yield Server(child.pid, port, made.stdout.strip())


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
