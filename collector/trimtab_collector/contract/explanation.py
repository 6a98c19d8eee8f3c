"""Why requests became slower or faster: what the difference of two sides is made of."""

from typing import Final

from trimtab_collector.contract.body import Body
from trimtab_collector.contract.comparison import (
    AGAINST,
    AGAINST_FROM,
    AGAINST_TO,
    FIELD,
    LEAST,
    A,
    B,
    Side,
)
from trimtab_collector.contract.kinds import Whole

__all__ = [
    "CAUSES",
    "EXPLAINED",
    "PARTS",
    "CallsPerRequest",
    "Cause",
    "ExplainedCalls",
    "ExplainedGauge",
    "ExplainedInstance",
    "ExplainedPart",
    "ExplainedRoute",
    "ExplainedVersion",
    "Explanation",
]

#: where the time of a request goes; `app` is what the others leave
CAUSES: Final = ("database", "external", "cache", "queue", "gc", "app")
PARTS: Final = Whole(
    "limit", "Most rows of each list; the others are counted as left out.", 1, 1000, 10
)
EXPLAINED: Final = (FIELD, A, B, AGAINST, AGAINST_FROM, AGAINST_TO, LEAST, PARTS)


class CallsPerRequest(Body, kw_only=True):
    """Calls of one kind: how many a request makes, how long one takes, and what each changed."""

    #: calls per request
    a: float
    b: float
    #: ms per call, null without calls
    mean_a: float | None
    mean_b: float | None
    #: ms of the difference because of more calls, and because of longer ones
    by_count: float
    by_duration: float


class Cause(Body, kw_only=True):
    """Where time goes: ms of a request on each side, and the share of the whole difference."""

    cause: str
    a: float
    b: float
    difference: float
    share: float | None
    #: null where there is nothing to count
    calls: CallsPerRequest | None


class ExplainedPart(Body, kw_only=True):
    """Requests of one group, and the ms by which they changed the mean of all.

    slower + shift = difference. A group that one side lacks has only a shift.
    """

    requests_a: int
    requests_b: int
    #: ms, null without requests
    mean_a: float | None
    mean_b: float | None
    difference: float
    share: float | None
    #: because its requests took longer
    slower: float
    #: because there were more or fewer of them
    shift: float
    #: cause -> ms of `slower`
    causes: dict[str, float]


class ExplainedRoute(ExplainedPart, kw_only=True):
    """The part of one route and method."""

    environment: str
    service: str
    route: str
    method: str


class ExplainedInstance(ExplainedPart, kw_only=True):
    """The part of one instance."""

    environment: str
    service: str
    instance: str


class ExplainedVersion(ExplainedPart, kw_only=True):
    """The part of one version."""

    environment: str
    service: str
    version: str


class ExplainedCalls(Body, kw_only=True):
    """Calls of one statement or to one host: ms of a request, and how many a request makes."""

    #: the text of the statement, or the host
    what: str
    a: float
    b: float
    difference: float
    calls_a: float
    calls_b: float


class ExplainedGauge(Body, kw_only=True):
    """The mean of a gauge over processes or hosts on each side, in the unit of the catalogue."""

    name: str
    unit: str
    a: float | None
    b: float | None


class Explanation(Body, kw_only=True):
    """What the difference of the mean response time, queue wait included, is made of.

    Causes, routes, instances and versions are four ways to divide the same difference: each adds
    up to it. Rows with the largest share come first.
    """

    a: Side
    b: Side
    #: mean ms on each side, null without requests
    mean_a: float | None
    mean_b: float | None
    difference: float | None
    #: a difference up to this, ms, is to be expected by chance
    noise: float | None
    p95_a: float | None
    p95_b: float | None
    #: whether both sides have enough requests
    enough: bool
    causes: list[Cause]
    routes: list[ExplainedRoute]
    routes_left_out: int
    instances: list[ExplainedInstance]
    instances_left_out: int
    versions: list[ExplainedVersion]
    versions_left_out: int
    statements: list[ExplainedCalls]
    statements_left_out: int
    hosts: list[ExplainedCalls]
    hosts_left_out: int
    gauges: list[ExplainedGauge]
    #: what was found and what limits it, in sentences
    notes: list[str]
