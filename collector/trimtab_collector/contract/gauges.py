"""Gauges: the latest of processes and hosts, and their history."""

from typing import Final

from trimtab_collector.contract.body import Body, ResolvedBody
from trimtab_collector.contract.kinds import Fields, Filter, Whole
from trimtab_collector.contract.lists import Names
from trimtab_collector.contract.parameters import OWNERS

__all__ = [
    "GAUGE_FIELDS",
    "GAUGE_FILTERS",
    "GROUP_BY",
    "NAMES",
    "SERIES",
    "GaugeHistory",
    "GaugeSeries",
    "GaugeStep",
    "HostGauges",
    "MachineUse",
    "ProcessGauges",
]

GAUGE_FILTERS: Final = (*OWNERS, Filter("agent", "Only gauges that this agent sent."))
#: parameter -> field of a gauge, for all that may be filtered and grouped by
GAUGE_FIELDS: Final = {each.name: each.field for each in GAUGE_FILTERS}
NAMES: Final = Names(
    "name",
    "Names of gauges. cpuUsage, memoryUsage, diskUsage and networkUsage are what rules judge of a "
    "machine: the gauge of its container, else of the host; groupBy must have instance for them.",
    "gauges",
    20,
)
GROUP_BY: Final = Fields(
    "groupBy",
    "A series for each of these, together; nothing takes all gauges of a name together.",
    GAUGE_FIELDS,
    tuple(each.name for each in OWNERS),
)
SERIES: Final = Whole("limit", "Most series of all names together.", 1, 200, 20)


class GaugeStep(Body, kw_only=True):
    """Gauges of one step; last is null where several gauges are taken together.

    total is the sum over those gauges of the mean of each.
    """

    t: str
    count: int
    mean: float
    min: float
    max: float
    last: float | None
    total: float


class GaugeSeries(Body, kw_only=True):
    """The steps of one gauge, or of those of one name and group."""

    name: str
    #: a UCUM code, empty for a gauge that the catalogue does not have
    unit: str
    group: dict[str, str]
    series: list[GaugeStep]


class GaugeHistory(ResolvedBody, kw_only=True):
    """Gauges over time, by name in the order asked for, of each name the largest first."""

    step: int | str
    group_by: list[str]
    gauges: list[GaugeSeries]
    gauges_left_out: int


class MachineUse(Body, kw_only=True):
    """How much is used of what may be, shares of 1: of the container, else of the host.

    This is what rules judge as cpuUsage, memoryUsage, diskUsage and networkUsage.
    """

    cpu: float | None
    memory: float | None
    disk: float | None
    network: float | None


class HostGauges(Body, kw_only=True):
    """The latest gauges of one host, as its agent took them."""

    host: str
    agent: str
    use: MachineUse
    gauges: dict[str, float]


class ProcessGauges(Body, kw_only=True):
    """The latest gauges of one process."""

    environment: str
    service: str
    instance: str
    gauges: dict[str, float]
