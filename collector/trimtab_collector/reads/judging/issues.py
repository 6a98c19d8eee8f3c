"""The rules of the analysis of requests, queries and caches, one function each.

Every rule has a floor: with less than that it says that it did not judge, because the percentile
of a handful of requests is its slowest one. `machines.py` has the rules of hosts and queues.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from trimtab_collector.contract.analysis import Place
from trimtab_collector.contract.calls import Calls
from trimtab_collector.reads.events import number
from trimtab_collector.reads.judging.facts import SLOW_MS, Facts, RequestGroup, above, whole
from trimtab_collector.reads.judging.findings import (
    HIGH,
    LOW,
    MEDIUM,
    Clue,
    FoundIssue,
    IssueRule,
    Unjudged,
)
from trimtab_collector.reads.measures import attribute, calls_of, grouped, share
from trimtab_collector.reads.sites import NOWHERE, AppLine
from trimtab_collector.storage.store import MeasurePart
from trimtab_core.rows import EventRow

__all__ = ["ENOUGH_REQUESTS", "REQUEST_RULES", "WHOLE_REQUEST_RULES", "statements_of"]

#: with fewer the p99 is the slowest request itself
ENOUGH_REQUESTS: Final = 100
_QUERIES: Final = 20
_READS: Final = 100
#: requests in which a repeated query was seen
_SEEN: Final = 3
_P90_MS: Final = 500.0
_SLOW_QUERY_S: Final = 0.1
_HIT_RATE: Final = 0.8
_ERRORS: Final = (0.05, 0.1)
_REPEATED_MS: Final = 100.0
#: share of the time of requests that says something
_WORTH: Final = 0.05
#: characters of a statement in a sentence
_SHORT: Final = 80
#: pieces of evidence of one issue
_CLUES: Final = 3

_DURATION: Final = "db.client.operation.duration"
_HITS: Final = "trimtab.cache.hits"
_MISSES: Final = "trimtab.cache.misses"


def high_latency(facts: Facts) -> Iterator[FoundIssue | Unjudged]:
    """Judge the p99 of requests: over 1,000 ms is high."""
    for service in facts.services:
        if service.requests < ENOUGH_REQUESTS:
            yield _few(service, ENOUGH_REQUESTS)
        elif service.p99 > SLOW_MS:
            yield FoundIssue(
                HIGH,
                {"p99": service.p99, "p90": service.p90, "p50": service.p50},
                service.where,
                (
                    *_slowest(facts.routes, service),
                    *_slowest(facts.processes, service)[:1],
                    *_where_time_goes(service),
                ),
                size=service.p99,
            )


def _slowest(groups: Iterable[RequestGroup], service: RequestGroup) -> list[Clue]:
    """Return the parts of a service with the most slow requests, if one stands out."""
    parts = [each for each in groups if _owner(each.where) == _owner(service.where)]
    if len(parts) < 2 and not any(each.where.route for each in parts):
        return []
    return [
        Clue(
            "slow_part",
            {"slow": each.slow, "requests": each.requests, "p99": each.p99,
             "share": share(each.slow, service.slow)},
            each.where,
        )
        for each in parts[:_CLUES]
        if each.slow
    ]  # fmt: skip


def _where_time_goes(service: RequestGroup) -> Iterator[Clue]:
    """Yield the parts of the time of requests, if any that was measured is worth a word."""
    if max(service.database, service.external, service.cache) >= _WORTH:
        parts = {
            "database": service.database,
            "external": service.external,
            "cache": service.cache,
        }
        yield Clue("time_in", parts, service.where)


def high_error_rate(facts: Facts) -> Iterator[FoundIssue | Unjudged]:
    """Judge the share of failed requests: over 5 % is medium, over 10 % high."""
    for service in facts.services:
        rate = share(service.errors, service.requests)
        if service.requests < ENOUGH_REQUESTS:
            yield _few(service, ENOUGH_REQUESTS)
        elif rate > _ERRORS[0]:
            failing = sorted(
                (each for each in facts.routes
                 if each.errors and _owner(each.where) == _owner(service.where)),
                key=lambda each: -each.errors,
            )  # fmt: skip
            yield FoundIssue(
                HIGH if rate > _ERRORS[1] else MEDIUM,
                {"errorRate": rate, "errors": service.errors, "requests": service.requests},
                service.where,
                (
                    *(Clue("failed_part", {"errors": each.errors, "requests": each.requests},
                           each.where)
                      for each in failing[:_CLUES]),
                    *_exceptions(facts, service),
                ),
                size=rate,
            )  # fmt: skip


def _exceptions(facts: Facts, service: RequestGroup) -> Iterator[Clue]:
    """Yield the exceptions of most of a service's failed requests that were kept."""
    seen: Counter[tuple[str, str]] = Counter()
    where: dict[tuple[str, str], Place] = {}
    for row, event in facts.failed:
        owner = row.environment, row.service
        error, site = str(event.get("error") or ""), str(event.get("error_site") or "")
        if owner != _owner(service.where) or not error:
            continue
        seen[error, site] += 1
        # The latest of them.
        where.setdefault((error, site), Place(
            environment=row.environment, service=row.service,
            route=str(event.get("route") or ""), method=str(event.get("method") or ""),
        ))  # fmt: skip
    for (error, site), count in seen.most_common(_CLUES):
        fields = {"error": error, "count": count, "kept": seen.total()}
        yield Clue("exception", fields, where[error, site], line=AppLine(site))


