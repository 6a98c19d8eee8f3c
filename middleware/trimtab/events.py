"""Events of this process: slow queries, repeated queries, slow and failed requests.

They wait in a bounded queue until the emitter takes them; over the bound the oldest go, counted.
An event is a dict of short texts and whole numbers; what could be a secret never gets into one.
"""

import os
import threading
import time
from collections import deque
from typing import Any, Final

__all__ = ["EVENTS", "N_PLUS_ONE", "REQUEST", "SLOW_QUERY", "EventQueue"]

#: kinds of events
SLOW_QUERY: Final = "slow_query"
N_PLUS_ONE: Final = "n_plus_one"
REQUEST: Final = "request"
_MOST: Final = 500
#: of one kind and name, so many in ten seconds: a storm of equal ones says nothing new
_MOST_ALIKE: Final = 10
_ALIKE_S: Final = 10.0
_MOST_NAMES: Final = 2000


class EventQueue:
    """The queue; any thread."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Start from nothing; in the child of a fork."""
        self._lock = threading.Lock()
        self._waiting: deque[dict[str, Any]] = deque()
        self._alike: dict[tuple[str, str], int] = {}
        self._since = 0.0
        #: events not kept: too many, or too many alike
        self.dropped = 0

    def add(self, kind: str, alike: str, event: dict[str, Any]) -> None:
        """Keep an event; alike names what it has in common with others of its kind."""
        now = time.monotonic()
        with self._lock:
            if now - self._since > _ALIKE_S or len(self._alike) > _MOST_NAMES:
                self._since = now
                self._alike.clear()
            seen = self._alike.get((kind, alike), 0)
            self._alike[kind, alike] = seen + 1
            if seen >= _MOST_ALIKE:
                self.dropped += 1
                return
            if len(self._waiting) >= _MOST:
                self._waiting.popleft()
                self.dropped += 1
            self._waiting.append({"kind": kind, "at_us": time.time_ns() // 1000, **event})

    def take(self, most: int) -> list[dict[str, Any]]:
        """Return at most that many events, the oldest first, and forget them."""
        with self._lock:
            return [self._waiting.popleft() for _ in range(min(most, len(self._waiting)))]

    def __len__(self) -> int:
        return len(self._waiting)


#: The one of this process.
EVENTS: Final = EventQueue()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=EVENTS.forget)
