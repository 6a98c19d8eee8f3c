"""How the collector does."""

from msgspec import UNSET, UnsetType

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
    """Why compaction stands still, null when it does not; `worker` is the pid of its process."""

    trouble: str | None
    worker: int | UnsetType | None = UNSET


class StoreHealth(Body, kw_only=True):
    """How the store does; `trouble` says why it takes nothing, and is null when it does.

    Engines differ in what they have to say: what is not required is absent where it has no meaning.
    """

    trouble: str | None
    batches: int
    duplicates: int
    #: refused requests of agents, by code
    refused: dict[str, int]
    journal_batches: int | UnsetType = UNSET
    journal_bytes: int | UnsetType = UNSET
    waiting_bytes: int
    tiers: dict[str, TierSize] | UnsetType = UNSET
    compaction: CompactionHealth
    #: file -> what is wrong with it
    damage: dict[str, str]
    series: int
    #: latest values of gauges that found no place, since the start
    gauges_left_out: int
    recent_bytes: int | UnsetType = UNSET


class CollectorHealth(Body, kw_only=True):
    """How the collector does: `healthy` or `degraded`, and why."""

    status: str
    timestamp: str
    uptime: float
    memory: MemoryShare
    store: StoreHealth
    #: agent -> seconds by which its clock is ahead, for those more than a minute off
    clock_skew_seconds: dict[str, float]
