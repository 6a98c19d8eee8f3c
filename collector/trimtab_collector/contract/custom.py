"""The apps' own metrics."""

from typing import Final

from trimtab_collector.contract.body import Body, RangeBody
from trimtab_collector.contract.kinds import Text, Whole

__all__ = ["METRICS", "NAME", "Custom", "CustomMetric"]

NAME: Final = Text("name", "A name, or with `*` at its end the beginning of names.")
METRICS: Final = Whole("limit", "Most metrics, in the order of their names.", 1, 10_000, 1000)


class CustomMetric(Body, kw_only=True):
    """One of an app's own metrics, with one set of labels, over the range.

    A counter has what was added (`sum`), a gauge its last value, a histogram the rest.
    """

    name: str
    kind: str
    unit: str
    labels: dict[str, str]
    value: float
    count: int
    sum: float
    mean: float | None
    min: float | None
    max: float | None
    p50: float | None
    p95: float | None
    p99: float | None
    instances: int


class Custom(RangeBody, kw_only=True):
    """The apps' own metrics."""

    metrics: list[CustomMetric]
    metrics_left_out: int
