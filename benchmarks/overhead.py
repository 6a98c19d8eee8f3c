"""What the middleware adds to a request, in process and over HTTP, beside its rivals.

Rows `wrapper` and `wsgi` drive a ten-line app without a server or loop; `starlette` and `flask` go
through the framework and count the CPU of all threads; `http` is uvicorn under load. The rivals
live in an environment that this benchmark makes in .cache/bench. Records go to a peer that throws
them away, over the same socket as to an agent; a row checks that all of them came.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any, Final

from harness import Row, Spread, arguments, interleave, packages, report, spread
from overhead_http import Load, http_rows
from processes import CHILDREN, core_pair, environment, own_path, pin, running, wait_for

PACKAGES: Final = (
    "fastapi==0.165.0",
    "flask==3.1.3",
    "httptools==0.9.0",
    "msgpack==1.2.4",
    "opentelemetry-instrumentation-asgi==0.66b1",
    "opentelemetry-instrumentation-starlette==0.66b1",
    "opentelemetry-sdk==1.45.1",
    "prometheus-fastapi-instrumentator==8.1.0",
    "prometheus-flask-exporter==0.23.2",
    "starlette==1.10.0",
    "uvicorn==0.54.0",
    "uvloop==0.23.0",
    "werkzeug==3.1.9",
)
PARTS: Final = ("wrapper", "starlette", "wsgi", "http")
INSTRUMENTATOR: Final = "prometheus-fastapi-instrumentator"
FLASK_EXPORTER: Final = "prometheus-flask-exporter"
OPENTELEMETRY: Final = "opentelemetry"


class Bench:
    """Runs children in the rivals' environment and keeps count of the requests they made."""

    def __init__(self, python: Path, environ: Mapping[str, str], *, quick: bool) -> None:
        self.python = python
        self.environ = environ
        self.quick = quick
        #: requests that trimtab should have recorded
        self.requests = 0

    def run(self, case: str, variant: str, pairs: int, requests: int) -> dict[str, Any]:
        """Run one fresh process and return what it measured."""
        cores = core_pair()
        command = [self.python, CHILDREN / "inprocess.py", case, variant, pairs, requests]
        with subprocess.Popen(
            list(map(str, command)),
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **self.environ},
        ) as child:
            pin(cores[0] if cores else None, child.pid)
            output, _ = child.communicate()
        if child.returncode:
            raise RuntimeError(f"{case} of {variant} ended with exit code {child.returncode}")
        result: dict[str, Any] = json.loads(output)
        if variant.startswith("trimtab"):
            self.requests += result["requests"]
        return result

    def compare(
        self, case: str, variants: Sequence[str], rounds: int, pairs: int, requests: int
    ) -> dict[str, list[dict[str, Any]]]:
        """Run fresh processes of all variants in turns; see `inprocess` for what they return."""
        return interleave(
            {name: self._one(case, name, pairs, requests) for name in variants}, rounds, said=case
        )

    def _one(
        self, case: str, variant: str, pairs: int, requests: int
    ) -> Callable[[], dict[str, Any]]:
        return lambda: self.run(case, variant, pairs, requests)


def added(results: Sequence[Mapping[str, list[float]]], figure: str) -> Spread:
    """Return the spread over processes of the median difference to bare within each."""
    return spread(
        [
            median(
                own - bare
                for own, bare in zip(result[figure], result[f"bare_{figure}"], strict=True)
            )
            for result in results
        ]
    )


def goal_row(what: str, value: Spread, goal_us: float, rivals: Mapping[str, float]) -> Row:
    """Return a row of added us with its goal."""
    return Row(what, value.median, "us", f"<= {goal_us:g}", value.median <= goal_us, rivals, value)


def wrapper_rows(bench: Bench, rounds: int) -> list[Row]:
    """Return the rows of the ASGI wrapper around a raw app."""
    pairs, requests = (10, 50) if bench.quick else (400, 500)
    variants = ("trimtab-record", "trimtab", "trimtab-all")
    results = bench.compare("asgi", variants, rounds, pairs, requests)
    record, plain, every = (added(results[name], "wall_us") for name in variants)
    bare = spread([median(result["bare_wall_us"]) for result in results["trimtab"]])
    return [
        goal_row("wrapper, full record: added", record, 1.2, {}),
        goal_row("wrapper, with Server-Timing and context: added", every, 2.0, {}),
        Row("wrapper, default settings (context): added", plain.median, "us", spread=plain),
        Row("wrapper, the bare app itself", bare.median, "us", spread=bare),
    ]


