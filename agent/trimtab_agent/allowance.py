"""How much of something may be had at once, and how much more each second."""

__all__ = ["Allowance"]


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
