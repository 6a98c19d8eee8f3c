"""What a first page shows at once."""

from trimtab_collector.contract.alerts import AlertBody
from trimtab_collector.contract.body import Body
from trimtab_collector.contract.current import Current
from trimtab_collector.contract.history import History
from trimtab_collector.contract.overview import OverviewSentence

__all__ = ["Dashboard", "DashboardHistory", "Trends"]


class DashboardHistory(Body, kw_only=True):
    """The last hour by minutes, day by ten minutes, and week by hours, with rows for all steps."""

    hourly: History
    daily: History
    weekly: History


class Trends(Body, kw_only=True):
    """Where figures have gone over the last six hours: rising, falling or stable.

    A change is a share of the level at its beginning. Both are null with less than two hours.
    """

    #: of a process
    memory_trend: str | None
    memory_change: float | None
    cpu_trend: str | None
    cpu_change: float | None
    #: p95
    response_time_trend: str | None
    response_time_change: float | None
    throughput_trend: str | None
    throughput_change: float | None
    error_rate_trend: str | None
    error_rate_change: float | None


class Dashboard(Body, kw_only=True):
    """Now, how it came to be, and what to do."""

    timestamp: str
    #: healthy, warning or critical: the worse of the analysis and the open alerts
    status: str
    #: what the overview of the last hour says
    sentence: OverviewSentence
    current: Current
    history: DashboardHistory
    #: those that are open, the ones that need somebody first
    alerts: list[AlertBody]
    alerts_left_out: int
    trends: Trends
    #: sentences, the worst first, good news last
    recommendations: list[str]