def slow_queries(facts: Facts) -> Iterator[FoundIssue | Unjudged]:
    """Judge the p90 of queries: over 500 ms is medium; slowQueries are those over 100 ms."""
    found = False
    for owner, every in facts.by_service(_DURATION).items():
        parts = statements_of(every)
        if not parts:
            continue
        found = True
        place = Place(environment=owner[0], service=owner[1])
        calls = calls_of(parts, facts.seconds)
        if calls.count < _QUERIES or calls.p90 is None:
            fields = {"count": calls.count, "needed": _QUERIES}
            yield Unjudged("few_queries", fields, place)
        elif calls.p90 > _P90_MS:
            slow = above(whole(parts), _SLOW_QUERY_S)
            yield FoundIssue(
                MEDIUM,
                {"queryTime": calls.p90, "slowQueries": slow},
                place,
                tuple(_slow_statements(facts, owner, parts)),
                size=calls.p90,
            )
    if not found:
        yield Unjudged("no_queries")


def statements_of(parts: Iterable[MeasurePart]) -> list[MeasurePart]:
    """Return the durations of what has a text: commands of Redis have none."""
    return [part for part in parts if attribute(part, "db.query.text")]


def _slow_statements(
    facts: Facts, owner: tuple[str, str], parts: list[MeasurePart]
) -> Iterator[Clue]:
    """Yield the statements with the most time, with a line of the app where one was seen."""
    seen: dict[str, Mapping[str, Any]] = {}
    lines: dict[str, AppLine] = {}
    for row, event in facts.slow_queries:
        if (row.environment, row.service) == owner:
            query = str(event.get("query", ""))
            seen.setdefault(query, event)
            lines.setdefault(query, facts.helpers.line(row, event))
    by_text = grouped(parts, lambda part: attribute(part, "db.query.text"))
    times: list[tuple[str, Calls]] = [
        (text, calls_of(some, facts.seconds)) for text, some in by_text.items()
    ]
    times.sort(key=lambda each: -each[1].total_time)
    for text, calls in times[:_CLUES]:
        # An event has the beginning of the text.
        event = seen.get(text[:200], {})
        yield Clue(
            "statement",
            {"count": calls.count, "p90": calls.p90 or 0.0, "seconds": calls.total_time / 1000},
            Place(environment=owner[0], service=owner[1], route=str(event.get("route") or ""),
                  method=str(event.get("method") or "")),
            text[:200],
            lines.get(text[:200], NOWHERE),
        )  # fmt: skip


