"""Queries: all together, statement by statement, the slow ones and the repeated ones."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from trimtab_collector.contract.calls import CALLS_BY, RANKED_CALLS, Calls
from trimtab_collector.contract.databases import (
    QUERY,
    Database,
    Repeated,
    ServerStatement,
    SlowQueries,
    SlowQuery,
    Statement,
    UnusedIndex,
)
from trimtab_collector.contract.parameters import LIMIT, Parameters
from trimtab_collector.contract.requests import TRACE
from trimtab_collector.reads.digits import whole_of
from trimtab_collector.reads.events import events, number
from trimtab_collector.reads.latest import targets_of
from trimtab_collector.reads.measures import (
    MeasureReads,
    attribute,
    calls_of,
    errors_of,
    grouped,
    ordered,
)
from trimtab_collector.reads.ranges import TimeRange
from trimtab_collector.reads.reader import StoreReader
from trimtab_collector.reads.sites import Helpers
from trimtab_collector.reads.tables import server_tables
from trimtab_collector.storage.store import MeasurePart
from trimtab_core.measures import COUNTER, HISTOGRAM
from trimtab_core.rows import EventRow

__all__ = [
    "CONNECTION_ERROR",
    "DEADLOCK",
    "database",
    "query_calls",
    "server_statements",
    "slow_queries",
    "unused_indexes",
]

_DURATION: Final = "db.client.operation.duration"
_WAIT: Final = "db.client.connection.wait_time"
_ROWS: Final = "trimtab.db.rows"
_POOL: Final = "db.client.connection."
_OVERFLOW: Final = "trimtab.db.connection.overflow"
_FAILED: Final = "trimtab.instrumentation.failures"
_COUNTED: Final = "postgresql.statement.duration"
_UNUSED: Final = "postgresql.index.unused.size"
_QUERY, _SYSTEM = "db.query.text", "db.system.name"
#: types of error that have a figure of their own
CONNECTION_ERROR: Final = "connection"
DEADLOCK: Final = "deadlock"
#: slow and repeated queries looked at, the latest
_EVENTS: Final = 2000


def database(reader: StoreReader, parameters: Parameters) -> Database:
    """Return the queries of a range; the statements with the most of a figure first."""
    time_range = reader.ranges.stored(parameters)
    measures = MeasureReads(reader, time_range, (_DURATION, _ROWS, f"{_POOL}*", _OVERFLOW, _FAILED))
    by = RANKED_CALLS[parameters[CALLS_BY]]
    counted = server_statements(reader, time_range, by)
    unused = unused_indexes(reader, time_range)
    tables = server_tables(reader, time_range)
    parts = _queries(measures)
    statements = ordered(_statements(parts, measures.seconds), by)
    limit = parameters[LIMIT]
    errors = errors_of(parts)
    waits = measures.of(_WAIT)
    rows = measures.of(_ROWS)
    return Database(
        **time_range.fields(),
        calls=calls_of(parts, measures.seconds),
        errors=errors,
        connection_errors=errors.get(CONNECTION_ERROR, 0),
        deadlocks=errors.get(DEADLOCK, 0),
        rows=whole_of(sum(part.delta.sum for part in rows)) if rows else None,
        statements=statements[:limit],
        statements_left_out=max(0, len(statements) - limit),
        pools=_pools(measures),
        pool_wait=calls_of(waits, measures.seconds) if waits else None,
        unmeasured=whole_of(measures.total(_FAILED)),
        servers=targets_of(reader.gauges(parameters), "postgresql"),
        server_statements=counted[:limit],
        server_statements_left_out=max(0, len(counted) - limit),
        unused_indexes=unused[:limit],
        unused_indexes_left_out=max(0, len(unused) - limit),
        server_tables=tables[:limit],
        server_tables_left_out=max(0, len(tables) - limit),
    )


def slow_queries(reader: StoreReader, parameters: Parameters) -> SlowQueries:
    """Return slow and repeated queries, and the statements with the largest of a figure."""
    time_range = reader.ranges.stored(parameters)
    measures = MeasureReads(reader, time_range, (_DURATION,))
    query, trace = parameters[QUERY], parameters[TRACE]

    def chosen(kind: str) -> Iterator[tuple[EventRow, Mapping[str, Any]]]:
        for row, event in events(reader, time_range, kind, _EVENTS):
            if query in (None, event.get("query")) and trace in (None, event.get("trace")):
                yield row, event

    helpers = Helpers(reader, time_range)
    repeated = _repeated(parameters, chosen("n_plus_one"), helpers)
    slow = [_slow(parameters, row, event, helpers) for row, event in chosen("slow_query")]
    parts = [each for each in _queries(measures) if query in (None, attribute(each, _QUERY))]
    statements = ordered(_statements(parts, measures.seconds), RANKED_CALLS[parameters[CALLS_BY]])
    limit = parameters[LIMIT]
    return SlowQueries(
        **time_range.fields(),
        statements=statements[:limit],
        statements_left_out=max(0, len(statements) - limit),
        last=slow[:limit],
        worst=sorted(slow, key=lambda each: -each.duration)[:limit],
        queries_left_out=max(0, len(slow) - limit),
        n_plus_one=repeated[:limit],
        n_plus_one_left_out=max(0, len(repeated) - limit),
    )


def server_statements(
    reader: StoreReader, time_range: TimeRange, by: str = "total_time"
) -> list[ServerStatement]:
    """Return what servers counted of their statements; those with the most of a figure first."""
    measures = MeasureReads(reader, time_range, (_COUNTED,), of_servers=True)
    found = [
        ServerStatement(
            target=part.instance,
            database=attribute(part, "db.namespace"),
            query=attribute(part, _QUERY),
            calls=calls_of([part], measures.seconds),
        )
        for part in measures.of()
    ]
    return ordered(found, by)


def unused_indexes(reader: StoreReader, time_range: TimeRange) -> list[UnusedIndex]:
    """Return the indexes that were unused at a reading within the range; the largest first."""
    measures = MeasureReads(reader, time_range, (_UNUSED,), of_servers=True)
    found = [
        UnusedIndex(
            target=part.instance,
            index=attribute(part, "postgresql.index.name"),
            table=attribute(part, "postgresql.table.name"),
            size=int(part.delta.last),
        )
        for part in measures.of()
    ]
    return sorted(found, key=lambda each: (-each.size, each.target, each.index))


def query_calls(reader: StoreReader, time_range: TimeRange) -> tuple[Calls, dict[str, int]]:
    """Return the figures of all queries of a range that is stored, and their errors by type."""
    measures = MeasureReads(reader, time_range, (_DURATION,))
    parts = _queries(measures)
    return calls_of(parts, measures.seconds), errors_of(parts)


def _queries(measures: MeasureReads) -> list[MeasurePart]:
    """Return the durations of what has a text: commands of Redis have none."""
    return [part for part in measures.of(_DURATION) if attribute(part, _QUERY)]


def _statements(parts: Iterable[MeasurePart], seconds: float) -> list[Statement]:
    by_text = grouped(parts, lambda part: (attribute(part, _QUERY), attribute(part, _SYSTEM)))
    return [
        Statement(
            query=query,
            system=system,
            calls=calls_of(some, seconds),
            errors=errors_of(some),
            services=sorted({part.service for part in some}),
        )
        for (query, system), some in by_text.items()
    ]


def _pools(measures: MeasureReads) -> list[dict[str, Any]]:
    pools: dict[tuple[str, str, str, str], dict[str, Any]] = {}
    for part in measures.of():
        name = part.key.name
        if part.key.kind == HISTOGRAM or not name.startswith((_POOL, _OVERFLOW)):
            continue
        whose = (part.environment, part.service, part.instance)
        own = attribute(part, "db.client.connection.pool.name")
        pool = pools.setdefault(
            (*whose, own),
            dict(zip(("environment", "service", "instance"), whose, strict=True)) | {"name": own},
        )
        figure = name.rpartition(".")[2]
        state = attribute(part, "db.client.connection.state")
        counts = part.key.kind == COUNTER
        pool[f"{figure}.{state}" if state else figure] = (
            part.delta.sum if counts else part.delta.last
        )
    return [pool for _, pool in sorted(pools.items())]


def _slow(
    parameters: Parameters, row: EventRow, event: Mapping[str, Any], helpers: Helpers
) -> SlowQuery:
    return SlowQuery(
        at=parameters.shown(event["at_us"] / 1e6),
        query=str(event.get("query", "")),
        system=str(event.get("system", "")),
        duration=_ms(event),
        site=str(event.get("site", "")),
        caller=event.get("caller") or None,
        helper=helpers.has(row, event),
        service=row.service,
        environment=row.environment,
        instance=row.instance,
        route=event.get("route") or None,
        method=event.get("method") or None,
        trace=event.get("trace") or None,
    )


def _repeated(
    parameters: Parameters,
    found: Iterable[tuple[EventRow, Mapping[str, Any]]],
    helpers: Helpers,
) -> list[Repeated]:
    """Return repeated queries by route and line, those with the most queries first.

    What several callers run through a helper are rows of their own.
    """
    rows: dict[tuple[str, ...], Repeated] = {}
    for row, event in found:
        names = [str(event.get(name, "")) for name in ("route", "method", "query", "site")]
        names.append(str(event.get("caller", "")) if helpers.has(row, event) else "")
        known = rows.get((row.environment, row.service, *names))
        if known is None:
            rows[row.environment, row.service, *names] = Repeated(
                route=names[0],
                method=names[1],
                service=row.service,
                environment=row.environment,
                query=names[2],
                system=str(event.get("system", "")),
                site=names[3],
                caller=event.get("caller") or None,
                helper=helpers.has(row, event),
                requests=1,
                most=int(number(event, "count")),
                longest=_ms(event),
                last=parameters.shown(event["at_us"] / 1e6),
            )
        else:
            known.requests += 1
            if known.caller != event.get("caller"):
                known.caller = None  # several
            known.most = max(known.most, int(number(event, "count")))
            known.longest = max(known.longest, _ms(event))
    return sorted(rows.values(), key=lambda each: (-each.most, each.route, each.site))


def _ms(event: Mapping[str, Any]) -> float:
    return int(number(event, "duration_us")) / 1000
