"""The spool: a bounded queue of batches on disk, kept until the collector has them.

Batches lie in append-only segment files (`segments.py`) and are synchronised one by one. A segment
goes, by unlink, when all its batches are done; a full disk never keeps one from going. Over the
bound the oldest segment is dropped and counted. While the disk takes nothing, the newest batches
wait in memory, few of them, and reach the disk when it takes them again.

Counted at any time: appended = acknowledged + held + dropped + quarantined, but for what was
damaged on disk. Not thread-safe: for one event loop; a call takes well under a millisecond, an
append as long as the disk takes to synchronise.
"""

import errno
import logging
import os
import re
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from trimtab_agent.claim import claim
from trimtab_agent.quarantine import put_aside
from trimtab_agent.segments import (
    ACK_SIZE,
    DONE,
    HEADER_SIZE,
    HELD,
    LEASED,
    MAX_PAYLOAD,
    DamagedError,
    Record,
    Segment,
)
from trimtab_core.logs import RateLimited

__all__ = ["Entry", "Spool", "SpoolStats"]

#: Small beside any disk: on a full one a whole segment goes to make room.
SEGMENT_BYTES: Final = 2**20
#: Most batches on disk: each costs 25 bytes of memory.
MAX_BATCHES: Final = 200_000
#: What memory holds while the disk takes nothing.
MEMORY_BATCHES: Final = 64
MEMORY_BYTES: Final = 8 * 2**20
_RETRY_S: Final = 1.0
_OVERHEAD: Final = HEADER_SIZE + ACK_SIZE
_FULL: Final = {errno.ENOSPC, errno.EDQUOT}
#: The process is short of something for a moment: nothing is wrong with the file.
_PASSING: Final = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EINTR, errno.EAGAIN}
_NAME: Final = re.compile(r"\d{8,19}\.seg")


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """A batch handed out by `Spool.next`, leased until it is released, acknowledged or refused."""

    id: int
    window_s: int
    samples: int
    payload: bytes
    #: where it lies; None while it waits in memory
    segment: Segment | None = None
    position: int = 0


@dataclass(slots=True)
class SpoolStats:
    """Where batches are and where they went, since the spool was opened."""

    #: batches not yet acknowledged, on disk and in memory, and the bytes of their payloads
    held_batches: int = 0
    held_bytes: int = 0
    #: bytes of all segment files, done batches included: what `max_bytes` bounds
    disk_bytes: int = 0
    #: by reason: `spool_full` (over `max_bytes`), `disk_full` (no room on disk), `disk_fault`
    #: (the disk refuses for another reason), `too_large` (one batch over every bound)
    dropped_batches: Counter[str] = field(default_factory=Counter)
    dropped_samples: Counter[str] = field(default_factory=Counter)
    #: stretches of the files that could not be read, by reason
    damaged: Counter[str] = field(default_factory=Counter)
    #: failed calls to the disk, by errno name
    faults: Counter[str] = field(default_factory=Counter)
    quarantined: int = 0
    quarantined_samples: int = 0


