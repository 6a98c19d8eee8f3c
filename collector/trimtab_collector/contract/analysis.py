"""What is wrong with a service, how bad it is, and what to do: the analysis of a range."""

from collections.abc import Mapping
from typing import Final

from trimtab_collector.contract.body import Body, RangeBody

__all__ = [
    "CRITICAL",
    "HEALTHY",
    "WARNING",
    "Analysis",
    "AnalysisAlert",
    "Evidence",
    "Issue",
    "NotJudged",
    "Place",
    "Recommendation",
    "ServiceAnalysis",
]

HEALTHY: Final = "healthy"
WARNING: Final = "warning"
CRITICAL: Final = "critical"


class Place(Body, kw_only=True, omit_defaults=True):
    """Where something is; what does not apply is left out."""

    environment: str = ""
    service: str = ""
    route: str = ""
    method: str = ""
    #: a worker process, or a host
    instance: str = ""
    #: a server that an agent reads, a queue or a pool
    target: str = ""


class Evidence(Body, kw_only=True, omit_defaults=True):
    """One figure that was measured, as a sentence, and where."""

    text: str
    where: Place
    #: statement without its values
    query: str = ""
    #: file, line and function of the app to look at: that ran it, or where an exception came up
    site: str = ""
    #: the helper by way of which that line ran it, where several callers come through the helper
    helper: str = ""
    #: what called the line, where that is no helper
    caller: str = ""


class Issue(Body, kw_only=True):
    """Something that is wrong."""

    type: str
    #: low, medium or high
    severity: str
    description: str
    metrics: Mapping[str, float | None]
    recommendation: str
    where: Place
    #: the largest part first
    evidence: list[Evidence]


class Recommendation(Body, kw_only=True):
    """Something to do about the issues, each once."""

    type: str
    #: low, medium or high: that of the worst issue it answers
    priority: str
    description: str
    impact: str
    #: low, medium or high
    effort: str


class NotJudged(Body, kw_only=True):
    """A rule that had too little to look at, and why."""

    type: str
    reason: str
    where: Place


class ServiceAnalysis(Body, kw_only=True):
    """The state of one service, of what is its own: hosts, servers and queues are not."""

    environment: str
    service: str
    #: healthy, warning or critical
    status: str
    requests: int
    #: null with too few requests to say
    p99: float | None
    error_rate: float | None
    #: types of its issues
    issues: list[str]


class Analysis(RangeBody, kw_only=True):
    """Whether what was chosen is healthy in the range, and what to do if it is not."""

    #: critical with any high issue, warning with any medium one, else healthy
    status: str
    #: the worst first
    issues: list[Issue]
    issues_left_out: int
    recommendations: list[Recommendation]
    services: list[ServiceAnalysis]
    not_judged: list[NotJudged]
    not_judged_left_out: int


class AnalysisAlert(Body, kw_only=True):
    """An analysis that is not healthy, as an alert."""

    #: performance, or critical
    type: str
    title: str
    message: str
    #: `analysis`: the analysis itself
    metadata: Mapping[str, Analysis]
