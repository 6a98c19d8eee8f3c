"""Reads of caches."""

from trimtab_collector.contract.body import Body, RangeBody
from trimtab_collector.contract.calls import Calls, ProbedTarget

__all__ = ["CacheLevel", "CacheReads", "LatencySpike", "SlowCommand"]


class CacheLevel(Body, kw_only=True):
    """Reads of one level of a cache; without reads both rates are 0 and say nothing."""

    level: str
    hits: int
    misses: int
    hit_rate: float
    miss_rate: float


class SlowCommand(Body, kw_only=True):
    """Entries of a server's slow log by command, without arguments."""

    target: str
    command: str
    calls: Calls


class LatencySpike(Body, kw_only=True):
    """Spikes of an event that a server watches: the latest, and the longest in the range, ms."""

    target: str
    event: str
    latest: float
    longest: float


class CacheReads(RangeBody, kw_only=True):
    """Reads of caches in the range."""

    hits: int
    misses: int
    hit_rate: float
    miss_rate: float
    levels: list[CacheLevel]
    #: of commands to cache servers
    calls: Calls
    operations: dict[str, Calls]
    servers: list[ProbedTarget]
    #: those with the most time first
    slow_commands: list[SlowCommand]
    latency_spikes: list[LatencySpike]
