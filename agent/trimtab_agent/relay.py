"""The long poll to the collector, which answers as soon as it has something for this agent.

Today the answer says whether somebody watches, which turns on the one-second summaries.

When a poll fails, the relay waits until the forwarder reaches the collector, and then for a random
time up to the length of the outage, at most 15 s. So when many agents come back together, each
opens one connection at first and its second one later.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable
from typing import Final

import httpx

from trimtab_agent.answers import ask
from trimtab_agent.faults import Faults

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
        answered: Callable[[], None] = lambda: None,
        faults: Faults | None = None,
    ) -> None:
        #: used from the next poll on; may be replaced at any time
        self.client = client
        self._agent = agent
        self._on_watch = on_watch
        #: called after a poll that was answered
        self._answered = answered
        #: set while the forwarder reaches the collector
        self._reached = reached
        self._faults = faults or Faults()

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
                # The forwarder logs a warning: it fails for the same reason.
                log.debug("poll failed: %r", error)
                failed_s = begun_s if failed_s is None else failed_s
                await self._reached.wait()
                away_s = min(max(_RETRY_S[0], time.monotonic() - failed_s), _RETRY_S[1])
                await asyncio.sleep(random.uniform(_RETRY_S[0], away_s))
                continue
            failed_s = None
            self._answered()
            if seconds > 0:
                try:
                    self._on_watch(seconds)
                except Exception:  # noqa: BLE001 - as above
                    self._faults.note("relay")
            # The collector holds a poll it has no answer for; another server in its place may not.
            if seconds > 0 or time.monotonic() - begun_s < 1.0:
                await asyncio.sleep(1.0)
