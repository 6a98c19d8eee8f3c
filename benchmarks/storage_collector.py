"""The collector as it is shipped, under measurement: started, asked over HTTP, weighed."""

import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import processes

__all__ = ["Collector", "collector", "pss_mb"]

_CONSOLE: Final = (sys.executable, "-m", "trimtab_core.console")
# Python runs this at the start of every process, so that a worker has the same clock.
_SHIFT: Final = """import datetime, os, time
_real, _ahead_s = time.time, float(os.environ["BENCH_CLOCK_AHEAD_S"])
time.time = lambda: _real() + _ahead_s

# PyJWT asks another clock for the end of a session.
import jwt.api_jwt

class _Shifted(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return super().now(tz) + datetime.timedelta(seconds=_ahead_s)

jwt.api_jwt.datetime = _Shifted
"""


@dataclass(slots=True)
class Collector:
    """A running collector; `asking` is one kept connection, for one thread."""

    pid: int
    port: int
    key: str
    token: str
    #: when it was started, by time.perf_counter
    begun_s: float
    asking: http.client.HTTPConnection | None = None

    def get(self, path: str, **query: object) -> Any:
        """Return the data of an answer of the read API; raises LookupError for any but 200."""
        if self.asking is None:
            self.asking = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        target = f"/api/performance{path}?{urlencode(query)}".rstrip("?")
        self.asking.request("GET", target, headers={"Authorization": f"Bearer {self.token}"})
        with self.asking.getresponse() as answer:
            body = answer.read()
        if answer.status != 200:
            raise LookupError(f"{path} answered {answer.status}: {body[:200]!r}")
        return json.loads(body)["data"]

    def journal(self) -> int:
        """Return how many batches wait to be merged."""
        return int(self.get("/health")["store"]["journalBatches"])

    def cpu_s(self) -> float:
        """Return the CPU seconds of all its processes."""
        return processes.tree_cpu_s(self.pid)

    def memory_mb(self) -> tuple[float, float]:
        """Return the memory of the server and of its other processes together."""
        found = [pss_mb(pid) for pid in processes.tree(self.pid)]
        return found[0], sum(found[1:])


@contextmanager
def collector(
    directory: Path, data: Path, core: int | None = None, ahead_s: float | None = None
) -> Iterator[Collector]:
    """Run a collector over a data directory; with ahead_s, at another time of day.

    directory takes its log. It is killed by its pid at the end.
    """
    port = processes.free_port()
    place = ["--data-dir", str(data)]
    made = subprocess.run(
        [*_CONSOLE, "key", "new", "--agent", "*", *place],
        capture_output=True,
        text=True,
        check=True,
    )
    environ = {}
    if ahead_s is not None:
        shift = directory / "shift"
        shift.mkdir(exist_ok=True)
        (shift / "sitecustomize.py").write_text(_SHIFT)
        path = os.pathsep.join(filter(None, (str(shift), os.environ.get("PYTHONPATH"))))
        environ = {"PYTHONPATH": path, "BENCH_CLOCK_AHEAD_S": str(ahead_s)}
    command = [*_CONSOLE, "collector", "--port", str(port), "--log-level", "warning", *place]
    begun_s = time.perf_counter()
    log = directory / "collector.log"
    with processes.running(command, core=core, environ=environ, log=log) as child:
        processes.wait_for(("127.0.0.1", port), child)
        running = Collector(child.pid, port, made.stdout.strip(), "", begun_s)
        running.get("/health")  # it listens before it has a token
        running.token = (data / "token").read_text().strip()
        try:
            yield running
        finally:
            if running.asking is not None:
                running.asking.close()


def pss_mb(pid: int) -> float:
    """Return the proportional memory of a process in MB (10**6 bytes), 0 when it is gone.

    Pages that it shares with other processes count by their share.
    """
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024 / 1e6
    except OSError:
        pass
    return 0.0
