"""What the rows of `faults` run on: the processes of the tests, and children that load them.

Collector, agent and apps are those of tests/servers.py: real processes with their output in files.
`Emitters` is a child with many of the app side's own emitters, `load` a client at a fixed rate.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

from harness import Row
from processes import CHILDREN, ROOT, cpu_s, rss_mb

sys.path.append(str(ROOT / "tests"))
from support.processes.servers import (
    Agent,
    App,
    Collector,
    Proc,
    clean_environment,
    free_port,
    wait_for,
)

__all__ = [
    "PYTHON",
    "RATE",
    "Agent",
    "App",
    "Collector",
    "Emitters",
    "Loaded",
    "Proc",
    "Sizes",
    "Stack",
    "Watch",
    "asgi_app",
    "at_most",
    "directory",
    "flood",
    "free_port",
    "hurry",
    "load",
    "metrics",
    "pause",
    "settled",
    "stack",
    "unaccounted",
    "wait_for",
]

PYTHON: Final = sys.executable
RATE: Final = 300


class Sizes(NamedTuple):
    """How much a run does."""

    rounds: int = 5
    quick: bool = False

    def s(self, seconds: float) -> float:
        """Return a length of time, cut short in a quick run."""
        return max(1.0, seconds / 8) if self.quick else seconds

    def n(self, count: int) -> int:
        """Return a count, cut down in a quick run."""
        return max(2, count // 8) if self.quick else count


class Stack(NamedTuple):
    """A running collector and agent, and the directory that holds all they write."""

    directory: Path
    collector: Collector
    agent: Agent


@contextmanager
def directory() -> Iterator[Path]:
    """Yield a new directory whose path is short enough for a Unix socket."""
    with tempfile.TemporaryDirectory(prefix="tt-") as path:
        yield Path(path)


@contextmanager
def stack(*, url: Callable[[str], str] | None = None, **agent_env: str) -> Iterator[Stack]:
    """Yield a running collector and agent; url makes the agent's address of the collector's."""
    with directory() as path, Collector(path) as collector:
        collector.start()
        address = collector.url if url is None else url(collector.url)
        with Agent(path, address, collector.new_key(), **agent_env) as agent:
            yield Stack(path, collector, agent.start())


def asgi_app(place: Path, service: str, agent: str, *, bare: bool = False, **env: str) -> App:
    """Return uvicorn with a small app under `trimtab run` (bare: without), not started."""
    words = [
        *(PYTHON, "-m", "uvicorn", "apps:served", "--factory", "--app-dir", str(CHILDREN)),
        *("--port", "{port}", "--no-access-log", "--log-level", "warning"),
    ]
    settings = {"BENCH_VARIANT": "bare", "PYTHONHASHSEED": "0", **env}
    app = App(place, service, agent, words, **settings)
    if bare:
        app.command = [word.replace("{port}", str(app.port)) for word in words]
    return app


class Loaded(NamedTuple):
    """What a client of `children/open_loop.py` saw; latencies in ms."""

    sent: int
    failed: int
    p50_ms: float
    p99_ms: float


def load(port: int, seconds: float, rate: int = RATE, *, hurried: bool = False) -> Loaded:
    """Load an app at a fixed rate of requests a second; rate 0 floods it.

    hurried is for an app that `hurry` worked for: the client then has the same priority.
    """
    command = [PYTHON, str(CHILDREN / "open_loop.py"), str(port), str(rate), str(seconds)]
    words = ["/items/42", *(["hurry"] if hurried else [])]
    done = subprocess.run(
        [*command, *words], check=True, capture_output=True, text=True, timeout=seconds + 60
    )
    return Loaded(**json.loads(done.stdout))


def flood(ports: Sequence[int], seconds: float) -> list[Loaded]:
    """Load several apps at once, each as fast as it answers."""
    with ThreadPoolExecutor(len(ports)) as pool:
        return list(pool.map(lambda port: load(port, seconds, 0), ports))


class Emitters:
    """A child with many emitters of the app side, each an app process as far as agents can tell."""

    def __init__(
        self,
        socket: str,
        service: str,
        count: int,
        *,
        routes: int = 4,
        rate: float = 1.0,
        env: Mapping[str, str] | None = None,
    ) -> None:
        command = [PYTHON, str(CHILDREN / "emitters.py"), socket, service]
        self.child = subprocess.Popen(
            [*command, str(count), str(routes), str(rate)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=clean_environment() | dict(env or {}),
        )
        self._line()

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self.child.pid

    def accounting(self) -> dict[str, int]:
        """Return the sums of recorded, sent, held and dropped records, and welcomes of late."""
        return self._ask("accounting")

    def quiet(self) -> None:
        """Record no more; connections stay."""
        self._ask("quiet")

    def stop(self) -> dict[str, int]:
        """Send all, say bye, end; return the last accounting."""
        last = self._ask("stop")
        self.child.wait(20)
        return last

    def _ask(self, word: str) -> dict[str, int]:
        assert self.child.stdin is not None
        self.child.stdin.write(word + "\n")
        self.child.stdin.flush()
        return self._line()

    def _line(self) -> dict[str, int]:
        assert self.child.stdout is not None
        line = self.child.stdout.readline()
        if not line:
            raise RuntimeError(f"expected a line of the emitters, they ended: {self.child.poll()}")
        found: dict[str, int] = json.loads(line)
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.child.kill()
        self.child.communicate()


class Watch:
    """Reads a process in the background: the most CPU of a half second, the most memory.

    cpu_percent is of one core; rss_mb and before_mb in MB. Stops at the end of the `with`, or when
    the process is gone.
    """

    _STEP_S: Final = 0.1
    _STEPS: Final = 5

    def __init__(self, pid: int) -> None:
        self.before_mb = self.rss_mb = rss_mb(pid)
        self.cpu_percent = 0.0
        self.used_s = 0.0
        self._pid = pid
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def grown_mb(self) -> float:
        """By how much memory was larger than at the beginning."""
        return self.rss_mb - self.before_mb

    def _run(self) -> None:
        seen = [(time.monotonic(), cpu_s(self._pid))]
        begin_s = seen[0][1]
        while not self._done.wait(self._STEP_S):
            try:
                now, used = time.monotonic(), cpu_s(self._pid)
                self.rss_mb = max(self.rss_mb, rss_mb(self._pid))
            except OSError:
                return
            self.used_s = used - begin_s
            seen.append((now, used))
            before, was = seen[max(0, len(seen) - 1 - self._STEPS)]
            if len(seen) > self._STEPS:
                self.cpu_percent = max(self.cpu_percent, (used - was) / (now - before) * 100)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._done.set()
        self._thread.join()


def hurry(pid: int) -> bool:
    """Give a process real-time priority; tell whether the system lets us.

    Without it, tails of latency tell what else the machine does: a neighbour's time slice is ten
    times as long as a request.
    """
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            os.sched_setscheduler(int(thread), os.SCHED_RR, os.sched_param(1))
    except PermissionError:
        return False
    return True


def metrics(agent: Agent) -> dict[str, float]:
    """Return the agent's own counters without prefix; those by reason or cause are summed up.

    Empty while it does not answer.
    """
    try:
        with urllib.request.urlopen(f"{agent.http}/metrics", timeout=5) as answer:
            text = answer.read().decode()
    except OSError:
        return {}
    found: dict[str, float] = {}
    for line in text.splitlines():
        if line.startswith("trimtab_agent_"):
            name, _, value = line.rpartition(" ")
            name = name.partition("{")[0].removeprefix("trimtab_agent_")
            found[name] = found.get(name, 0.0) + float(value)
    return found


def settled(one: Stack, service: str, sent: int, timeout_s: float = 60.0) -> None:
    """Wait until all that was sent is booked and the agent holds nothing; no error when not."""
    try:
        wait_for(
            lambda: one.agent.held() == 0 and one.collector.api.booked(service) >= sent,
            f"{sent} records of {service}",
            timeout_s,
        )
    except AssertionError:
        return


def unaccounted(what: str, one: Stack, service: str, sent: int, *, lossless: bool = False) -> Row:
    """Return the row of what was sent, less counted, dropped and lost.

    lossless asks that nothing was dropped or lost either.
    """
    settled(one, service, sent)
    accounting: dict[str, Any] = one.collector.api.accounting(service)
    dropped = sum(accounting["dropped"].values())
    missing = sent - accounting["requests"] - dropped - accounting["agentLost"]
    # What is lost or dropped is counted in records, and work after a last byte is one, too: with
    # an app that is kept from the processor there are a few more of them than requests.
    if 0 > missing >= -max(1.0, sent * 1e-4) and dropped + accounting["agentLost"]:
        missing = 0
    note = (
        f"{sent} sent, {accounting['requests']} counted, {dropped} dropped, "
        f"{accounting['agentLost']} lost with the agent"
    )
    if lossless:
        gone = sent - accounting["requests"]
        return Row(what, gone, "records", "0", gone == 0, note=note)
    return Row(what, missing, "records", "0", missing == 0, note=note)


def at_most(what: str, value: float, goal: float, unit: str, note: str = "") -> Row:
    """Return a row that is met when its value is at most the goal."""
    return Row(what, value, unit, f"<= {goal:g}", value <= goal, note=note)


def pause(seconds: float) -> None:
    """Let time pass while a fault lasts."""
    time.sleep(seconds)
