"""How much of something may be had at once, and how much more each second."""

from collections.abc import Hashable
from typing import Final

__all__ = ["Allowance", "Allowances"]

#: Allowances that are remembered.
_MOST_KEYS: Final = 4096


class Allowance:
    """A bucket of tokens: full at first, refilled as time goes by."""

    def __init__(self, most: int, per_s: float) -> None:
        self._most = most
        self._per_s = per_s
        self._left = float(most)
        self._seen_s: float | None = None

    def take(self, now_s: float) -> bool:
        """Take a token if there is one; now_s may be of any clock, which may be put back."""
        since_s = 0.0 if self._seen_s is None else max(0.0, now_s - self._seen_s)
        self._seen_s = now_s
        self._left = min(self._most, self._left + since_s * self._per_s)
        if self._left < 1:
            return False
        self._left -= 1
        return True


class Allowances:
    """An allowance for each of many; of more than 4,096, the least recently used is forgotten."""

    def __init__(self, most: int, per_s: float) -> None:
        self._most = most
        self._per_s = per_s
        self._of: dict[Hashable, Allowance] = {}

    def take(self, key: Hashable, now_s: float) -> bool:
        """Take a token of one of them if there is one."""
        allowance = self._of.pop(key, None)
        if allowance is None:
            if len(self._of) >= _MOST_KEYS:
                del self._of[next(iter(self._of))]
            allowance = Allowance(self._most, self._per_s)
        self._of[key] = allowance
        return allowance.take(now_s)
