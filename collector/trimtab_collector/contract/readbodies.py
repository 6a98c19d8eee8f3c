"""The bodies of answers about the inside of apps; keys are camelCase on the wire.

Times are milliseconds, rates per second, shares 0 to 1. What was not measured is null.
"""

from typing import Any

from trimtab_collector.contract.bodies import Body

__all__ = [
    "Application",
    "Cache",
    "CacheLevel",
    "Calls",
    "Custom",
    "CustomMetric",
    "Database",
    "External",
    "Host",
    "Memory",
    "Queue",
    "Queues",
    "Repeated",
    "SlowQueries",
    "SlowQuery",
    "SlowRequest",
    "SlowRequests",
    "Statement",
    "System",
    "Target",
    "Task",
]


class Calls(Body, kw_only=True):
    """What calls of one kind came to; times are null without any."""

    count: int
    errors: int
    error_rate: float
    per_second: float
    total_time: float
    mean: float | None
    p50: float | None
    p90: float | None
    p95: float | None
    p99: float | None
    max: float | None


class Target(Body, kw_only=True):
    """A server that an agent looks at: its latest gauges by catalogue name."""

    target: str
    agent: str
    gauges: dict[str, float]


class Statement(Body, kw_only=True):
    """A query without its values, over all requests and processes chosen."""

    query: str
    system: str
    calls: Calls
    #: type of error -> how often
    errors: dict[str, int]
    services: list[str]


class Database(Body, kw_only=True):
    """Queries of the range."""

    from_: str
    to: str
    calls: Calls
    #: type of error -> how often; connection errors and deadlocks among them
    errors: dict[str, int]
    connection_errors: int
    deadlocks: int
    rows: float | None
    #: those with the most time first
    statements: list[Statement]
    statements_left_out: int
    #: name -> what is known of pools of connections: size, in use, waits
    pools: list[dict[str, Any]]
    pool_wait: Calls | None
    servers: list[Target]


class SlowQuery(Body, kw_only=True):
    """One query that was over the threshold."""

    at: str
    query: str
    system: str
    duration: float
    #: file, line and function that ran it, and what called that one
    site: str
    caller: str | None
    service: str
    environment: str
    instance: str
    route: str | None
    method: str | None
    trace: str | None


class Repeated(Body, kw_only=True):
    """The same query from the same line, many times in one request."""

    route: str
    method: str
    service: str
    environment: str
    query: str
    system: str
    site: str
    caller: str | None
    #: requests in which it was seen, as far as events were kept
    requests: int
    #: most queries in one request, and the longest time they took together
    most: int
    longest: float
    last: str


class SlowQueries(Body, kw_only=True):
    """Slow queries: which take the time, the last ones, the worst ones, and those repeated."""

    from_: str
    to: str
    statements: list[Statement]
    last: list[SlowQuery]
    worst: list[SlowQuery]
    n_plus_one: list[Repeated]


class CacheLevel(Body, kw_only=True):
    """Reads of one level of a cache; rates are 0 without any, and say nothing then."""

    level: str
    hits: int
    misses: int
    hit_rate: float
    miss_rate: float


class Cache(Body, kw_only=True):
    """Reads of caches in the range."""

    from_: str
    to: str
    hits: int
    misses: int
    hit_rate: float
    miss_rate: float
    levels: list[CacheLevel]
    #: of commands to cache servers
    calls: Calls
    operations: dict[str, Calls]
    servers: list[Target]


class Host(Body, kw_only=True):
    """Calls to one host."""

    host: str
    calls: Calls
    errors: dict[str, int]


class External(Body, kw_only=True):
    """Calls to other services, and what agents look at."""

    from_: str
    to: str
    calls: Calls
    hosts: list[Host]
    dependencies: list[Target]


class Task(Body, kw_only=True):
    """A task of a queue: how often it ran and how it ended."""

    task: str
    system: str
    queue: str
    calls: Calls
    #: success, failure, retry -> how often
    states: dict[str, int]
    success_rate: float | None
    #: between being sent and being begun
    wait: Calls | None


class Queue(Body, kw_only=True):
    """A queue that an agent looks at: its latest gauges."""

    queue: str
    gauges: dict[str, float]


class Queues(Body, kw_only=True):
    """Queues now, and the tasks of the range."""

    from_: str
    to: str
    queues: list[Queue]
    tasks: list[Task]
    sent: int


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


class Custom(Body, kw_only=True):
    """The apps' own metrics."""

    from_: str
    to: str
    metrics: list[CustomMetric]
    metrics_left_out: int


class SlowRequest(Body, kw_only=True):
    """A request that was kept whole."""

    at: str
    #: slow, failed, or sample: one of a small random share
    reason: str
    route: str
    method: str
    status: int
    duration: float
    queue: float
    error: str | None
    trace: str | None
    service: str
    environment: str
    instance: str
    #: milliseconds and counts of queries, calls and reads of caches
    database: dict[str, float]
    external: dict[str, float]
    cache: dict[str, float]
    #: what took time: {what, start, duration, text}, ms from the start of the request
    timeline: list[dict[str, Any]]
    timeline_left_out: int


class SlowRequests(Body, kw_only=True):
    """Requests that were kept whole, the latest or the longest first."""

    from_: str
    to: str
    requests: list[SlowRequest]


class System(Body, kw_only=True):
    """The latest gauges of hosts and containers."""

    timestamp: str
    hosts: list[dict[str, Any]]


class Application(Body, kw_only=True):
    """The requests of the range and the processes that serve them."""

    from_: str
    to: str
    requests: int
    requests_per_second: float
    error_rate: float
    response_time: dict[str, float | None]
    #: of a request, mean ms in queries, calls and caches
    database_time: float | None
    external_time: float | None
    cache_time: float | None
    queries_per_request: float | None
    instances: list[dict[str, Any]]


class Memory(Body, kw_only=True):
    """Memory of processes and hosts, latest gauges."""

    timestamp: str
    processes: list[dict[str, Any]]
    hosts: list[dict[str, Any]]
