"""Calls of one kind summed up, and the servers that agents look at."""

from trimtab_collector.contract.body import Body

__all__ = ["Calls", "ProbedTarget"]


class Calls(Body, kw_only=True):
    """The figures of calls of one kind; times and shares are null without calls."""

    count: int
    errors: int
    error_rate: float | None
    per_second: float
    total_time: float
    mean: float | None
    p50: float | None
    p90: float | None
    p95: float | None
    p99: float | None
    max: float | None


class ProbedTarget(Body, kw_only=True):
    """A server that an agent looks at: its latest gauges by catalogue name."""

    target: str
    agent: str
    gauges: dict[str, float]
