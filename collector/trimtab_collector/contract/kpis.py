"""Key figures: targets, and whether they were met."""

from typing import Annotated, Final, Literal, NamedTuple

from msgspec import Meta, field

from trimtab_collector.contract.body import Body

__all__ = ["FIGURES", "Kpi", "KpiFigure", "KpiList", "KpiResult", "KpiTargets"]


class KpiFigure(NamedTuple):
    """What a target is about."""

    unit: str
    #: whether less is better
    lower: bool


FIGURES: Final = {
    "responseTime": KpiFigure("ms", True),
    "taskTime": KpiFigure("ms", True),
    "requestsPerSecond": KpiFigure("1/s", False),
    "queriesPerSecond": KpiFigure("1/s", False),
    "memoryMean": KpiFigure("bytes", True),
    "memoryPeak": KpiFigure("bytes", True),
    "cpuMean": KpiFigure("ratio", True),
    "cpuPeak": KpiFigure("ratio", True),
    "diskRate": KpiFigure("bytes/s", True),
    "networkRate": KpiFigure("bytes/s", True),
    "uptime": KpiFigure("ratio", False),
    "errorRate": KpiFigure("ratio", True),
    "recoveryTime": KpiFigure("ms", True),
}

_Figure = Literal[
    "responseTime", "taskTime", "requestsPerSecond", "queriesPerSecond", "memoryMean",
    "memoryPeak", "cpuMean", "cpuPeak", "diskRate", "networkRate", "uptime", "errorRate",
    "recoveryTime",
]  # fmt: skip
_Pattern = Annotated[str, Meta(min_length=1, max_length=200)]


class Kpi(Body, kw_only=True, forbid_unknown_fields=True):
    """A target of one figure."""

    id: Annotated[str, Meta(pattern="^[a-z][a-zA-Z0-9-]{0,39}$")]
    name: Annotated[str, Meta(min_length=1, max_length=100)]
    figure: _Figure
    #: in the unit of the figure
    target: Annotated[float, Meta(ge=0, le=1e15)]
    #: what is still allowed when the target is missed; null for nothing
    allowed: Annotated[float, Meta(ge=0, le=1e15)] | None = None
    #: of responseTime `METHOD /route`, of taskTime names of tasks; `*` stands for any text
    match: Annotated[list[_Pattern], Meta(max_length=20)] = field(default_factory=list)
    enabled: bool = True


class KpiTargets(Body, kw_only=True, forbid_unknown_fields=True):
    """All targets, in the order in which they are shown."""

    kpis: Annotated[list[Kpi], Meta(max_length=100)]


class KpiList(Body, kw_only=True):
    """All targets, and those that are shipped."""

    kpis: list[Kpi]
    defaults: list[Kpi]
    #: figure -> its unit
    units: dict[str, str]
    changed_by: str | None
    changed_at: str | None


class KpiResult(Body, kw_only=True):
    """A target and what was measured: pass, allowed, fail, notMeasured or notTested.

    A rate below its target is notTested: no more was asked for, which proves nothing.
    """

    id: str
    name: str
    figure: str
    unit: str
    target: float
    allowed: float | None
    status: str
    value: float | None
    #: requests, tasks, minutes or steps that the value is of
    count: int
    how: str
    #: why there is no value, or why it proves nothing
    note: str | None
