"""A clock that stands until the test moves it."""

__all__ = ["Clock"]


class Clock:
    """Called, it tells seconds, as `time.time` and `time.monotonic` do; `monotonic_ns` tells ns."""

    def __init__(self, now_s: float = 1000.0) -> None:
        self.now_s = now_s

    @property
    def now_s(self) -> float:
        return self.ns / 1e9

    @now_s.setter
    def now_s(self, seconds: float) -> None:
        # Whole nanoseconds: durations that a test makes are exact.
        self.ns = round(seconds * 1e9)

    def __call__(self) -> float:
        return self.now_s

    def monotonic_ns(self) -> int:
        """Return the time in nanoseconds."""
        return self.ns

    def advance_s(self, seconds: float) -> None:
        """Let time pass."""
        self.now_s += seconds

    def advance_ms(self, ms: float) -> None:
        """Let time pass."""
        self.ns += round(ms * 1e6)