def starlette_rows(bench: Bench, rounds: int) -> list[Row]:
    """Return the rows of Starlette on uvloop, without sockets."""
    pairs, requests = (2, 200) if bench.quick else (8, 2_500)
    variants = ("trimtab", "trimtab-all", INSTRUMENTATOR, OPENTELEMETRY)
    results = bench.compare("starlette", variants, rounds, pairs, requests)
    cpu = {name: added(results[name], "cpu_us") for name in variants}
    wall = {name: added(results[name], "wall_us") for name in variants}
    rivals = variants[2:]
    share = cpu["trimtab"].median / cpu[INSTRUMENTATOR].median
    seconds = 1 if bench.quick else 5
    idle = [bench.run("idle", "trimtab", seconds, 0)["cpu_us"][0] for _ in range(rounds)]
    quiet = [bench.run("idle", "bare", seconds, 0)["cpu_us"][0] for _ in range(rounds)]
    rest = spread([own - bare for own, bare in zip(idle, quiet, strict=True)])
    beside = {name: cpu[name].median for name in rivals}
    return [
        goal_row("starlette: CPU of all threads added", cpu["trimtab"], 4.0, beside),
        goal_row("starlette, with Server-Timing: CPU added", cpu["trimtab-all"], 4.0, beside),
        Row(
            f"starlette: CPU added against {INSTRUMENTATOR}",
            share,
            "x",
            "<= 1/9",
            share <= 1 / 9,
        ),
        Row(
            "starlette: wall time added",
            wall["trimtab"].median,
            "us",
            rivals={name: wall[name].median for name in rivals},
            spread=wall["trimtab"],
        ),
        Row(
            "idle process: CPU added",
            rest.median,
            "us/s",
            spread=rest,
            note="gauges and an emitter with nothing to send; in no row above",
        ),
    ]


def wsgi_rows(bench: Bench, rounds: int) -> list[Row]:
    """Return the rows of WSGI: a list body, and Flask."""
    pairs, requests = (10, 50) if bench.quick else (400, 500)
    raw = added(bench.compare("wsgi", ["trimtab"], rounds, pairs, requests)["trimtab"], "wall_us")
    pairs, requests = (2, 200) if bench.quick else (8, 1_500)
    variants = ("trimtab", FLASK_EXPORTER)
    results = bench.compare("flask", variants, rounds, pairs, requests)
    cpu = {name: added(results[name], "cpu_us") for name in variants}
    wall = {name: added(results[name], "wall_us") for name in variants}
    return [
        goal_row("wsgi, list body, full record: added", raw, 2.0, {}),
        Row(
            "flask: CPU of all threads added",
            cpu["trimtab"].median,
            "us",
            rivals={FLASK_EXPORTER: cpu[FLASK_EXPORTER].median},
            spread=cpu["trimtab"],
        ),
        Row(
            "flask: wall time added",
            wall["trimtab"].median,
            "us",
            rivals={FLASK_EXPORTER: wall[FLASK_EXPORTER].median},
            spread=wall["trimtab"],
        ),
    ]


class Peer:
    """The process that takes the records."""

    def __init__(self, directory: str) -> None:
        self.socket = f"{directory}/agent.sock"
        self._result = Path(directory) / "counts.json"

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Run it for the length of a block, on the core that is not under measurement."""
        cores = core_pair()
        command = [sys.executable, str(CHILDREN / "drain.py"), self.socket, str(self._result)]
        with running(command, core=cores[1] if cores else None) as child:
            wait_for(self.socket, child)
            yield

    def counts(self) -> dict[str, int]:
        """Return what came; after the block."""
        counts: dict[str, int] = json.loads(self._result.read_text())
        return counts


def accounting_row(what: str, counts: Mapping[str, int], requests: int, cut_off: int) -> Row:
    """Return the row that says whether every request was recorded and arrived.

    Requests that a load client cut off at the end of a window may have been recorded or not.
    """
    arrived = counts["records"] + counts["dropped"]
    note = f"{requests} requests, {counts['records']} records, {counts['dropped']} dropped"
    if cut_off:
        note += f", at most {cut_off} requests cut off at the end of a window"
    return Row(
        f"{what}: records that came or were counted as dropped, of requests",
        arrived / requests,
        "x",
        "1",
        requests <= arrived <= requests + cut_off,
        note=note,
    )


def measured(
    options: argparse.Namespace, python: Path, peer: Peer, environ: Mapping[str, str]
) -> list[Row]:
    """Return the rows of the parts that were asked for."""
    quick = options.quick
    rounds = options.rounds or (1 if quick else 8)
    bench = Bench(python, environ, quick=quick)
    makers = {"wrapper": wrapper_rows, "starlette": starlette_rows, "wsgi": wsgi_rows}
    rows: list[Row] = []
    with peer.listening():
        for part, make in makers.items():
            if part in options.parts:
                rows += make(bench, rounds)
    if bench.requests:
        rows.append(accounting_row("in process", peer.counts(), bench.requests, 0))
    if "http" in options.parts:
        load = Load(python, environ, quick=quick)
        with peer.listening():
            rows += http_rows(load, rounds)
        rows.append(accounting_row("http", peer.counts(), load.responses, load.cut_off))
    return rows


def main() -> None:
    """Run the benchmark."""

    def more(parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--parts",
            type=lambda text: text.split(","),
            default=PARTS,
            help=f"which rows, comma-separated, of: {', '.join(PARTS)}",
        )

    options = arguments(__doc__, more)
    if unknown := set(options.parts) - set(PARTS):
        raise SystemExit(f"expected parts out of {PARTS}, got {sorted(unknown)}")
    python = environment("overhead", PACKAGES)
    with tempfile.TemporaryDirectory(prefix="trimtab-bench-") as directory:
        peer = Peer(directory)
        environ = {
            "PYTHONPATH": own_path("core", "middleware"),
            "TRIMTAB_AGENT": f"unix://{peer.socket}",
        }
        rows = measured(options, python, peer, environ)
    versions = {**packages("trimtab"), **dict(pin.split("==") for pin in PACKAGES)}
    report("overhead", rows, options.json, versions)


if __name__ == "__main__":
    main()
