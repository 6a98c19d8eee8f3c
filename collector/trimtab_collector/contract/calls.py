"""Calls of one kind summed up, and the servers that agents look at."""

from typing import Final

from trimtab_collector.contract.body import Body
from trimtab_collector.contract.kinds import Choice

__all__ = ["CALLS_BY", "RANKED_CALLS", "Calls", "ProbedTarget"]

#: what rows of calls may be ordered by -> the figure; the names are keys of their `calls`
RANKED_CALLS: Final = {
    "totalTime": "total_time",
    "count": "count",
    "errors": "errors",
    "errorRate": "error_rate",
    "perSecond": "per_second",
    **{name: name for name in ("mean", "p50", "p90", "p95", "p99", "max")},
}
CALLS_BY: Final = Choice(
    "by", "Rows with the largest of this come first.", RANKED_CALLS, "totalTime"
)


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