class Spool:
    """A bounded queue of batches in a directory of its own.

    Only the constructor raises, and only when the directory cannot be used at all (StartupError).
    Damage and disk faults are counted in `stats` and logged once a minute.
    """

    def __init__(self, directory: Path, max_bytes: int = 256 * 2**20) -> None:
        self._directory = directory
        self._max_bytes = max_bytes
        self._segment_bytes = min(SEGMENT_BYTES, max(max_bytes // 8, 1))
        self._log = RateLimited(logging.getLogger("trimtab.spool"))
        self._segments: list[Segment] = []
        self._memory: dict[int, Record] = {}
        self._leased: set[int] = set()
        self._full = False
        self._retry_at = 0.0
        self._next_id = 1
        self.stats = SpoolStats()
        self._lock = claim(directory, "spool")
        self._scan()

    def append(self, payload: bytes, *, samples: int, window_s: int) -> int:
        """Keep a batch and return its id, larger than that of every batch in the spool.

        Ids grow across restarts, as long as the newest segment is not damaged.
        When it returns the batch is on disk, or, while the disk takes nothing, in memory. Never
        raises for a fault of the disk.
        """
        record = Record(self._next_id, window_s, samples, payload)
        self._next_id += 1
        if len(payload) > min(MAX_PAYLOAD, self._max_bytes - _OVERHEAD):
            self._book("too_large", samples)
            return record.id
        self._memory[record.id] = record
        self._hold(1, len(payload))
        self._settle()
        return record.id

    def next(self, *, newest: bool) -> Entry | None:
        """Lease the newest or the oldest batch that is not leased; None when there is none."""
        if self._memory and time.monotonic() >= self._retry_at:
            self._settle()
        if newest:
            return self._from_memory(newest=True) or self._from_disk(newest=True)
        return self._from_disk(newest=False) or self._from_memory(newest=False)

    def release(self, entry: Entry) -> None:
        """Give a lease back: the batch was not delivered and may be handed out again."""
        segment = entry.segment
        if segment is None:
            self._leased.discard(entry.id)
        elif segment.states[entry.position] == LEASED:
            segment.states[entry.position] = HELD
            if segment.dropped:
                # It was dropped while it was on its way, in the hope that it would arrive.
                self._give_up(segment, entry.position, segment.dropped)

    def acknowledge(self, entry: Entry) -> None:
        """The collector has the batch: it is never handed out again."""
        self._finish(entry)

    def quarantine(self, entry: Entry, reason: str) -> None:
        """Put a batch that is refused for good aside, in `quarantine/`: the newest 16 are kept."""
        if not self._finish(entry):
            return
        self.stats.quarantined += 1
        self.stats.quarantined_samples += entry.samples
        aside = self._directory / "quarantine"
        self._quietly(lambda: put_aside(aside, entry.id, entry.payload, reason))

    def close(self) -> None:
        """Let go of the directory; the spool is not used after that. May be called twice."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    # Opening

    def _scan(self) -> None:
        companions = []
        for path in self._directory.iterdir():
            if path.suffix == ".acks":
                companions.append(path)
            elif _NAME.fullmatch(path.name):
                self._next_id = max(self._next_id, int(path.stem) + 1)
                if path.is_file():
                    self._segments.append(Segment.open(path))
        self._segments.sort(key=lambda segment: segment.number)
        for path in companions:
            if not path.with_suffix(".seg").exists():
                self._quietly(path.unlink)
        for segment in self._segments:
            self.stats.damaged.update(segment.damaged)
            self._next_id = max(self._next_id, segment.highest + 1)
            held = [at for at, state in enumerate(segment.states) if state == HELD]
            self._hold(len(held), sum(segment.lengths[at] for at in held))
        if self.stats.damaged:
            self._log.warning(
                "damage", "some of the spool could not be read: %s", dict(self.stats.damaged)
            )
        self._free()
        self._bound(0)

    # Writing

    def _settle(self) -> None:
        """Take batches from memory to disk, oldest first, and keep memory within its bounds."""
        self._retry_at = time.monotonic() + _RETRY_S
        self._flush()
        while self._over_memory():
            # On a full disk the oldest batches are those on it, so they go first.
            if self._full and self._drop_oldest("disk_full"):
                self._flush()
            elif waiting := self._waiting():
                record = self._memory.pop(waiting[0])
                self._hold(-1, -len(record.payload))
                self._book("disk_full" if self._full else "disk_fault", record.samples)
            else:
                return

    def _flush(self) -> None:
        for number in self._waiting():
            if not self._store(self._memory[number]):
                return
            del self._memory[number]

    def _waiting(self) -> list[int]:
        return [number for number in self._memory if number not in self._leased]

    def _over_memory(self) -> bool:
        return (
            len(self._memory) > MEMORY_BATCHES
            or sum(len(record.payload) for record in self._memory.values()) > MEMORY_BYTES
        )

    def _store(self, record: Record) -> bool:
        """Write a record to a segment; False when the disk does not take it."""
        size = len(record.payload) + _OVERHEAD
        self._bound(size)
        for _ in range(4):
            segment = None
            try:
                segment = self._writable(size)
                segment.append(record)
            except OSError as error:
                if not self._survive(error, segment):
                    return False
            else:
                self._full = False
                self._count_disk()
                return True
        return False

    def _writable(self, size: int) -> Segment:
        number = self._next_id - 1
        if self._segments:
            last = self._segments[-1]
            if not last.sealed and (not last.size or last.size + size <= self._segment_bytes):
                return last
            number = max(number, last.number + 1)
        segment = Segment.create(self._directory / f"{number:08d}.seg")
        self._segments.append(segment)
        self._free()
        return segment

    def _survive(self, error: OSError, segment: Segment | None) -> bool:
        """Make what room can be made after a failed write; False when trying again is no use."""
        self._fault(error)
        self._full = error.errno in _FULL
        if self._full:
            # The segment just written to is the newest there is: rather wait in memory.
            used = [segment for segment in self._segments if segment.size]
            return len(used) > 1 and self._drop_oldest("disk_full")
        if segment is None:
            return False
        segment.sealed = True
        if segment.size:
            return True
        # An empty file that cannot be written either: the fault is not in the old file.
        self._segments.remove(segment)
        self._quietly(segment.unlink)
        return False

    # Reading

    def _from_disk(self, *, newest: bool) -> Entry | None:
        for segment in reversed(self._segments) if newest else list(self._segments):
            find = segment.states.rfind if newest else segment.states.find
            while (position := find(HELD)) >= 0:
                try:
                    record = segment.read(position)
                except DamagedError as error:
                    self._lose(segment, position, str(error))
                except OSError as error:
                    self._fault(error)
                    if error.errno in _PASSING:
                        return None
                    self._lose(segment, position, "unreadable")
                else:
                    segment.states[position] = LEASED
                    return Entry(*record, segment=segment, position=position)
        return None

    def _from_memory(self, *, newest: bool) -> Entry | None:
        for number in reversed(self._memory) if newest else self._memory:
            if number not in self._leased:
                self._leased.add(number)
                return Entry(*self._memory[number])
        return None

    # Letting go

    def _finish(self, entry: Entry) -> bool:
        """Make a leased batch done; False when the lease is over already."""
        segment = entry.segment
        if segment is None:
            self._leased.discard(entry.id)
            if self._memory.pop(entry.id, None) is None:
                return False
        elif segment.states[entry.position] != LEASED:
            return False
        elif segment.dropped:
            segment.states[entry.position] = DONE
        else:
            self._quietly(lambda: segment.acknowledge(entry.position))
        self._hold(-1, -len(entry.payload))
        self._free()
        return True

    def _free(self) -> None:
        """Remove segments whose batches are all done; the last one keeps the count of ids."""
        for segment in [segment for segment in self._segments[:-1] if segment.finished]:
            if self._quietly(segment.unlink):
                self._segments.remove(segment)
        self._count_disk()

    def _bound(self, size: int) -> None:
        """Drop the oldest segments until `size` more bytes fit."""
        while self._segments and (
            self.stats.disk_bytes + size > self._max_bytes
            or sum(len(segment.ids) for segment in self._segments) >= MAX_BATCHES
        ):
            if not self._drop_oldest("spool_full"):
                return

    def _drop_oldest(self, reason: str) -> bool:
        """Drop the oldest segment and book what it held; False when that makes no room."""
        segment = self._segments[0] if self._segments else None
        if segment is None or not segment.size or not self._quietly(segment.unlink):
            return False
        self._segments.remove(segment)
        segment.dropped = reason
        for position, state in enumerate(segment.states):
            if state == HELD:
                self._give_up(segment, position, reason)
        self._count_disk()
        return True

    def _give_up(self, segment: Segment, position: int, reason: str) -> None:
        segment.states[position] = DONE
        self._hold(-1, -segment.lengths[position])
        self._book(reason, segment.samples[position])

    def _lose(self, segment: Segment, position: int, reason: str) -> None:
        segment.states[position] = DONE
        self._hold(-1, -segment.lengths[position])
        self.stats.damaged[reason] += 1
        self._log.warning("damage", "a batch in the spool could not be read: %s", reason)
        self._free()

    # Counting

    def _hold(self, batches: int, size: int) -> None:
        self.stats.held_batches += batches
        self.stats.held_bytes += size

    def _book(self, reason: str, samples: int) -> None:
        self.stats.dropped_batches[reason] += 1
        self.stats.dropped_samples[reason] += samples
        self._log.warning(reason, "the spool dropped batches: %s", reason)

    def _count_disk(self) -> None:
        self.stats.disk_bytes = sum(segment.disk_bytes for segment in self._segments)

    def _fault(self, error: OSError) -> None:
        name = errno.errorcode.get(error.errno or 0, "unknown")
        self.stats.faults[name] += 1
        self._log.warning(name, "the spool's disk failed: %s", error)

    def _quietly(self, call: Callable[[], None]) -> bool:
        """Call what may fail on a bad disk and is tried again later; False when it failed."""
        try:
            call()
        except OSError as error:
            self._fault(error)
            return False
        return True
