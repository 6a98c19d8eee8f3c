"""Events of a process: slow queries, repeated queries, slow and failed requests.

They wait in a bounded queue until the emitter takes them; over the bound the oldest go, counted.
An event is a dict of short texts and whole numbers; what could be a secret never gets into one.
"""

import threading
from collections import deque
from collections.abc import Iterable, Mapping
from time import monotonic, monotonic_ns
from typing import Any, Final

__all__ = ["N_PLUS_ONE", "REQUEST", "SLOW_QUERY", "EventQueue", "dated"]

#: kinds of events
SLOW_QUERY: Final = "slow_query"
N_PLUS_ONE: Final = "n_plus_one"
REQUEST: Final = "request"
_MOST: Final = 500
#: events of one kind and name in ten seconds: a storm of equal ones says nothing new
_MOST_ALIKE: Final = 10
_ALIKE_S: Final = 10.0
#: names in ten seconds; those beyond count as one of their kind
_MOST_NAMES: Final = 2000
_BEYOND: Final = ""


class EventQueue:
    """The queue; any thread."""

    def __init__(self) -> None:
        self.forget()

    def after_fork(self) -> None:
        """Start from nothing; in the child of a fork."""
        self.forget()

    def forget(self) -> None:
        """Start from nothing."""
        # A finalizer that runs in the middle of this may add an event, too.
        self._lock = threading.RLock()
        self._waiting: deque[dict[str, Any]] = deque()
        self._alike: dict[tuple[str, str], int] = {}
        self._since = 0.0
        #: events not kept: too many, or too many alike
        self.dropped = 0

    def add(self, kind: str, alike: str, event: dict[str, Any]) -> None:
        """Keep an event; alike names what it has in common with others of its kind."""
        now = monotonic()
        with self._lock:
            if now - self._since > _ALIKE_S:
                # Every ten seconds all names are forgotten: none can hold its place for longer.
                self._since = now
                self._alike.clear()
            if len(self._alike) >= _MOST_NAMES and (kind, alike) not in self._alike:
                alike = _BEYOND
            seen = self._alike.get((kind, alike), 0)
            self._alike[kind, alike] = seen + 1
            if seen >= _MOST_ALIKE:
                self.dropped += 1
                return
            if len(self._waiting) >= _MOST:
                self._waiting.popleft()
                self.dropped += 1
            # The wall clock may jump before the event is sent: it is read then, in `dated`.
            self._waiting.append({"kind": kind, "at_us": monotonic_ns() // 1000, **event})

    def take(self, most: int) -> list[dict[str, Any]]:
        """Return at most that many events, the oldest first, and forget them.

        Their `at_us` is by the monotonic clock; `dated` has it by the wall clock.
        """
        with self._lock:
            return [self._waiting.popleft() for _ in range(min(most, len(self._waiting)))]

    def __len__(self) -> int:
        return len(self._waiting)


def dated(events: Iterable[Mapping[str, Any]], wall_us: int, mono_us: int) -> list[dict[str, Any]]:
    """Return events as they are sent: `at_us` by the wall clock; both clocks were read just now."""
    return [{**event, "at_us": max(0, wall_us - mono_us + event["at_us"])} for event in events]
