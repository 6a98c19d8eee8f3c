"""What a flood of one key, one client or one app does to the honest traffic beside it.

An honest agent sends batches at a fixed rate and an honest app sends records, calm and beside each
of five floods in turns. A batch is timed from when it was due, so that one that waits for the batch
before is not told to be quick.
"""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

import harness
from faults_stack import PYTHON, Stack, Watch, stack
from processes import CHILDREN
from support.fuzzing.world import HonestAgent, HonestApp
from support.processes.servers import wait_for

__all__ = ["beside"]

RATE = 10
SECONDS = 10
RATIO = 1.3
GROWN_MB = 64
#: name of a flood in children/flood.py -> what it is
FLOODS = {
    "series": "a key that makes up 1,000 series a batch",
    "ranges": "a key that covers 4,000 lone records a batch",
    "events": "a key with 1 MB of events a batch",
    "slow": "100 connections that send 2 bytes a second",
    "frames": "100 apps that send a frame byte by byte",
}


class Round(NamedTuple):
    """Honest traffic calm, then beside a flood: ingest p99, memory gained, records not counted."""

    calm_ms: float
    beside_ms: float
    grown_mb: float
    lost: int


def beside(rounds: int, quick: bool) -> list[harness.Row]:
    """Return the rows: ratio of the p99, memory gained, numbers lost."""
    seconds = 1 if quick else SECONDS
    results = harness.interleave(
        {name: partial(_round, name, seconds) for name in FLOODS}, rounds, said="beside"
    )
    calm = harness.spread([each.calm_ms for found in results.values() for each in found])
    rows = [harness.Row("calm: ingest p99", calm.median, "ms", spread=calm)]
    for name, what in FLOODS.items():
        found = results[name]
        p99 = harness.spread([each.beside_ms for each in found]).median
        ratio = harness.ratios([each.beside_ms for each in found], [each.calm_ms for each in found])
        grown = harness.spread([each.grown_mb for each in found])
        rows += [
            harness.Row(f"{name}: ingest p99 over calm", ratio.median, "x", f"<= {RATIO:g}",
                        ratio.median <= RATIO, spread=ratio, note=f"{what}; {p99:.1f} ms"),
            harness.Row(f"{name}: memory gained", grown.median, "MB", f"<= {GROWN_MB}",
                        grown.median <= GROWN_MB, spread=grown),
        ]  # fmt: skip
    lost = sum(each.lost for found in results.values() for each in found)
    rows.append(harness.Row("honest records that were not counted", lost, "", "0", not lost))
    return rows


class _Honest:
    """An app at the agent's socket and an agent with a key of its own, in one process."""

    def __init__(self, running: Stack) -> None:
        self._running = running
        self._app = HonestApp(running.agent)
        collector = running.collector
        self._agent = HonestAgent(collector.port, collector.new_key(services=["direct"]))

    def run(self, seconds: float) -> list[float]:
        """Send at the fixed rate for so long; return how long each batch took, in ms, sorted.

        Ends at four times as long, whatever has not been sent by then.
        """
        took: list[float] = []
        begun = time.perf_counter()
        for number in range(int(seconds * RATE)):
            due = begun + number / RATE
            if time.perf_counter() - begun > 4 * seconds:
                break
            time.sleep(max(0.0, due - time.perf_counter()))
            self._agent.send(20)
            took.append((time.perf_counter() - due) * 1000)
            self._app.send(5)
        return sorted(took)

    def close(self) -> None:
        """Hang up."""
        self._app.close()
        self._agent.sender.close()

    def lost(self) -> int:
        """Return the records sent that were not counted, after waiting for them."""
        api = self._running.collector.api
        for each in (self._app, self._agent):
            try:
                wait_for(lambda e=each: api.booked(e.service) >= e.sent, each.service, 30)  # type: ignore[misc]
            except AssertionError:
                continue
        return sum(each.sent - api.counted(each.service) for each in (self._app, self._agent))


def _round(flood: str, seconds: float) -> Round:
    # New processes each time: what a flood has left to do must not slow what comes after it.
    with stack() as running:
        honest = _Honest(running)
        key = running.collector.new_key(services=["flood"])
        honest.run(1)
        calm = honest.run(seconds)
        pids = (running.collector.pid, running.agent.pid)
        with _flooding(running, flood, key), Watch(pids[0]) as first, Watch(pids[1]) as second:
            took = honest.run(seconds)
        lost = honest.lost()
        honest.close()
    return Round(
        calm[len(calm) * 99 // 100],
        took[len(took) * 99 // 100],
        max(first.grown_mb, second.grown_mb),
        lost,
    )


@contextmanager
def _flooding(running: Stack, flood: str, key: str) -> Iterator[None]:
    command = [PYTHON, str(CHILDREN / "flood.py"), flood, str(running.collector.port)]
    pipe = subprocess.PIPE
    words = [*command, str(running.agent.socket_path), key]
    with subprocess.Popen(words, stdin=pipe, stdout=pipe) as child:
        assert child.stdout is not None
        child.stdout.readline()
        try:
            yield
        finally:
            child.kill()
