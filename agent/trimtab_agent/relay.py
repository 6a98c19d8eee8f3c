"""The long poll to the collector: it answers as soon as there is something for this agent.

What it carries today is that somebody watches, which turns on the one-second summaries.
"""

import asyncio
import logging
import random
from collections.abc import Callable
from typing import Final

import httpx

__all__ = ["Relay"]

log = logging.getLogger("trimtab.relay")

_WAIT_S: Final = 25
_BACKOFF_S: Final = (1.0, 30.0)


class Relay:
    """One task on the agent's loop."""

    def __init__(
        self, client: httpx.AsyncClient, agent: str, on_watch: Callable[[float], None]
    ) -> None:
        #: may be replaced at any time
        self.client = client
        self._agent = agent
        self._on_watch = on_watch

    async def run(self) -> None:
        """Poll for ever; ends only by cancellation."""
        backoff_s = _BACKOFF_S[0]
        while True:
            try:
                response = await self.client.get(
                    "/agent/v1/commands",
                    params={"agent": self._agent, "wait": _WAIT_S},
                    timeout=httpx.Timeout(_WAIT_S + 10, connect=5.0),
                )
                response.raise_for_status()
                seconds = float(response.json().get("watchSeconds", 0))
            except (httpx.HTTPError, OSError, ValueError, TypeError, AttributeError) as error:
                # The forwarder tells the operator: it meets the same collector.
                log.debug("poll failed: %r", error)
                await asyncio.sleep(random.uniform(_BACKOFF_S[0], backoff_s))
                backoff_s = min(backoff_s * 2, _BACKOFF_S[1])
                continue
            backoff_s = _BACKOFF_S[0]
            if seconds > 0:
                self._on_watch(min(seconds, 60.0))
                await asyncio.sleep(1.0)
