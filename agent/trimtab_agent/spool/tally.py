"""Counts what happens in the spool, and logs each cause once a minute."""

import errno
import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from trimtab_core.logs import RateLimited

__all__ = ["SpoolStats", "Tally"]


@dataclass(slots=True)
class SpoolStats:
    """How many batches are held, and what happened to the others since the spool was opened."""

    #: batches that are not acknowledged yet, on disk and in memory; bytes of their payloads;
    #: requests in them
    held_batches: int = 0
    held_bytes: int = 0
    held_samples: int = 0
    #: bytes of all segment files, including batches that are done; `max_bytes` bounds them
    disk_bytes: int = 0
    #: by reason: `spool_full` (over `max_bytes`), `disk_full` (no room on disk), `disk_fault`
    #: (the disk fails otherwise), `share` (of an app with more than its share of the room),
    #: `too_large` (one batch alone is over a bound), `damaged` (it cannot be read; only those of
    #: which the files still tell)
    dropped_batches: Counter[str] = field(default_factory=Counter)
    dropped_samples: Counter[str] = field(default_factory=Counter)
    #: stretches of the files that could not be read, by reason
    damaged: Counter[str] = field(default_factory=Counter)
    #: failed calls to the disk, by errno name
    faults: Counter[str] = field(default_factory=Counter)
    quarantined: int = 0
    quarantined_samples: int = 0
    #: batches that were merged, less those they were merged into
    coarsened: int = 0
    #: batches that were split because the collector found them too large
    split: int = 0


class Tally:
    """Books what happens to batches and to calls to the disk; never raises."""

    def __init__(self) -> None:
        self.stats = SpoolStats()
        self._log = RateLimited(logging.getLogger("trimtab.spool"))

    def hold(self, batches: int, size: int, samples: int) -> None:
        """Add to what is held; negative numbers take away."""
        self.stats.held_batches += batches
        self.stats.held_bytes += size
        self.stats.held_samples += samples

    def book(self, reason: str, samples: int) -> None:
        """Count a batch that was dropped."""
        self.stats.dropped_batches[reason] += 1
        self.stats.dropped_samples[reason] += samples
        self._log.warning(reason, "the spool dropped batches: %s", reason)

    def damage(self, found: Counter[str]) -> None:
        """Count what could not be read."""
        if found:
            self.stats.damaged.update(found)
            self._log.warning("damage", "some of the spool could not be read: %s", dict(found))

    def fault(self, error: OSError) -> None:
        """Count a failed call to the disk."""
        name = errno.errorcode.get(error.errno or 0, "unknown")
        self.stats.faults[name] += 1
        self._log.warning(name, "the spool's disk failed: %s", error)

    def attempt(self, call: Callable[[], None]) -> bool:
        """Make a call that may fail on a bad disk and count its fault; False if it failed."""
        try:
            call()
        except OSError as error:
            self.fault(error)
            return False
        return True
