"""What the agent costs: samples per CPU-second, CPU at 10,000 samples a second, idle memory.

A real `trimtab agent` gets real frames over its Unix socket, aggregates, spools and sends its
batches to a process in the collector's place. npm statsd and netdata get the same facts of the same
requests (count, latency, bytes, errors) as statsd lines over TCP, so that nothing is lost: a timer
and a counter of bytes a request, and a counter of errors where it failed. That form is theirs: a
line of text a fact against 48 packed bytes a request is the point of ours, and part of the figure.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

from harness import Row, Spread, arguments, interleave, packages, progress, report, spread
from processes import CHILDREN, core_pair, cpu_s, free_port, pin, rss_mb, running, wait_for
from statsd import Server, Starter, rivals

OWN: Final = "trimtab agent"
RATE: Final = 10_000
GOAL_PER_CPU_S: Final = 2e6
GOAL_PERCENT: Final = 1.2
GOAL_IDLE_MB: Final = 40.0
_COMMAND: Final = "from trimtab_core.console import main; raise SystemExit(main())"
#: a window is 10 s, and late data may hold it open a little
_WINDOW_CLOSES_S: Final = 40.0


class Figures(NamedTuple):
    """What one run of one server showed."""

    idle_mb: float
    per_cpu_s: float
    percent: float
    loaded_mb: float
    sent: int


class Sizes(NamedTuple):
    """How long each part of a run lasts, in seconds."""

    settle_s: float
    flood_s: float
    paced_s: float


FULL: Final = Sizes(5.0, 12.0, 20.0)
QUICK: Final = Sizes(0.5, 0.5, 1.0)


def feed(server: Server, seconds: float, rate: int) -> tuple[int, float, float]:
    """Feed a server and return samples, seconds, and the CPU seconds it took for them."""
    cores = core_pair()
    command = [
        *(sys.executable, str(CHILDREN / "feeder.py"), server.form, server.address),
        *(str(seconds), str(rate)),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as feeder:
        pin(cores[1] if cores else None, feeder.pid)
        assert feeder.stdout is not None
        feeder.stdout.readline()
        before = cpu_s(server.process.pid)
        result = feeder.stdout.readline()
        used = cpu_s(server.process.pid) - before
    if feeder.returncode or not result:
        raise RuntimeError(f"expected figures of the feeder, it ended with {feeder.returncode}")
    fed: dict[str, Any] = json.loads(result)
    return fed["samples"], fed["seconds"], used


def measure(start: Starter, sizes: Sizes, finish: Callable[[int], None] | None = None) -> Figures:
    """Start a server afresh and return its figures; finish is called with the samples sent."""
    cores = core_pair()
    with (
        tempfile.TemporaryDirectory(prefix="trimtab-bench-") as directory,
        start(Path(directory), cores[0] if cores else None) as server,
    ):
        time.sleep(sizes.settle_s)
        idle_mb = rss_mb(server.process.pid)
        paced, took_s, used = feed(server, sizes.paced_s, RATE)
        percent = used / took_s * 100
        flooded, _, used = feed(server, sizes.flood_s, 0)
        loaded_mb = rss_mb(server.process.pid)
        if finish is not None:
            finish(paced + flooded)
        return Figures(idle_mb, flooded / used, percent, loaded_mb, paced + flooded)


class Own:
    """Our agent with its collector's place, and what arrived there."""

    def __init__(self) -> None:
        self.sent = 0
        self.arrived = 0
        self.bytes = 0
        self._counts = Path()

    @contextmanager
    def start(self, directory: Path, core: int | None) -> Iterator[Server]:
        """Run both."""
        cores = core_pair()
        collector, local = free_port(), free_port()
        socket = directory / "agent.sock"
        self._counts = directory / "counts.json"
        sink = [sys.executable, str(CHILDREN / "sink.py"), str(collector), str(self._counts)]
        environ = {
            "TRIMTAB_CONFIG": "/dev/null",
            "TRIMTAB_AGENT_SOCKET": f"unix://{socket}",
            "TRIMTAB_AGENT_COLLECTOR_URL": f"http://127.0.0.1:{collector}",
            "TRIMTAB_AGENT_KEY": "bench",
            "TRIMTAB_AGENT_DATA_DIR": str(directory / "data"),
            "TRIMTAB_AGENT_HTTP": f"127.0.0.1:{local}",
        }
        with running(sink, core=cores[1] if cores else None) as taker:
            wait_for(("127.0.0.1", collector), taker)
            command = [sys.executable, "-c", _COMMAND, "agent"]
            log = directory / "log"
            with running(command, core=core, environ=environ, log=log) as child:
                try:
                    wait_for(str(socket), child)
                except ChildProcessError as error:
                    raise SystemExit(f"{error}\n{log.read_text()}") from error
                yield Server(child, "frames", str(socket))

    def finish(self, sent: int) -> None:
        """Wait until the collector's place has what was sent, or the last window must be over."""
        progress("waiting for the last window to be closed and sent")
        deadline = time.monotonic() + _WINDOW_CLOSES_S
        counts = {"requests": 0, "bytes": 0}
        while counts["requests"] < sent and time.monotonic() < deadline:
            time.sleep(0.2)
            if self._counts.is_file():
                counts = json.loads(self._counts.read_text())
        self.sent += sent
        self.arrived += counts["requests"]
        self.bytes += counts["bytes"]


