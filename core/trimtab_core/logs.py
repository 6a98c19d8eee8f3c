"""Logging of agent and collector, limited to one line per cause and minute."""

import logging
import time
from collections.abc import Callable

__all__ = ["MAX_CAUSES", "RateLimited", "configure"]

#: Causes that a `RateLimited` remembers.
MAX_CAUSES = 256
_FORMAT = "%(asctime)s %(levelname)s %(name)s %(message)s"


def configure(level: str = "info") -> None:
    """Send log lines of this process to standard error; never called in a user's process."""
    logging.basicConfig(level=level.upper(), format=_FORMAT, force=True)
    for chatty in ("httpx", "httpcore"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


class RateLimited:
    """Logs a cause at most once a minute, and how often it came up in between.

    Remembers up to 256 causes; over that it forgets the one that was logged least recently. Not
    thread-safe.
    """

    def __init__(
        self, logger: logging.Logger, period_s: float = 60, clock: Callable[[], float] | None = None
    ) -> None:
        self._logger = logger
        self._period_s = period_s
        self._clock = clock or time.monotonic
        #: cause -> when it may be logged again; the cause logged least recently comes first
        self._next: dict[str, float] = {}
        self._held: dict[str, int] = {}

    def warning(self, cause: str, message: str, *args: object) -> None:
        """Log a message for a cause, or count it when the cause was logged within the period."""
        now = self._clock()
        if now < self._next.get(cause, 0):
            self._held[cause] = self._held.get(cause, 0) + 1
            return
        self._next.pop(cause, None)
        if len(self._next) >= MAX_CAUSES:
            oldest = next(iter(self._next))
            del self._next[oldest]
            self._held.pop(oldest, None)
        self._next[cause] = now + self._period_s
        held = self._held.pop(cause, 0)
        if held:
            message += f" (and {held} times before)"
        self._logger.warning(message, *args)
