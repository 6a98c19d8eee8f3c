"""The state of a SQLiteStore: that of every store, and its own journal, tiers and worker."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trimtab_collector.storage.store import Health

__all__ = ["SQLiteHealth"]


@dataclass(frozen=True, slots=True)
class SQLiteHealth(Health):
    """The state of a SQLiteStore."""

    journal_batches: int
    journal_bytes: int
    #: tier -> files and their bytes
    tiers: Mapping[str, tuple[int, int]]
    #: pid of the compaction worker
    worker: int | None
    #: bytes of the head
    recent_bytes: int

    def details(self) -> Mapping[str, Any]:
        """Return the figures that only this engine has."""
        return {
            "journal_batches": self.journal_batches,
            "journal_bytes": self.journal_bytes,
            "tiers": {
                name: {"files": files, "bytes": size} for name, (files, size) in self.tiers.items()
            },
            "worker": self.worker,
            "recent_bytes": self.recent_bytes,
        }
