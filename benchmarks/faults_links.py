"""What lies between agent and collector: an outage, a slow link, one that stands still, a herd.

These wait more than they work, so they run side by side, each with processes of its own.
"""

import json
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import datetime
from typing import Final

from faults_proxy import Proxy
from faults_stack import (
    PYTHON,
    RATE,
    Collector,
    Emitters,
    Sizes,
    Stack,
    Watch,
    at_most,
    directory,
    metrics,
    pause,
    stack,
    unaccounted,
    wait_for,
)
from harness import Row, progress
from processes import CHILDREN

__all__ = ["links"]

GROWTH_MB: Final = 10.0
DRAIN: Final = 10.0
AGE_S: Final = 30.0
DETECTED_S: Final = 15.0
PEAK: Final = 3.0
#: 64 kbit/s
_LINK: Final = 8000
_AGENTS: Final = 50
_HERD_S: Final = 30.0
_OUTAGE_S: Final = 60.0
_BACKOFF_MOST_S: Final = 40.0


def links(sizes: Sizes) -> list[Row]:
    """Return the rows of all four."""
    progress("an outage, a slow link, a link that stands still and a herd of agents, side by side")
    parts: tuple[Callable[[Sizes], list[Row]], ...] = (_outage, _slow, _half_open, _herd)
    with ThreadPoolExecutor(len(parts)) as pool:
        found = list(pool.map(lambda part: part(sizes), parts))
    return [row for rows in found for row in rows]


def _outage(sizes: Sizes) -> list[Row]:
    with stack() as one, Emitters(one.agent.socket, "load", 4, routes=20, rate=RATE / 4) as apps:
        pause(sizes.s(10.0))
        one.collector.kill9()
        begun = time.monotonic()
        with Watch(one.agent.pid) as watch:
            pause(sizes.s(_OUTAGE_S))
            one.collector.start()
            outage_s = time.monotonic() - begun
            back = time.monotonic()
            held = most = metrics(one.agent)["spool_batches"]
            # The agent asks again after a random pause; until then windows are added.
            while held >= most and time.monotonic() - back < _BACKOFF_MOST_S:
                pause(0.02)
                held = metrics(one.agent)["spool_batches"]
                most = max(most, held)
            asked = time.monotonic()
            wait_for(lambda: metrics(one.agent)["spool_batches"] <= 1, "an empty spool", 60)
            drained_s = time.monotonic() - asked
        sent = apps.stop()["recorded"]
        accounting = unaccounted(
            "collector down and back: records lost", one, "load", sent, lossless=True
        )
    speed = most / max(drained_s, 0.02)
    note = (
        f"{most:.0f} windows of 1 s in {drained_s:.2f} s, "
        f"{asked - back:.1f} s after the collector was back"
    )
    return [
        at_most(
            f"collector down {outage_s:.0f} s: agent memory grown", watch.grown_mb, GROWTH_MB, "MB"
        ),
        Row(
            "collector back: backlog drained, of real time", speed, "x", f">= {DRAIN:g}",
            speed >= DRAIN, note=note,
        ),
        accounting,
    ]  # fmt: skip


def _slow(sizes: Sizes) -> list[Row]:
    ages: list[float] = []
    with _behind_proxy() as (one, proxy):
        proxy.open()
        with Emitters(one.agent.socket, "load", 4, routes=150, rate=RATE / 4) as apps:
            pause(sizes.s(8.0))
            proxy.shut()
            pause(sizes.s(40.0))
            proxy.rate = _LINK
            proxy.open()
            begun, sent_bytes = time.monotonic(), proxy.bytes
            most = metrics(one.agent)["spool_batches"]
            down = _age_s(one)
            while _age_s(one) >= down and time.monotonic() - begun < _BACKOFF_MOST_S:
                down = max(down, _age_s(one))
                pause(0.2)
            until = time.monotonic() + sizes.s(30.0)
            left = most
            while time.monotonic() < until and left > 2:
                pause(0.5)
                ages.append(_age_s(one))
                left = metrics(one.agent)["spool_batches"]
            spent = time.monotonic() - begun
            link = (proxy.bytes - sent_bytes) / spent
            proxy.rate = 0
            sent = apps.stop()["recorded"]
        accounting = unaccounted(
            "slow link with a backlog: records lost", one, "load", sent, lossless=True
        )
    note = (
        f"{most:.0f} windows of backlog, {left:.0f} left after {spent:.0f} s at "
        f"{link / 125:.0f} kbit/s; to 10 s, the step of the store, and never less than it was"
    )
    return [
        at_most(
            "64 kbit/s and a backlog: age of the newest sample at the collector",
            max(ages), AGE_S, "s", note,
        ),
        accounting,
    ]  # fmt: skip


