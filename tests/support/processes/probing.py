"""Probes as tests drive them: one reading at a time, or all of them on their intervals."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from trimtab_agent.probes import Probes
from trimtab_agent.probes.probe import Probe, Probed
from trimtab_agent.settings import AgentSettings

__all__ = ["gauges", "read", "running", "until"]

_T = TypeVar("_T")


def read(probe: Probe) -> Probed:
    """Return one reading."""
    return asyncio.run(probe.read())


@asynccontextmanager
async def running(slow_s: float = 1.0, **settings: Any) -> AsyncIterator[Probes]:
    """Run the probes of some settings, every second unless told."""
    probes = Probes(AgentSettings(**({"probe_s": 1} | settings)), slow_s)
    probes.start()
    try:
        yield probes
    finally:
        await probes.stop()


def gauges(probes: Probes, target: str = "") -> dict[str, float]:
    """Return the gauges of a target by name, of the only one unless told."""
    return {gauge.name: gauge.value for gauge in probes.gauges() if target in ("", gauge.instance)}


async def until(predicate: Callable[[], _T], what: str, timeout_s: float = 10.0) -> _T:
    """Return the first true value of predicate, asked every 10 ms while the loop turns."""
    deadline = time.monotonic() + timeout_s
    while not (value := predicate()):
        assert time.monotonic() < deadline, f"waited {timeout_s:g} s for {what}"
        await asyncio.sleep(0.01)
    return value
