"""How the collector does: its store, its memory, and what agents were refused."""

import os
import time
from pathlib import Path
from typing import Any, Final

from msgspec import UNSET, convert

from trimtab_collector.contract.errors import instant
from trimtab_collector.contract.health import (
    CollectorHealth,
    CompactionHealth,
    MemoryShare,
    StoreHealth,
    TierSize,
)
from trimtab_collector.contract.parameters import Parameters
from trimtab_collector.reads.reader import StoreReader

__all__ = ["health"]

_STARTED_S: Final = time.monotonic()


def health(reader: StoreReader, parameters: Parameters) -> CollectorHealth:
    """Return whether the collector is healthy, and what troubles it."""
    store = reader.store.health()
    parts = {name: part(parameters.caller) for name, part in reader.parts.items()}
    troubled = bool(store.trouble or store.compaction or store.damage)
    troubled = troubled or any(part.degraded for part in parts.values())
    bodies: dict[str, Any] = {name: part.body for name, part in parts.items()}
    details = store.details()
    tiers = details.get("tiers", UNSET)
    return CollectorHealth(
        status="degraded" if troubled else "healthy",
        timestamp=instant(),
        uptime=round(time.monotonic() - _STARTED_S, 3),
        memory=_memory(),
        store=StoreHealth(
            trouble=store.trouble or None,
            batches=store.batches,
            duplicates=store.duplicates,
            refused=dict(reader.intake.refused),
            over_quota=dict(reader.store.over.totals),
            rows_refused=reader.intake.rows_refused,
            rows_left_out=store.rows_left_out,
            journal_batches=details.get("journal_batches", UNSET),
            journal_bytes=details.get("journal_bytes", UNSET),
            waiting_bytes=store.waiting_bytes,
            tiers=tiers if tiers is UNSET else convert(tiers, dict[str, TierSize]),
            compaction=CompactionHealth(
                trouble=store.compaction or None, worker=details.get("worker", UNSET)
            ),
            damage=dict(store.damage),
            series=store.series,
            gauges_left_out=store.gauges_left_out,
            recent_bytes=details.get("recent_bytes", UNSET),
        ),
        clock_skew_seconds=dict(reader.intake.skewed()),
        **bodies,
    )


def _memory() -> MemoryShare:
    """Return the memory of this process and of the machine; zeros where they cannot be read."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        used = pages * os.sysconf("SC_PAGE_SIZE")
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        used = total = 0
    usage = round(100 * used / total, 2) if total else None
    return MemoryShare(used=used, total=total, usage=usage)
