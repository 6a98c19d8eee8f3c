"""The long one: load without end, and an agent that is stopped or killed every few seconds.

Memory and descriptors of app and agent are read once a second; slopes are least squares over time,
without the first minute. An agent's life is too short for a slope of its own and each begins with
less memory than it settles at, so that only gauges at the same age, some seconds, are compared.
"""

import os
import random
import threading
import time
from collections.abc import Sequence
from typing import Final, NamedTuple

from faults_stack import (
    RATE,
    App,
    Stack,
    asgi_app,
    at_most,
    load,
    metrics,
    stack,
    unaccounted,
    wait_for,
)
from harness import Row, progress
from processes import rss_mb

__all__ = ["slope", "soak"]

SLOPE: Final = 0.5
_WARM_S: Final = 60.0
#: how long an agent lives, and the age at which it is compared
_LIFE_S: Final = (10.0, 30.0)
_AGE_S: Final = (7.0, 9.0)
_PIECE_S: Final = 10.0


class Usage(NamedTuple):
    """Memory and descriptors of a process at a time, in seconds since the beginning."""

    at_s: float
    age_s: float
    memory_mb: float
    files: int


class _Loading(threading.Thread):
    """Load in pieces until it is told to end."""

    def __init__(self, app: App) -> None:
        super().__init__()
        self.sent = self.failed = 0
        self.over = threading.Event()
        self._port = app.port

    def run(self) -> None:
        while not self.over.is_set():
            loaded = load(self._port, _PIECE_S)
            self.sent += loaded.sent
            self.failed += loaded.failed


def soak(seconds: float) -> list[Row]:
    """Return the rows of a soak of that many seconds."""
    draw = random.Random()
    app_usage: list[Usage] = []
    agent_usage: list[Usage] = []
    restarts = 0
    with stack() as one, asgi_app(one.directory, "soaked", one.agent.socket) as app:
        loading = _Loading(app.start())
        loading.start()
        begun = born = time.monotonic()
        ends, told = born + draw.uniform(*_LIFE_S), 0
        try:
            while (now := time.monotonic()) < begun + seconds:
                if now >= ends:
                    _replace(one, kill=restarts % 2 == 1)
                    restarts += 1
                    born = now = time.monotonic()
                    ends = born + draw.uniform(*_LIFE_S)
                app_usage.append(_read(app.pid, now - begun, now - begun))
                agent_usage.append(_read(one.agent.pid, now - begun, now - born))
                if (now - begun) // 60 > told:
                    told = int((now - begun) // 60)
                    progress(f"soak: {told} min, app {app_usage[-1].memory_mb:.1f} MB")
                time.sleep(max(0.0, 1.0 - (time.monotonic() - now)))
        finally:
            loading.over.set()
            loading.join()
        accounting = unaccounted("soak: accounting", one, "soaked", loading.sent)
    warm_s = min(_WARM_S, seconds / 3)
    of_app = [each for each in app_usage if each.at_s > warm_s]
    low, high = _AGE_S
    of_agent = [each for each in agent_usage if each.at_s > warm_s and low <= each.age_s < high]
    note = f"{seconds:.0f} s, {RATE} requests/s, {restarts} agents stopped or killed in turn"
    failed = Row(
        "soak: failed requests", loading.failed, "requests", "0", loading.failed == 0,
        note=f"of {loading.sent}",
    )  # fmt: skip
    return [*_rows("app", of_app, note), *_rows("agent", of_agent, ""), failed, accounting]


def slope(gauges: Sequence[tuple[float, float]]) -> float:
    """Return the least-squares slope of (x, y) pairs, 0 for less than two different x."""
    if not gauges:
        return 0.0
    mean_x = sum(x for x, _ in gauges) / len(gauges)
    mean_y = sum(y for _, y in gauges) / len(gauges)
    spread = sum((x - mean_x) ** 2 for x, _ in gauges)
    if not spread:
        return 0.0
    return sum((x - mean_x) * (y - mean_y) for x, y in gauges) / spread


def _rows(name: str, gauges: list[Usage], note: str) -> list[Row]:
    grown = slope([(each.at_s / 60, each.memory_mb) for each in gauges])
    memory = sorted(each.memory_mb for each in gauges)
    files = sorted(each.files for each in gauges)
    half = len(gauges) // 2
    early = max((each.files for each in gauges[:half]), default=0)
    late = max((each.files for each in gauges[half:]), default=0)
    if not gauges:
        return [Row(f"soak: {name}", None, "", note="too short for a value after warm-up")]
    about = f"{memory[0]:.1f} to {memory[-1]:.1f} MB in {len(gauges)} gauges"
    return [
        at_most(
            f"soak: {name} memory", grown, SLOPE, "MB/min", f"{about}; {note}" if note else about
        ),
        Row(
            f"soak: {name} descriptors, most in the second half less those in the first",
            late - early, "files", "<= 0", late <= early, note=f"{files[0]} to {files[-1]}",
        ),
    ]  # fmt: skip


def _replace(one: Stack, *, kill: bool) -> None:
    if kill:
        one.agent.kill9()
    else:
        one.agent.stop()
    one.agent.start()
    wait_for(lambda: metrics(one.agent).get("apps", 0) == 1, "the app to be connected", 30)


def _read(pid: int, at_s: float, age_s: float) -> Usage:
    return Usage(at_s, age_s, rss_mb(pid), len(os.listdir(f"/proc/{pid}/fd")))
