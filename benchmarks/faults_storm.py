"""Three hundred apps at once: all connect, the agent dies and comes back, the agent lacks files."""

import resource
import time
from contextlib import ExitStack
from typing import Final

from faults_stack import (
    Emitters,
    Sizes,
    Stack,
    Watch,
    at_most,
    metrics,
    pause,
    stack,
    unaccounted,
    wait_for,
)
from harness import Row, progress
from processes import cpu_s

__all__ = ["descriptors", "storm"]

APPS: Final = 300
WELCOME_S: Final = 2.0
AWAY_PERCENT: Final = 1.0
CPU_PERCENT: Final = 20.0
RECOVER_S: Final = 2.0
_PROCESSES: Final = 2
_RATE: Final = 2.0
_AWAY_S: Final = 5.0
_NOFILE: Final = 64


def storm(sizes: Sizes) -> list[Row]:
    """Return the rows of a connection storm, and of the same apps after the agent was killed."""
    count = sizes.n(APPS) // _PROCESSES * _PROCESSES
    progress(f"{count} apps connect at once")
    with ExitStack() as exits:
        one = exits.enter_context(stack())
        # Started before there is an agent, so that none of them has a head start.
        one.agent.stop()
        children = _children(exits, one, count)
        pause(sizes.s(3.0))
        away = _cpu_while_away(children, count, sizes)
        one.agent.start()
        first = _welcomed(one, count)
        pause(sizes.s(3.0))
        progress(f"the agent of {count} apps is killed and comes back")
        one.agent.kill9()
        pause(sizes.s(_AWAY_S))
        one.agent.start()
        second = _welcomed(one, count)
        sent = sum(child.stop()["recorded"] for child in children)
        accounting = unaccounted(f"{count} apps, agent killed: accounting", one, "storm", sent)
    return [
        _welcome_row(f"{count} apps at once: until all are welcome", first),
        _welcome_row(f"{count} apps, agent killed: until all are back", second),
        away,
        accounting,
    ]


def descriptors(sizes: Sizes) -> list[Row]:
    """Return the rows of an agent that may open 64 files and is asked by 300 apps."""
    count = sizes.n(APPS) // _PROCESSES * _PROCESSES
    progress(f"{count} apps ask an agent that may open {_NOFILE} files")
    with ExitStack() as exits:
        one = exits.enter_context(stack())
        pid = one.agent.pid
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (_NOFILE, _NOFILE))
        children = _children(exits, one, count)
        pause(sizes.s(3.0))
        with Watch(pid) as watch:
            before, begun = cpu_s(pid), time.monotonic()
            pause(sizes.s(8.0))
            percent = (cpu_s(pid) - before) / (time.monotonic() - begun) * 100
        connected = sum(child.accounting()["linked"] for child in children)
        alive = one.agent.alive
        for child in children:
            child.stop()
        begun = time.monotonic()
        later = exits.enter_context(Emitters(one.agent.socket, "later", 4, rate=_RATE))
        wait_for(lambda: later.accounting()["linked"] == 4, "the apps that came later", 30)
        wait_for(lambda: metrics(one.agent).get("apps") == 4, "only later apps to be there", 30)
        recovered_s = time.monotonic() - begun
    note = (
        f"{connected} of {count} had a connection, accepted or not; at most "
        f"{watch.cpu_percent:.0f} % in half a second"
    )
    return [
        Row(
            f"{count} apps, agent with {_NOFILE} files: agent alive", float(alive), "", "1", alive
        ),
        at_most(
            f"{count} apps, agent with {_NOFILE} files: CPU", percent, CPU_PERCENT, "% core", note
        ),
        at_most(
            f"after {count} apps left an agent with {_NOFILE} files: others connected",
            recovered_s, RECOVER_S, "s", "start of their process included",
        ),
    ]  # fmt: skip


def _children(exits: ExitStack, one: Stack, count: int) -> list[Emitters]:
    return [
        exits.enter_context(
            Emitters(one.agent.socket, "storm", count // _PROCESSES, routes=20, rate=_RATE)
        )
        for _ in range(_PROCESSES)
    ]


def _cpu_while_away(children: list[Emitters], count: int, sizes: Sizes) -> Row:
    pids = [child.pid for child in children]
    before, begun = sum(map(cpu_s, pids)), time.monotonic()
    pause(sizes.s(5.0))
    used = sum(map(cpu_s, pids)) - before
    percent = used / (time.monotonic() - begun) * 100 / count
    return at_most(
        "agent away: CPU of an app that records and tries to connect", percent, AWAY_PERCENT,
        "% core", f"a {count}th of what {count} of them take, {_RATE:g} records/s each",
    )  # fmt: skip


def _welcomed(one: Stack, count: int) -> tuple[float, Watch]:
    begun = time.monotonic()
    with Watch(one.agent.pid) as watch:
        wait_for(lambda: metrics(one.agent).get("apps", 0) >= count, "all apps to be there", 60)
        took = time.monotonic() - begun
        # The first seconds with all of them belong to the storm: windows, buckets, batches.
        pause(2.0)
    return took, watch


def _welcome_row(what: str, found: tuple[float, Watch]) -> Row:
    took, watch = found
    note = (
        f"agent: at most {watch.cpu_percent:.0f} % of a core in half a second, "
        f"{watch.used_s:.2f} CPU seconds in all, {watch.rss_mb:.1f} MB"
    )
    return at_most(what, took, WELCOME_S, "s", note)
