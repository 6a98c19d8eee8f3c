"""Lines in the log about apps that connect: some of each peer, as it may do so all the time."""

import logging
import time
from collections.abc import Callable
from typing import Final

from trimtab_agent.allowance import Allowance, Allowances
from trimtab_agent.app import App

__all__ = ["ConnectedLines"]

log = logging.getLogger("trimtab.listener")

#: lines of one peer and of all together: at once, and a second
_OF_PEER: Final = (10, 1 / 60)
_OF_ALL: Final = (1000, 1.0)


class ConnectedLines:
    """Tells that apps have connected, and how many were not told of. Loop only."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._peers = Allowances(*_OF_PEER)
        self._all = Allowance(*_OF_ALL)
        self._left_out = 0

    def connected(self, app: App) -> None:
        """Log one line, or count it."""
        now_s, hello = self._clock(), app.hello
        whose = app.peer if app.peer.process else (app.peer, hello.process)
        if not (self._peers.take(whose, now_s) and self._all.take(now_s)):
            self._left_out += 1
            return
        more, self._left_out = self._left_out, 0
        log.info(
            "app connected service=%s environment=%s instance=%s pid=%s%s",
            hello.service, hello.environment, app.instance, hello.pid,
            f" (and {more} times before)" if more else "",
        )  # fmt: skip
