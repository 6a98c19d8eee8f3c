"""CPU that each key costs: whoever takes too much waits while other keys send.

Of five seconds, batches of all keys together may take four of CPU. A key that takes more than what
the others leave of that, and more than an equal share, is told to come later (503); its agents keep
their batches. A key that sends alone is never told so.
"""

import time
from collections.abc import Callable
from typing import Final

from trimtab_collector.contract.errors import ApiError

__all__ = ["CpuShares"]

_SPAN_S: Final = 5.0
#: CPU-seconds of all keys within a span
_MOST_S: Final = 4.0
#: a key that took less within a span does not send, seconds
_LEAST_S: Final = 0.005
_RETRY_S: Final = 2


class CpuShares:
    """What keys took within the last span or two; any thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since_s = clock()
        self._current: dict[str, float] = {}
        self._before: dict[str, float] = {}

    def spend(self, key_id: str, cpu_s: float) -> None:
        """Note what a batch of a key took."""
        self._turn()
        self._current[key_id] = self._current.get(key_id, 0.0) + cpu_s

    def check(self, key_id: str) -> None:
        """Raise ApiError 503 for a key that is to wait for others."""
        passed_s = self._turn()
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
