"""Measures over time: calls, tasks, cache reads and an app's own metrics, step by step."""

from typing import Final

from trimtab_collector.contract.body import Body, ResolvedBody
from trimtab_collector.contract.kinds import Choice, Whole
from trimtab_collector.contract.lists import Labels, Names, Pairs

__all__ = [
    "ATTRIBUTES",
    "MEASURES",
    "MEASURES_BY",
    "MEASURE_GROUPS",
    "MEASURE_SERIES",
    "MeasureFigures",
    "MeasureHistory",
    "MeasureSeries",
    "MeasureStep",
]

MEASURES: Final = Names(
    "name", "Names of measures; one that ends in `*` is a beginning of names.", "measures", 20
)
ATTRIBUTES: Final = Pairs(
    "attribute", "Only measures with this attribute, as name=value; may be repeated.", 8
)
MEASURE_GROUPS: Final = Labels(
    "groupBy",
    "A series for each of these, together: environment, service, instance, and attributes by name.",
    8,
)
MEASURES_BY: Final = Choice(
    "by",
    "Of each name, the series with the largest of this over the range come first.",
    ("sum", "count", "perSecond", "mean", "p50", "p90", "p95", "p99", "max", "last"),
    "sum",
)
MEASURE_SERIES: Final = Whole("limit", "Most series of all names together.", 1, 200, 20)


class MeasureFigures(Body, kw_only=True):
    """What was added to a measure; what its kind does not have is null.

    A counter has `sum`, `perSecond` of it and `count`, how often it was added to. A histogram has
    `perSecond` of `count`, and all others but `last`. A gauge has count, mean, min and max of its
    values, and `last`: the sum of the last values of all processes.
    """

    count: int
    sum: float | None
    per_second: float | None
    mean: float | None
    min: float | None
    max: float | None
    last: float | None
    p50: float | None
    p90: float | None
    p95: float | None
    p99: float | None


class MeasureStep(MeasureFigures, kw_only=True):
    """One step; rates are over the seconds of it that have arrived."""

    t: str
    seconds: float


class MeasureSeries(Body, kw_only=True):
    """The measures of one name and group, in the unit that stands beside them (UCUM)."""

    name: str
    kind: str
    unit: str
    #: of groupBy, those that the measures have
    group: dict[str, str]
    #: over the whole range
    total: MeasureFigures
    #: steps that hold something; the others have no row
    series: list[MeasureStep]


class MeasureHistory(ResolvedBody, kw_only=True):
    """Measures over time, by name in the order asked for."""

    #: as asked for, or wider where measures are kept in wider windows
    step: int | str
    group_by: list[str]
    measures: list[MeasureSeries]
    measures_left_out: int
