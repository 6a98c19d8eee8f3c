"""How long what was computed is kept: forty times as long as it took.

So whatever is asked all the time, and however much there is to read, computing it takes a fortieth
of a core at most.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Final, Generic, TypeVar

__all__ = ["Computed"]

_T = TypeVar("_T")
_TIMES: Final = 40


@dataclass(frozen=True, slots=True)
class Computed(Generic[_T]):
    """What was computed, and what it took; any thread."""

    value: _T
    took_s: float

    @classmethod
    def by(
        cls, compute: Callable[[], _T], clock: Callable[[], float] = time.thread_time
    ) -> "Computed[_T]":
        """Compute it now, and time that by a clock; raises what computing raises."""
        begun_s = clock()
        value = compute()
        return cls(value, clock() - begun_s)

    def kept_s(self, shortest_s: float = 0.0, longest_s: float = inf) -> float:
        """Return for how long to keep it, within limits."""
        return min(longest_s, max(shortest_s, _TIMES * self.took_s))
