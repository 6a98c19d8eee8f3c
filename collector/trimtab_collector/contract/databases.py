"""Queries: all together, by statement, slow ones and repeated ones."""

from typing import Any, Final

from trimtab_collector.contract.body import Body, RangeBody
from trimtab_collector.contract.calls import Calls, ProbedTarget
from trimtab_collector.contract.kinds import Text

__all__ = [
    "QUERY",
    "Database",
    "Repeated",
    "ServerStatement",
    "ServerTable",
    "SlowQueries",
    "SlowQuery",
    "Statement",
    "TableIndex",
    "UnusedIndex",
]
QUERY: Final = Text("query", "Only this statement: its text as answers have it.")


class Statement(Body, kw_only=True):
    """A query without its values, over all requests and processes chosen."""

    query: str
    system: str
    calls: Calls
    #: type of error -> how often
    errors: dict[str, int]
    services: list[str]


class ServerStatement(Body, kw_only=True):
    """What a server counted of one statement itself: of all its clients, in sums alone."""

    target: str
    database: str
    query: str
    calls: Calls


class UnusedIndex(Body, kw_only=True):
    """An index that no scan has used since the agent watches it; size in bytes."""

    target: str
    index: str
    table: str
    size: int


class TableIndex(Body, kw_only=True):
    """An index of a table that was scanned; columns with commas between, size in bytes."""

    index: str
    columns: str
    size: int


class ServerTable(Body, kw_only=True):
    """A table of a server; scans are those that read it as a whole within the range."""

    target: str
    table: str
    rows: int
    #: changed since the last ANALYZE
    modified_rows: int
    sequential_scans: int
    #: that these scans have read
    sequential_rows: int
    #: neither partial ones nor those on expressions; only of tables that were scanned
    indexes: list[TableIndex]


class Database(RangeBody, kw_only=True):
    """Queries of the range."""

    calls: Calls
    #: type of error -> how often; connection errors and deadlocks among them
    errors: dict[str, int]
    connection_errors: int
    deadlocks: int
    rows: int | None
    #: in the order asked for, as those of the server
    statements: list[Statement]
    statements_left_out: int
    #: of each pool of connections: environment, service, instance, name, and what is known of it
    pools: list[dict[str, Any]]
    pool_wait: Calls | None
    #: queries that went on without being measured, because the hook failed
    unmeasured: int
    servers: list[ProbedTarget]
    #: of `pg_stat_statements`
    server_statements: list[ServerStatement]
    server_statements_left_out: int
    #: the largest first
    unused_indexes: list[UnusedIndex]
    unused_indexes_left_out: int
    #: those whose scans read most first
    server_tables: list[ServerTable]
    server_tables_left_out: int


class SlowQuery(Body, kw_only=True):
    """One query that was over the threshold."""

    at: str
    query: str
    system: str
    duration: float
    #: file, line and function that ran it, and what called that one
    site: str
    caller: str | None
    #: whether several callers come through the site: then the caller is the line to look at
    helper: bool
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
    #: whether several callers come through the site: then the caller is the line to look at
    helper: bool
    #: requests in which it was seen, as far as events were kept
    requests: int
    #: most queries in one request, and the longest time they took together
    most: int
    longest: float
    last: str


class SlowQueries(RangeBody, kw_only=True):
    """Slow queries: which take the time, the latest, the slowest, and those repeated."""

    statements: list[Statement]
    statements_left_out: int
    last: list[SlowQuery]
    worst: list[SlowQuery]
    #: of last and worst alike, as far as events were kept
    queries_left_out: int
    n_plus_one: list[Repeated]
    n_plus_one_left_out: int
