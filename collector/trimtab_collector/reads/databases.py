"""What queries took: all together, statement by statement, the slow ones and the repeated ones."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from trimtab_collector.contract.readbodies import (
    Database,
    Repeated,
    SlowQueries,
    SlowQuery,
    Statement,
)
from trimtab_collector.reads.measured import (
    MeasureReads,
    attribute,
    calls_of,
    errors_of,
    events,
    grouped,
    ordered,
    targets_of,
)
from trimtab_collector.reads.ranges import View
from trimtab_collector.reads.source import Source
from trimtab_collector.storage.store import MeasurePart
from trimtab_core.rows import EventRow

__all__ = ["RANKINGS", "database", "slow_queries"]

#: what statements may be ordered by -> figure
RANKINGS: Final = {"totalTime": "total_time", "count": "count", "p95": "p95", "max": "max"}
_DURATION: Final = "db.client.operation.duration"
_WAIT: Final = "db.client.connection.wait_time"
_ROWS: Final = "trimtab.db.rows"
_POOL: Final = "db.client.connection."
_QUERY, _SYSTEM = "db.query.text", "db.system.name"
#: slow and repeated queries looked at, the latest
_EVENTS: Final = 2000


def database(source: Source, view: View, limit: int) -> Database:
    """Return the queries of a range; at most limit statements, those with the most time first."""
    measured = MeasureReads(source, view, (_DURATION, _ROWS, f"{_POOL}*"))
    parts = _queries(measured)
    statements = ordered(_statements(parts, measured.seconds))
    errors = errors_of(parts)
    waits = measured.of(_WAIT)
    rows = measured.of(_ROWS)
    return Database(
        from_=view.from_text,
        to=view.to_text,
        calls=calls_of(parts, measured.seconds),
        errors=errors,
        connection_errors=errors.get("connection", 0),
        deadlocks=errors.get("deadlock", 0),
        rows=sum(part.delta.sum for part in rows) if rows else None,
        statements=statements[:limit],
        statements_left_out=max(0, len(statements) - limit),
        pools=_pools(measured),
        pool_wait=calls_of(waits, measured.seconds) if waits else None,
        servers=targets_of(source.gauges(view.params), "postgresql"),
    )


def slow_queries(source: Source, view: View, by: str, limit: int) -> SlowQueries:
    """Return slow and repeated queries, and the statements with the most of what is asked for."""
    measured = MeasureReads(source, view, (_DURATION,))
    found = list(events(source, view, "slow_query", _EVENTS))
    repeated = _repeated(view, events(source, view, "n_plus_one", _EVENTS))
    slow = [_slow(view, row, event) for row, event in found]
    return SlowQueries(
        from_=view.from_text,
        to=view.to_text,
        statements=ordered(_statements(_queries(measured), measured.seconds), RANKINGS[by])[:limit],
        last=slow[:limit],
        worst=sorted(slow, key=lambda each: -each.duration)[:limit],
        n_plus_one=repeated[:limit],
    )


def _queries(measured: MeasureReads) -> list[MeasurePart]:
    """Return the durations of what has a text: commands of Redis have none."""
    return [part for part in measured.of(_DURATION) if attribute(part, _QUERY)]


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


def _pools(measured: MeasureReads) -> list[dict[str, Any]]:
    pools: dict[tuple[str, str, str, str], dict[str, Any]] = {}
    for part in measured.of():
        if part.key.kind != "gauge" or not part.key.name.startswith(_POOL):
            continue
        whose = (part.environment, part.service, part.instance)
        name = attribute(part, "db.client.connection.pool.name")
        pool = pools.setdefault(
            (*whose, name),
            dict(zip(("environment", "service", "instance"), whose, strict=True)) | {"name": name},
        )
        figure = part.key.name.removeprefix(_POOL)
        state = attribute(part, "db.client.connection.state")
        pool[f"{figure}.{state}" if state else figure] = part.delta.last
    return [pool for _, pool in sorted(pools.items())]


def _slow(view: View, row: EventRow, event: Mapping[str, Any]) -> SlowQuery:
    return SlowQuery(
        at=view.params.shown(event["at_us"] / 1e6),
        query=str(event.get("query", "")),
        system=str(event.get("system", "")),
        duration=_ms(event),
        site=str(event.get("site", "")),
        caller=event.get("caller") or None,
        service=row.service,
        environment=row.environment,
        instance=row.instance,
        route=event.get("route") or None,
        method=event.get("method") or None,
        trace=event.get("trace") or None,
    )


def _repeated(view: View, found: Iterable[tuple[EventRow, Mapping[str, Any]]]) -> list[Repeated]:
    """Return repeated queries by route and line, those with the most queries first."""
    rows: dict[tuple[str, ...], Repeated] = {}
    for row, event in found:
        names = [str(event.get(name, "")) for name in ("route", "method", "query", "site")]
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
                requests=1,
                most=_number(event, "count"),
                longest=_ms(event),
                last=view.params.shown(event["at_us"] / 1e6),
            )
        else:
            known.requests += 1
            if known.caller != event.get("caller"):
                known.caller = None  # several
            known.most = max(known.most, _number(event, "count"))
            known.longest = max(known.longest, _ms(event))
    return sorted(rows.values(), key=lambda each: (-each.most, each.route, each.site))


def _number(event: Mapping[str, Any], name: str) -> int:
    value = event.get(name, 0)
    return int(value) if isinstance(value, (int, float)) else 0


def _ms(event: Mapping[str, Any]) -> float:
    return _number(event, "duration_us") / 1000
