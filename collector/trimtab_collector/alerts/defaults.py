"""What is judged before anybody has said anything: thresholds, and two examples, which are off.

Five minutes over a line before it fires, and a quarter of an hour beyond it before it is over, keep
blips and flapping out: see the row `noise` of `./dev bench judge`. The critical line is far enough
from noise to fire after a minute.
"""

from typing import Final, NamedTuple

from trimtab_collector.contract.alertconfigs import NewAlertConfig
from trimtab_collector.contract.alerts import AGENT_SILENCE, ANALYSIS, BURN_RATE, SERVICE_GONE

__all__ = ["BUILT_IN", "EXAMPLES", "THRESHOLDS", "Shipped"]


class Shipped(NamedTuple):
    """The lines of a metric, and how long they must be crossed, in seconds."""

    warning: float | None
    critical: float | None
    for_s: int = 300
    critical_for_s: int = 60
    keep_firing_s: int = 900
    operator: str = "gt"


#: metric -> its lines
THRESHOLDS: Final[dict[str, Shipped]] = {
    "responseTime": Shipped(1000, 5000),
    "errorRate": Shipped(0.05, 0.1),
    "queryTime": Shipped(500, 1000),
    "eventLoopDelay": Shipped(10, 50, critical_for_s=300),
    "cpuUsage": Shipped(0.7, 0.9, critical_for_s=300),
    "memoryUsage": Shipped(0.8, 0.9, critical_for_s=120),
    "networkUsage": Shipped(0.7, 0.9, critical_for_s=300),
    "diskUsage": Shipped(0.85, 0.95),
    # What watches must be watched: an agent writes every 10 seconds, and 2.5 of these are too long.
    AGENT_SILENCE: Shipped(25, None, for_s=0, keep_firing_s=60),
    # Longer than most restarts, and said within a minute.
    SERVICE_GONE: Shipped(None, 45, for_s=0, critical_for_s=0, keep_firing_s=60),
    "clockSkew": Shipped(30, None),
    "spoolSize": Shipped(32 * 2**20, 192 * 2**20),
    "collectorTrouble": Shipped(None, 0, critical_for_s=60, keep_firing_s=120),
}

#: rules that are always there, and are shaped by what they judge: id -> configuration, recipients
BUILT_IN: Final[dict[str, NewAlertConfig]] = {
    # The lines are the lowest of a severity; which pair of windows burns is in the value.
    "slo": NewAlertConfig(
        metric=BURN_RATE,
        name="Error budget burns",
        operator="gte",
        warning=1,
        critical=6,
        for_=0,
        keep_firing_for=300,
    ),
    "analysis": NewAlertConfig(
        metric=ANALYSIS,
        name="Issues found by the analysis",
        operator="gte",
        warning=1,
        critical=2,
        for_=120,
        keep_firing_for=120,
        recipients=["live"],
        description="What GET /analysis finds; shown and streamed, sent to no channel.",
    ),
}

EXAMPLES: Final[dict[str, NewAlertConfig]] = {
    "example-response-time": NewAlertConfig(
        metric="responseTime",
        name="Response time over 2 s",
        threshold=2000,
        cooldown=300,
        enabled=False,
        description="An example; switch it on, or change it to what your service promises.",
    ),
    "example-memory-usage": NewAlertConfig(
        metric="memoryUsage",
        name="Memory usage over 90 %",
        threshold=0.9,
        severity="critical",
        cooldown=600,
        enabled=False,
        description="An example; switch it on, or change it to what your hosts can take.",
    ),
}