def _half_open(sizes: Sizes) -> list[Row]:
    took: list[float] = []
    with (
        _behind_proxy() as (one, proxy),
        Emitters(one.agent.socket, "load", 2, routes=20, rate=20) as apps,
    ):
        proxy.open()
        for _ in range(1 if sizes.quick else 2):
            # The link is known to work, and to be used, before it stands still.
            wait_for(lambda: metrics(one.agent)["spool_batches"] == 0, "an empty spool", 60)
            pause(2.0)
            before = metrics(one.agent).get("batches_failed_total", 0)
            proxy.frozen = True
            begun = time.monotonic()
            wait_for(
                lambda before=before: metrics(one.agent).get("batches_failed_total", 0) > before,  # type: ignore[misc]
                "the agent to notice",
                60,
            )
            took.append(time.monotonic() - begun)
            proxy.frozen = False
        sent = apps.stop()["recorded"]
        accounting = unaccounted(
            "link that stood still: records lost or doubled", one, "load", sent, lossless=True
        )
    note = "nothing is forwarded and nothing closed; " + ", ".join(f"{each:.1f}" for each in took)
    return [
        at_most(
            "link to the collector stands still: noticed by the agent",
            max(took), DETECTED_S, "s", note,
        ),
        accounting,
    ]  # fmt: skip


def _herd(sizes: Sizes) -> list[Row]:
    with directory() as path, Collector(path) as collector, Proxy(collector.port) as proxy:
        collector.start()
        proxy.open()
        command = [PYTHON, str(CHILDREN / "forwarders.py"), proxy.url, collector.new_key()]
        with subprocess.Popen(
            [*command, str(sizes.n(_AGENTS)), str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        ) as child:
            try:
                pause(sizes.s(24.0))
                calm = _peak(proxy.accepted[sizes.n(_AGENTS) * 2 :])
                proxy.shut()
                pause(sizes.s(20.0))
                proxy.accepted.clear()
                proxy.open()
                pause(sizes.s(_HERD_S))
                accepted = list(proxy.accepted)
                out, _ = child.communicate(timeout=20)
            finally:
                child.kill()
    ended = json.loads(out.splitlines()[-1])
    if not ended["sent"]:
        raise RuntimeError(f"expected agents that send, got {ended}")
    mean = len(accepted) / sizes.s(_HERD_S)
    peak = _peak(accepted)
    note = (
        f"{peak} connects in the busiest second, {mean:.1f} on average over {sizes.s(_HERD_S):.0f} "
        f"s; {calm} in the busiest second before the outage; {ended['sent']} batches sent, "
        f"{ended['held']} held at the end"
    )
    return [
        at_most(
            f"{sizes.n(_AGENTS)} agents, collector back after 20 s: peak of connects",
            peak / max(mean, 0.1), PEAK, "x mean", note,
        )
    ]  # fmt: skip


@contextmanager
def _behind_proxy() -> Iterator[tuple[Stack, Proxy]]:
    """Yield a stack whose agent reaches its collector through a proxy that is not open yet."""
    with ExitStack() as exits:

        def proxied(url: str) -> str:
            proxy.append(exits.enter_context(Proxy(int(url.rpartition(":")[2]))))
            return proxy[0].url

        proxy: list[Proxy] = []
        one = exits.enter_context(stack(url=proxied))
        yield one, proxy[0]


def _age_s(one: Stack) -> float:
    """Return how long ago the newest window of the store began: no sample of it is older."""
    rows = one.collector.api.get("/metrics/history", from_="-5m", step=10)["series"]
    if not rows:
        return 300.0
    return time.time() - datetime.fromisoformat(rows[-1]["t"]).timestamp()


def _peak(times: list[float]) -> int:
    """Return the most connects within one of the seconds since the first."""
    return max(Counter(int(at - times[0]) for at in times).values(), default=0)
