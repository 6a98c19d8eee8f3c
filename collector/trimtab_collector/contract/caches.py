"""Reads of caches."""

from trimtab_collector.contract.body import Body, RangeBody
from trimtab_collector.contract.calls import Calls, ProbedTarget

__all__ = ["CacheLevel", "CacheReads"]


class CacheLevel(Body, kw_only=True):
    """Reads of one level of a cache; without reads both rates are 0 and say nothing."""

    level: str
    hits: int
    misses: int
    hit_rate: float
    miss_rate: float


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