def rows_of(
    results: dict[str, list[Figures]], absent: dict[str, str], own: Own, *, with_all: bool
) -> list[Row]:
    """Return the rows; absent rivals are named in the first note."""

    def figure(name: str, of: Callable[[Figures], float]) -> Spread:
        return spread([of(one) for one in results[name]])

    def row(
        what: str, unit: str, of: Callable[[Figures], float], goal: float | None, *, most: bool
    ) -> Row:
        value = figure(OWN, of)
        beside = {name: figure(name, of).median for name in results if name != OWN}
        if goal is None:
            return Row(what, value.median, unit, rivals=beside, spread=value)
        met = value.median <= goal if most else value.median >= goal
        text = f"{'<=' if most else '>='} {goal:,.10g}"
        return Row(what, value.median, unit, text, met, beside, value)

    rows = [
        row("samples per CPU-second", "1/s", lambda one: one.per_cpu_s, GOAL_PER_CPU_S, most=False),
        row(
            f"CPU at {RATE:,} samples/s", "% core", lambda one: one.percent, GOAL_PERCENT, most=True
        ),
        row("memory idle", "MB", lambda one: one.idle_mb, GOAL_IDLE_MB, most=True),
        row("memory after the load", "MB", lambda one: one.loaded_mb, None, most=True),
    ]
    rows += _against(rows[0], rows[1], "" if with_all else f"not all were there: {_absent(absent)}")
    rows.append(
        Row(
            "samples that reached the collector's place, of those sent",
            own.arrived / own.sent,
            "x",
            "1",
            own.arrived == own.sent,
            note=f"{own.arrived} of {own.sent}, in {own.bytes} bytes of batches",
        )
    )
    return rows


def _against(throughput: Row, paced: Row, note: str) -> list[Row]:
    """Return the rows that compare us with the best rival, or the one that says there was none."""
    if throughput.value is None or paced.value is None or not throughput.rivals:
        return [Row("against the rivals", None, "x", note=note)]
    ahead = throughput.value / max(throughput.rivals.values())
    share = paced.value / min(paced.rivals.values())
    return [
        Row(f"{throughput.what}, against the best rival", ahead, "x", "> 1", ahead > 1, note=note),
        Row(f"{paced.what}, against the best rival", share, "x", "< 1", share < 1),
    ]


def _absent(absent: dict[str, str]) -> str:
    return "; ".join(f"{name}: {why}" for name, why in absent.items())


def main() -> None:
    """Run the benchmark."""
    options = arguments(__doc__)
    rounds = options.rounds or (1 if options.quick else 3)
    sizes = QUICK if options.quick else FULL
    own = Own()
    variants: dict[str, Callable[[], Figures]] = {
        OWN: lambda: measure(own.start, sizes, own.finish)
    }
    absent: dict[str, str] = {}
    for name, start in rivals().items():
        if isinstance(start, str):
            absent[name] = start
            progress(f"{name} is left out: {start}")
        else:
            variants[name] = _measured(start, sizes)
    results = interleave(variants, rounds, said="agent")
    rows = rows_of(results, absent, own, with_all=not absent)
    report("agent", rows, options.json, {**packages("trimtab"), **_versions(list(variants))})


def _measured(start: Starter, sizes: Sizes) -> Callable[[], Figures]:
    return lambda: measure(start, sizes)


def _versions(names: Sequence[str]) -> dict[str, str]:
    """Return the versions of the rivals that ran."""
    versions = {}
    for name, command in {
        "netdata": "/usr/sbin/netdata -v",
        "npm statsd": "node --version",
    }.items():
        if name in names:
            done = subprocess.run(command.split(), check=False, capture_output=True, text=True)
            key = "node" if name == "npm statsd" else name
            versions[key] = done.stdout.strip().removeprefix("netdata ").removeprefix("v")
    if "npm statsd" in names:
        versions["npm statsd"] = "0.9.0"
    return versions


if __name__ == "__main__":
    main()
