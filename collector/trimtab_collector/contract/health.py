"""How the collector does."""

from trimtab_collector.contract.body import Body

__all__ = ["CollectorHealth", "CompactionHealth", "MemoryShare", "StoreHealth", "TierSize"]


class MemoryShare(Body, kw_only=True):
    """Memory of the collector's process and of its machine; usage in per cent."""

    used: int
    total: int
    usage: float | None


class TierSize(Body, kw_only=True):
    """The files of one tier."""

    files: int
    bytes: int


class CompactionHealth(Body, kw_only=True):
    """Why batches are not merged into tiers, null when they are; and the process that does it."""

    trouble: str | None
    worker: int | None


class StoreHealth(Body, kw_only=True):
    """How the store does; `trouble` says why it takes nothing, and is null when it does."""

    trouble: str | None
    batches: int
    duplicates: int
    #: refused requests of agents, by code
    refused: dict[str, int]
    journal_batches: int
    journal_bytes: int
    waiting_bytes: int
    tiers: dict[str, TierSize]
    compaction: CompactionHealth
    #: file -> what is wrong with it
    damage: dict[str, str]
    series: int
    recent_bytes: int


class CollectorHealth(Body, kw_only=True):
    """How the collector does: `healthy` or `degraded`, and why."""

    status: str
    timestamp: str
    uptime: float
    memory: MemoryShare
    store: StoreHealth
    #: agent -> seconds by which its clock is ahead, for those more than a minute off
    clock_skew_seconds: dict[str, float]
