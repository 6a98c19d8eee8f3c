"""What each key costs the others: whoever takes too much waits while other keys send.

Of five seconds, batches of all keys together may take four of CPU. A key that takes more than what
the others leave of that, and more than an equal share, is told to come later (503); its agents keep
their batches. What costs more than the check of a batch is paced: a key may bring a thousand names
that are not in use, half a megabyte of events and five thousand ranges of records a second, five
seconds' worth at once, and what is over a quota all the same takes a hundredth of a core at most. A
key that sends alone is never told so.
"""

import threading
import time
from collections.abc import Callable
from math import ceil
from typing import Final

from trimtab_collector.contract.errors import ApiError

__all__ = ["CpuShares", "paced_s"]

_SPAN_S: Final = 5.0
#: CPU-seconds of all keys within a span
_MOST_S: Final = 4.0
#: a key that took less within a span does not send, seconds
_LEAST_S: Final = 0.005
_RETRY_S: Final = 2
#: what a key may bring a second: names that are new, bytes of events, ranges of records (an app
#: process whose records come in order has one)
_NAMES: Final = 1_000
_EVENT_BYTES: Final = 512 * 1024
_RANGES: Final = 5_000
#: seconds of that at once; the longest pause; and how many times as long as it took a batch counts
#: of which something was over a quota
_AT_ONCE_S: Final = 5.0
_PAUSE_S: Final = 30.0
_OVER: Final = 100
#: from so many seconds on a key is one whose batches the loop does not check itself
_HEAVY_S: Final = 0.5
#: a key that sent within so long sends: an agent does so every ten seconds
_SENDS_S: Final = 30.0


def paced_s(names: int, event_bytes: int, ranges: int, over_cpu_s: float) -> float:
    """Return of how many seconds of its pace a batch is, by what it brought."""
    return names / _NAMES + event_bytes / _EVENT_BYTES + ranges / _RANGES + _OVER * over_cpu_s


class CpuShares:
    """What keys took within the last span or two; any thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._since_s = clock()
        self._current: dict[str, float] = {}
        self._before: dict[str, float] = {}
        #: key -> when it sent last, and of how many seconds of its pace that left it
        self._paced: dict[str, tuple[float, float]] = {}

    def spend(self, key_id: str, cpu_s: float, of_pace_s: float = 0.0) -> None:
        """Note what a batch of a key took, and for how many seconds of its pace it was."""
        with self._lock:
            self._turn()
            self._current[key_id] = self._current.get(key_id, 0.0) + cpu_s
            level_s = min(self._level_s(key_id) + of_pace_s, _AT_ONCE_S + _PAUSE_S)
            self._paced[key_id] = (self._clock(), level_s)

    def is_heavy(self, key_id: str) -> bool:
        """Tell whether a key brings much that is new: its batches must not stop the loop."""
        return self._level_s(key_id) > _HEAVY_S

    def check(self, key_id: str) -> None:
        """Raise ApiError 503 for a key that is to wait for others."""
        with self._lock:
            passed_s = self._turn()
        pause_s = self._level_s(key_id) - _AT_ONCE_S
        if pause_s > 0 and self._others_send(key_id):
            raise ApiError(
                503,
                "busy",
                f"key {key_id} brings new names, events, ranges of records, or what is over a "
                "quota, faster than there is room for while other keys send: the batch is taken "
                "later",
                headers={"Retry-After": str(ceil(pause_s))},
            )
        if self._current.get(key_id, 0.0) + self._before.get(key_id, 0.0) < _MOST_S / 100:
            return
        weight = 1 - passed_s / _SPAN_S
        # As if what the span before took had been spread over it evenly.
        took = {key: weight * cpu_s for key, cpu_s in list(self._before.items())}
        for key, cpu_s in list(self._current.items()):
            took[key] = took.get(key, 0.0) + cpu_s
        own = took.pop(key_id, 0.0)
        others = [cpu_s for cpu_s in took.values() if cpu_s > _LEAST_S]
        if others and own > max(_MOST_S / (len(others) + 1), _MOST_S - sum(others)):
            raise ApiError(
                503,
                "busy",
                f"batches of key {key_id} took {own:.1f} s of CPU within {_SPAN_S:.0f} s while "
                "other keys send: the batch is taken later",
                headers={"Retry-After": str(_RETRY_S)},
            )

    def _level_s(self, key_id: str) -> float:
        at_s, level_s = self._paced.get(key_id, (0.0, 0.0))
        return max(0.0, level_s - (self._clock() - at_s))

    def _others_send(self, key_id: str) -> bool:
        since_s = self._clock() - _SENDS_S
        return any(at_s > since_s for key, (at_s, _) in list(self._paced.items()) if key != key_id)

    def _turn(self) -> float:
        """Begin the next span if this one is over; returns the seconds since it began."""
        passed_s = self._clock() - self._since_s
        if passed_s < _SPAN_S:
            return passed_s
        spans = int(passed_s // _SPAN_S)
        self._before = self._current if spans == 1 else {}
        self._current = {}
        self._since_s += spans * _SPAN_S
        return passed_s - spans * _SPAN_S
