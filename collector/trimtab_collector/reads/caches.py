"""Reads of caches, by level, and commands to cache servers."""

from typing import Final

from trimtab_collector.contract.caches import (
    CacheLevel,
    CacheReads,
    LatencySpike,
    SlowCommand,
)
from trimtab_collector.contract.parameters import Parameters
from trimtab_collector.reads.digits import whole_of
from trimtab_collector.reads.latest import targets_of
from trimtab_collector.reads.measures import (
    MeasureReads,
    attribute,
    calls_of,
    grouped,
    ordered,
    share,
)
from trimtab_collector.reads.ranges import TimeRange
from trimtab_collector.reads.reader import StoreReader

__all__ = ["cache", "cache_reads"]

_HITS: Final = "trimtab.cache.hits"
_MISSES: Final = "trimtab.cache.misses"
_COMMANDS: Final = "db.client.operation.duration"
_SLOW: Final = "redis.slowlog.duration"
_SPIKE: Final = "redis.latency.latest"


def cache(reader: StoreReader, parameters: Parameters) -> CacheReads:
    """Return the reads of caches in a range."""
    return cache_reads(reader, reader.ranges.stored(parameters))


def cache_reads(reader: StoreReader, time_range: TimeRange) -> CacheReads:
    """Return the reads of caches in a range that is stored."""
    measures = MeasureReads(reader, time_range, (_HITS, _MISSES, _COMMANDS))
    watched = MeasureReads(reader, time_range, (_SLOW, _SPIKE), of_servers=True)
    names = {attribute(part, "level") for name in (_HITS, _MISSES) for part in measures.of(name)}
    levels = [
        _level(name, measures.total(_HITS, level=name), measures.total(_MISSES, level=name))
        for name in sorted(names)
    ]
    commands = [
        part for part in measures.of(_COMMANDS) if attribute(part, "db.system.name") == "redis"
    ]
    whole = _level("", sum(each.hits for each in levels), sum(each.misses for each in levels))
    return CacheReads(
        **time_range.fields(),
        hits=whole.hits,
        misses=whole.misses,
        hit_rate=whole.hit_rate,
        miss_rate=whole.miss_rate,
        levels=levels,
        calls=calls_of(commands, measures.seconds),
        operations={
            name: calls_of(some, measures.seconds)
            for name, some in sorted(
                grouped(commands, lambda part: attribute(part, "db.operation.name")).items()
            )
        },
        servers=targets_of(reader.gauges(time_range.parameters), "redis"),
        slow_commands=_slow_commands(watched),
        latency_spikes=_spikes(watched),
    )


def _slow_commands(watched: MeasureReads) -> list[SlowCommand]:
    return ordered(
        SlowCommand(
            target=part.instance,
            command=attribute(part, "db.operation.name"),
            calls=calls_of([part], watched.seconds),
        )
        for part in watched.of(_SLOW)
    )


def _spikes(watched: MeasureReads) -> list[LatencySpike]:
    return [
        LatencySpike(
            target=part.instance,
            event=attribute(part, "redis.latency.event"),
            latest=part.delta.last * 1000,
            longest=part.delta.max * 1000,
        )
        for part in watched.of(_SPIKE)
    ]


def _level(name: str, hits: float, misses: float) -> CacheLevel:
    reads = hits + misses
    return CacheLevel(
        level=name,
        hits=whole_of(hits),
        misses=whole_of(misses),
        hit_rate=share(hits, reads),
        miss_rate=share(misses, reads),
    )
