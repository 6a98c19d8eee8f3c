"""Processes that end and come back: a collector killed again and again, an agent replaced."""

import time
from typing import Final

from faults_stack import (
    Agent,
    Emitters,
    Proc,
    Sizes,
    Stack,
    at_most,
    metrics,
    pause,
    stack,
    unaccounted,
    wait_for,
)
from harness import Row, progress

__all__ = ["recovery"]

GAP_S: Final = 2.0
COLLECTOR_S: Final = 5.0
_APPS: Final = 4
_RATE: Final = 75.0


def recovery(sizes: Sizes) -> list[Row]:
    """Return the rows of a collector that is killed and of an agent that is upgraded."""
    return [*_collector(sizes), *_upgrade(sizes)]


def _collector(sizes: Sizes) -> list[Row]:
    progress("the collector is killed every 2 s")
    back: list[float] = []
    with stack() as one, _apps(one) as apps:
        pause(2.0)
        for _ in range(sizes.rounds):
            one.collector.kill9()
            begun = time.monotonic()
            one.collector.start()
            back.append(time.monotonic() - begun)
            pause(sizes.s(2.0))
        sent = apps.stop()["recorded"]
        begun = time.monotonic()
        accounting = unaccounted(
            "collector killed: records lost or doubled", one, "load", sent, lossless=True
        )
        drained = time.monotonic() - begun
    note = f"longest of {len(back)}; the last of the backlog came {drained:.1f} s after the load"
    return [
        at_most("collector killed: from start to answering", max(back), COLLECTOR_S, "s", note),
        accounting,
    ]


def _upgrade(sizes: Sizes) -> list[Row]:
    gaps: list[float] = []
    rounds = max(2, sizes.rounds - 2)
    with stack() as one, _apps(one) as apps:
        pause(2.0)
        agent = one.agent
        for index in range(rounds):
            progress(f"the agent is replaced under load: round {index + 1} of {rounds}")
            gaps.append(_replaced(agent))
            pause(sizes.s(3.0))
        sent = apps.stop()["recorded"]
        accounting = unaccounted(
            "agent replaced under load: records lost", one, "load", sent, lossless=True
        )
    note = "TERM to the old one, the new one started as soon as that had ended; " + ", ".join(
        f"{gap:.2f}" for gap in gaps
    )
    return [at_most("agent replaced: apps without one", max(gaps), GAP_S, "s", note), accounting]


def _replaced(agent: Agent) -> float:
    """Replace an agent as a service manager does; return how long not all apps had one.

    From the moment the old one is told to stop, which is when its apps begin to leave.
    """
    begun = time.monotonic()
    agent.stop()
    Proc.start(agent)
    wait_for(lambda: metrics(agent).get("apps", 0) >= _APPS, "all apps at the new agent", 30)
    return time.monotonic() - begun


def _apps(one: Stack) -> Emitters:
    return Emitters(one.agent.socket, "load", _APPS, routes=20, rate=_RATE)
