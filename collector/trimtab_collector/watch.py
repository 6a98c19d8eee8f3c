"""Whether somebody watches: a live read says so, and agents that wait for it are told at once."""

import asyncio
import contextlib
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

__all__ = ["Watch"]

#: how long one live read counts as watching
WATCH_S: Final = 15.0
#: agents are notified only when the end has moved by at least this much
_NEWS_S: Final = 5.0
_MAX_AGENTS: Final = 20_000


class Watch:
    """Until when somebody watches; loop only, but for `mark`."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until_s = 0.0
        self._told: OrderedDict[str, float] = OrderedDict()
        self._waiting: dict[asyncio.Future[None], str] = {}
        self._stopped = False
        #: the loop in which agents wait
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def seconds(self) -> float:
        """Seconds for which live summaries are wanted, 0 when nobody watches."""
        return max(0.0, round(self._until_s - self._clock(), 3))

    def mark(self) -> None:
        """Note that somebody looks now; any thread."""
        self._until_s = self._clock() + WATCH_S
        if self._loop is not None:
            # A read that outlives the loop has nobody left to tell.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._tell)

    def _tell(self) -> None:
        for future, agent in list(self._waiting.items()):
            if self._is_news(agent) and not future.done():
                future.set_result(None)

    async def wait(self, agent: str, wait_s: float) -> float:
        """Return the seconds to watch once they are news to that agent, at most wait_s later.

        Returns at once when the collector stops or too many wait.
        """
        if not self._stopped and not self._is_news(agent) and len(self._waiting) < _MAX_AGENTS:
            self._loop = asyncio.get_running_loop()
            future = self._loop.create_future()
            self._waiting[future] = agent
            try:
                await asyncio.wait([future], timeout=wait_s)
            finally:
                del self._waiting[future]
        self._told[agent] = self._until_s
        self._told.move_to_end(agent)
        while len(self._told) > _MAX_AGENTS:
            self._told.popitem(last=False)
        return self.seconds

    def stop(self) -> None:
        """Let everybody go who waits."""
        self._stopped = True
        for future in self._waiting:
            if not future.done():
                future.set_result(None)

    def _is_news(self, agent: str) -> bool:
        if self._until_s <= self._clock():
            return False
        told_s = self._told.get(agent, 0.0)
        return told_s <= self._clock() or self._until_s - told_s >= _NEWS_S