def low_cache_hit_rate(facts: Facts) -> Iterator[FoundIssue | Unjudged]:
    """Judge the share of reads of caches that found their key: under 80 % is medium."""
    owners = facts.by_service(_HITS, _MISSES)
    for owner, parts in owners.items():
        place = Place(environment=owner[0], service=owner[1])
        levels = grouped(parts, lambda part: attribute(part, "level"))
        hits, reads = _hits_of(parts)
        if reads < _READS:
            fields = {"count": int(reads), "needed": _READS}
            yield Unjudged("few_reads", fields, place)
        elif hits / reads < _HIT_RATE:
            rates = [(level, *_hits_of(some)) for level, some in sorted(levels.items())]
            yield _low_hit_rate(place, hits, reads, rates)
    if owners:
        return
    # No app says how it reads: the server knows of all its readers together.
    servers = [each for each in facts.tracks("redis.keyspace.hits") if each.count > 1]
    judged = False
    for server in servers:
        misses = facts.track("redis.keyspace.misses", server.instance)
        missed = misses.growth if misses else 0.0
        hits, reads = server.growth, server.growth + missed
        if reads < _READS:
            continue
        judged = True
        if hits / reads < _HIT_RATE:
            place = Place(target=server.instance)
            yield _low_hit_rate(place, hits, reads, [(server.instance, hits, reads)])
    if not judged:
        yield Unjudged("no_reads")


def _hits_of(parts: Iterable[MeasurePart]) -> tuple[float, float]:
    """Return hits, and hits and misses together."""
    sums = [(part.key.name == _HITS, part.delta.sum) for part in parts]
    return sum(value for is_hit, value in sums if is_hit), sum(value for _, value in sums)


def _low_hit_rate(
    place: Place, hits: float, reads: float, rates: list[tuple[str, float, float]]
) -> FoundIssue:
    return FoundIssue(
        MEDIUM,
        {"hitRate": hits / reads, "missRate": 1 - hits / reads},
        place,
        tuple(
            Clue("cache_level", {"level": level, "hits": int(found), "reads": int(of)}, place)
            for level, found, of in sorted(rates, key=lambda each: each[1] - each[2])[:_CLUES]
        ),
        size=1 - hits / reads,
    )


def n_plus_one(facts: Facts) -> Iterator[FoundIssue | Unjudged]:
    """Judge queries that requests repeat: medium if they took 100 ms of one, else low."""
    lines: dict[tuple[str, ...], list[tuple[EventRow, Any]]] = {}
    for row, event in facts.repeated:
        line = facts.helpers.line(row, event)
        names = (str(event.get(name, "")) for name in ("route", "method", "query"))
        key = (row.environment, row.service, *names, line.first, line.helper)
        lines.setdefault(key, []).append((row, event))
    for (environment, service, route, method, query, *_), seen in sorted(lines.items()):
        if len(seen) < _SEEN:
            continue
        most = max(number(event, "count") for _, event in seen)
        longest = max(number(event, "duration_us") for _, event in seen) / 1000
        place = Place(environment=environment, service=service, route=route, method=method)
        took = f"{longest:,.0f}" if longest >= 10 else f"{longest:.2g}"
        line = facts.helpers.line(*seen[0])
        yield FoundIssue(
            MEDIUM if longest >= _REPEATED_MS else LOW,
            {"queries": most, "queryTime": longest, "requests": len(seen)},
            place,
            (Clue("repeated", {"most": int(most), "took": took}, place, query, line),),
            {"took": took, "query": _shortened(query)},
            size=most,
        )


def _shortened(query: str) -> str:
    """Return a statement on one line, as much of it as tells it from others in a sentence."""
    text = " ".join(query.split())
    return text if len(text) <= _SHORT else f"{text[: _SHORT - 1]}…"


def _few(group: RequestGroup, needed: int) -> Unjudged:
    return Unjudged("few_requests", {"count": group.requests, "needed": needed}, group.where)


def _owner(where: Place) -> tuple[str, str]:
    return where.environment, where.service


#: those that look at all requests of a service, and at nothing else
WHOLE_REQUEST_RULES: Final = (
    IssueRule("high_latency", "optimize_routes", MEDIUM, high_latency),
    IssueRule("high_error_rate", "fix_errors", MEDIUM, high_error_rate),
)
REQUEST_RULES: Final[tuple[IssueRule, ...]] = (
    *WHOLE_REQUEST_RULES,
    IssueRule("slow_queries", "optimize_queries", MEDIUM, slow_queries),
    IssueRule("low_cache_hit_rate", "improve_caching", MEDIUM, low_cache_hit_rate),
    IssueRule("n_plus_one", "batch_queries", LOW, n_plus_one),
)
