"""The long poll to the collector: it answers as soon as there is something for this agent.

What it carries today is that somebody watches, which turns on the one-second summaries.

While the collector is away the relay waits for the forwarder to reach it, and then for as long
again at random as it was away, 15 s at most: of many agents that come back together,
each takes one connection at first and the other somewhat later.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable
from typing import Final

import httpx

from trimtab_agent.answers import ask

__all__ = ["Relay"]

log = logging.getLogger("trimtab.relay")

_WAIT_S: Final = 25
_RETRY_S: Final = (1.0, 15.0)


class Relay:
    """One task on the agent's loop."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        agent: str,
        on_watch: Callable[[float], None],
        reached: asyncio.Event,
    ) -> None:
        #: may be replaced at any time
        self.client = client
        self._agent = agent
        self._on_watch = on_watch
        #: set while the forwarder reaches the collector
        self._reached = reached

    async def run(self) -> None:
        """Poll for ever; ends only by cancellation."""
        failed_s: float | None = None
        while True:
            begun_s = time.monotonic()
            try:
                client = self.client
                request = client.build_request(
                    "GET",
                    "/agent/v1/commands",
                    params={"agent": self._agent, "wait": _WAIT_S},
                    timeout=httpx.Timeout(_WAIT_S + 10, connect=5.0),
                )
                answer = await ask(client, request, _WAIT_S + 20)
                seconds = answer.watch_s
                if answer.status != 200 or seconds is None:
                    raise ValueError(f"expected watchSeconds, got {answer.sentence}")
            except Exception as error:  # noqa: BLE001 - it polls for ever, whatever a library does
                # The forwarder tells the operator: it meets the same collector.
                log.debug("poll failed: %r", error)
                failed_s = begun_s if failed_s is None else failed_s
                await self._reached.wait()
                away_s = min(max(_RETRY_S[0], time.monotonic() - failed_s), _RETRY_S[1])
                await asyncio.sleep(random.uniform(_RETRY_S[0], away_s))
                continue
            failed_s = None
            if seconds > 0:
                self._on_watch(seconds)
            # The collector waits when it has nothing to say; who answers in its place may not.
            if seconds > 0 or time.monotonic() - begun_s < 1.0:
                await asyncio.sleep(1.0)
