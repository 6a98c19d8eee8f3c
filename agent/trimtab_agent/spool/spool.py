"""The spool: a bounded queue of batches on disk, kept until the collector has them.

Batches lie in append-only segment files (`segments.py`), each synchronised as it is written. A
segment is unlinked when all its batches are done, which a full disk does not prevent. Near the
bound old batches are merged into coarser windows (`coarsen.py`); over it the oldest segment is
dropped and counted. While the disk takes nothing, the newest batches wait in memory, up to a small
bound, until it takes them again.

At any time appended + split = acknowledged + held + dropped + quarantined + coarsened, except for
what was damaged on disk so that not even its header can be read. Not thread-safe: for one event
loop. A call takes well under a millisecond; an append also waits for the disk, and near the bound
for one merge.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from trimtab_agent.spool.coarsen import Coarsener
from trimtab_agent.spool.files import Disk, Files
from trimtab_agent.spool.layout import MAX_PAYLOAD, SpoolRecord
from trimtab_agent.spool.marks import keep_marks, take_marks
from trimtab_agent.spool.quarantine import put_aside
from trimtab_agent.spool.regroup import halved, parted
from trimtab_agent.spool.replacement import Replacement
from trimtab_agent.spool.rereading import read_again
from trimtab_agent.spool.segments import HELD, LEASED, TRIED
from trimtab_agent.spool.shelf import OVERHEAD, Shelf, SpooledBatch
from trimtab_agent.spool.tally import SpoolStats, Tally

__all__ = ["Spool", "SpoolStats", "SpooledBatch"]

#: Batches, and bytes of them, that wait in memory while the disk takes nothing.
MEMORY_BATCHES: Final = 64
MEMORY_BYTES: Final = 8 * 2**20
_RETRY_S: Final = 1.0
#: Share of the bounds from which old batches are merged.
_COARSEN_FROM: Final = 0.75


class Spool:
    """A bounded queue of batches in a directory of its own.

    Only the constructor raises, and only if the directory cannot be used at all (StartupError).
    Damage and disk faults are counted in `stats` and logged once a minute.
    """

    def __init__(
        self,
        directory: Path,
        max_bytes: int = 256 * 2**20,
        *,
        files: Files | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._directory = directory
        self.max_bytes = max_bytes
        self._files = files or Disk()
        self._clock = clock
        self._tally = Tally()
        self._memory: dict[int, SpoolRecord] = {}
        self._leased: set[int] = set()
        #: those in memory that the collector may have
        self._tried: set[int] = set()
        self._retry_at = 0.0
        self._lock = self._files.claim(directory)
        try:
            self._shelf = Shelf(directory, max_bytes, self._files, self._tally)
            self._shelf.open()
        except BaseException:
            self._files.close(self._lock)
            raise
        self._replacement = Replacement(self._shelf, self._files, self._tally)
        self._coarsener = Coarsener(self._shelf, self._replacement, self._tally, clock)
        take_marks(self._files, directory, self._shelf)
        self._replacement.open()
        self._shelf.bound()
        read_again(self._files, directory, self._shelf, self._replacement, self._tally)

    @property
    def stats(self) -> SpoolStats:
        """What is held, and what happened to the rest."""
        return self._tally.stats

    def append(self, payload: bytes, *, samples: int, window_s: int) -> int:
        """Keep a batch and return its id, larger than that of every batch in the spool.

        Ids ascend across restarts, as long as the newest segment is not damaged. When it returns,
        the batch is on disk, or in memory while the disk takes nothing. A fault of the disk is
        counted and never raised.
        """
        number = self._append(payload, samples=samples, window_s=window_s)
        self.coarsen()
        return number

    def lose(self, reason: str, samples: int) -> None:
        """Count a batch as dropped that was not appended."""
        self._tally.book(reason, samples)

    def next(self, *, newest: bool) -> SpooledBatch | None:
        """Lease the newest or the oldest batch that is not leased; None when there is none."""
        if self._clock() >= self._retry_at:
            self._settle()
        if newest:
            return self._from_memory(newest=True) or self._shelf.take(newest=True)
        return self._shelf.take(newest=False) or self._from_memory(newest=False)

    def release(self, entry: SpooledBatch, *, tried: bool = True) -> None:
        """End a lease: the batch was not delivered and may be handed out again.

        tried=False says that it cannot have reached the collector. Only such a batch may be merged
        with others.
        """
        tried = tried or entry.tried
        if entry.place is not None:
            self._shelf.release(entry.place, TRIED if tried else HELD)
            return
        self._leased.discard(entry.id)
        if tried and entry.id in self._memory:
            self._tried.add(entry.id)

    def acknowledge(self, entry: SpooledBatch) -> None:
        """Note that the collector has the batch; it is never handed out again."""
        self._finish(entry)

    def quarantine(self, entry: SpooledBatch, reason: str) -> None:
        """Move a batch that was refused for good to `quarantine/`, which keeps the newest 16."""
        if not self._finish(entry):
            return
        self.stats.quarantined += 1
        self.stats.quarantined_samples += entry.samples
        aside = self._directory / "quarantine"
        self._tally.attempt(lambda: put_aside(self._files, aside, entry.id, entry.payload, reason))

    def split(self, entry: SpooledBatch, by: tuple[str, str] | None = None) -> bool:
        """Put two parts in the place of a leased batch that the collector does not take whole.

        They are halves, or what is not of an environment and service, and what is. False if it
        cannot be cut so or the disk does not take the parts; it is then still leased.
        """
        whole = (entry.payload, entry.samples)
        parts = halved(*whole) if by is None else parted(*whole, *by)
        if parts is None:
            return False
        if entry.place is None:
            if not self._finish(entry):
                return False
            for payload, samples in parts:
                number = self._append(payload, samples=samples, window_s=entry.window_s)
                if number in self._memory:
                    self._tried.add(number)
        else:
            segment, position = entry.place
            if segment.states[position] != LEASED:
                return False
            new = [
                SpoolRecord(self._shelf.claim_id(), entry.window_s, samples, payload)
                for payload, samples in parts
            ]
            # As TRIED they are never merged: their sequence numbers follow from that of the whole.
            if segment.dropped or not self._replacement.put(
                [entry.place], new, [TRIED] * len(new), segment.lane
            ):
                return False
        self.stats.split += 1
        return True

    def coarsen(self) -> bool:
        """Merge a few old batches if the spool is nearly full; tell whether anything was merged.

        Takes up to about 50 ms.
        """
        return self._shelf.pressure() >= _COARSEN_FROM and self._coarsener.step()

    def close(self) -> None:
        """Release the directory. The spool is not used afterwards. May be called twice."""
        if self._lock >= 0:
            self._flush()
            keep_marks(self._files, self._directory, self._shelf)
            self._files.close(self._lock)
            self._lock = -1

    # Memory

    def _append(self, payload: bytes, *, samples: int, window_s: int) -> int:
        record = SpoolRecord(self._shelf.claim_id(), window_s, samples, payload)
        if len(payload) > min(MAX_PAYLOAD, self.max_bytes - OVERHEAD):
            self._tally.book("too_large", samples)
            return record.id
        self._memory[record.id] = record
        self._tally.hold(1, len(payload), samples)
        self._settle()
        return record.id

    def _settle(self) -> None:
        """Write batches from memory to disk, oldest first, and keep memory within its bounds."""
        self._retry_at = self._clock() + _RETRY_S
        self._replacement.settle()
        self._flush()
        while self._over_memory():
            # On a full disk the oldest batches are those on it, so they go first.
            if self._shelf.full and self._shelf.drop_oldest("disk_full"):
                self._flush()
            elif waiting := self._waiting():
                record = self._memory.pop(waiting[0])
                self._tried.discard(record.id)
                self._tally.hold(-1, -len(record.payload), -record.samples)
                self._tally.book("disk_full" if self._shelf.full else "disk_fault", record.samples)
            else:
                return

    def _flush(self) -> None:
        for number in self._waiting():
            state = TRIED if number in self._tried else HELD
            if not self._shelf.store(self._memory[number], state):
                return
            del self._memory[number]
            self._tried.discard(number)

    def _waiting(self) -> Sequence[int]:
        return [number for number in self._memory if number not in self._leased]

    def _over_memory(self) -> bool:
        return (
            len(self._memory) > MEMORY_BATCHES
            or sum(len(record.payload) for record in self._memory.values()) > MEMORY_BYTES
        )

    def _from_memory(self, *, newest: bool) -> SpooledBatch | None:
        for number in reversed(self._memory) if newest else self._memory:
            if number not in self._leased:
                self._leased.add(number)
                return SpooledBatch(*self._memory[number][:4], tried=number in self._tried)
        return None

    def _finish(self, entry: SpooledBatch) -> bool:
        """Make a leased batch done; False when the lease is over already."""
        if entry.place is not None:
            return self._shelf.finish(entry.place)
        self._leased.discard(entry.id)
        self._tried.discard(entry.id)
        if self._memory.pop(entry.id, None) is None:
            return False
        self._tally.hold(-1, -len(entry.payload), -entry.samples)
        return True
