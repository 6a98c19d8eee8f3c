"""The segment files of a spool in order: which there are, which takes a record, which may go.

The order is by age: coarser lanes before finer ones, and by number within a lane. Records are
written to the last segment of a lane.
"""

import errno
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from trimtab_agent.spool.files import Files
from trimtab_agent.spool.layout import HEADER_SIZE, SpoolRecord
from trimtab_agent.spool.segments import (
    ACK_SIZE,
    DONE,
    HELD,
    LEASED,
    TRIED,
    DamagedError,
    Place,
    Segment,
)
from trimtab_agent.spool.tally import Tally
from trimtab_core.errors import StartupError

__all__ = ["MAX_BATCHES", "OVERHEAD", "Shelf", "SpooledBatch"]

#: Size at which a segment is full. It is small, because a full disk costs a whole segment.
_SEGMENT_BYTES: Final = 2**20
#: Most batches on disk: each costs 39 bytes of memory.
MAX_BATCHES: Final = 200_000
#: Bytes on disk of a batch beside its payload.
OVERHEAD: Final = HEADER_SIZE + ACK_SIZE
_FULL: Final = {errno.ENOSPC, errno.EDQUOT}
#: The process is short of something for the moment, and the file is all right.
_PASSING: Final = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EINTR, errno.EAGAIN}


@dataclass(frozen=True, slots=True, eq=False)
class SpooledBatch:
    """A batch handed out by `Spool.next`, leased until it is released, acknowledged or refused."""

    id: int
    window_s: int
    samples: int
    payload: bytes
    #: it was sent before without an answer, so the collector may have it
    tried: bool = False
    #: where it lies; None while it waits in memory
    place: Place | None = None


class Shelf:
    """Segments of one directory, whose bytes are bounded; not thread-safe."""

    def __init__(self, directory: Path, max_bytes: int, files: Files, tally: Tally) -> None:
        self._directory = directory
        self._max_bytes = max_bytes
        self._segment_bytes = min(_SEGMENT_BYTES, max(max_bytes // 8, 1))
        self._files = files
        self._tally = tally
        self.segments: list[Segment] = []
        #: the disk had no room when it was last written to
        self.full = False
        self.next_id = 1

    def open(self) -> None:
        """Find the segments; raises StartupError when the directory cannot be listed."""
        try:
            names = self._files.names(self._directory)
        except OSError as error:
            raise StartupError(
                f"expected to list the spool in {str(self._directory)!r}: {error.strerror}; "
                "set data_dir to another directory"
            ) from error
        for name in filter(Segment.is_name, names):
            path = self._directory / name
            segment = Segment(self._files, path)
            self.next_id = max(self.next_id, segment.number + 1)
            if self._is_file(path):
                segment = Segment.open(self._files, path)
                self.segments.append(segment)
                self._tally.damage(segment.damaged)
                if segment.damaged["empty"]:
                    # How many batches were in it, nobody knows: at least one.
                    self._tally.book("damaged", 0)
                self.next_id = max(self.next_id, segment.highest + 1)
        self.segments.sort(key=lambda segment: segment.order)
        # File names from a process that was killed may not be on disk yet. A record written to
        # such a file would not be durable.
        synced = self._tally.attempt(lambda: self._files.sync_directory(self._directory))
        if not synced:
            for segment in self.segments:
                segment.sealed = True
        for name in names:
            path = self._directory / name
            if synced and path.suffix == ".acks" and f"{path.stem}.seg" not in names:
                self._tally.attempt(lambda path=path: self._files.unlink(path))  # type: ignore[misc]
        self._forget_copies()
        self._book_lost()
        for segment in self.segments:
            for position in range(len(segment.states)):
                if segment.states[position] != DONE:
                    self._tally.hold(1, segment.lengths[position], segment.samples[position])

    def last_by_lane(self) -> dict[int, Segment]:
        """Return the segment of each lane that takes the next record."""
        return {segment.lane: segment for segment in self.segments}

    def claim_id(self) -> int:
        """Return an id larger than that of every batch."""
        self.next_id += 1
        return self.next_id - 1

    def store(self, record: SpoolRecord, state: int) -> bool:
        """Write a record, and drop segments over the bound; False when the disk refuses it."""
        size = len(record.payload) + OVERHEAD
        self._bound(size)
        for _ in range(4):
            segment = None
            try:
                segment = self.writable(size)
                segment.append([record], state)
            except OSError as error:
                if not self.recover(error, segment):
                    return False
            else:
                self.full = False
                self._count_disk()
                return True
        return False

    def writable(self, size: int, lane: int = 0) -> Segment:
        """Return the segment of a lane for a record of that size; raises OSError."""
        number = self.next_id - 1
        own = [segment for segment in self.segments if segment.lane == lane]
        if own:
            last = own[-1]
            if not last.sealed and (not last.size or last.size + size <= self._segment_bytes):
                return last
            number = max(number, last.number + 1)
        segment = Segment.create(self._files, self._directory, number, lane)
        self.segments.append(segment)
        self.segments.sort(key=lambda segment: segment.order)
        self.free()
        return segment

    def recover(self, error: OSError, segment: Segment | None) -> bool:
        """Make room after a failed write if possible; False when it is useless to try again."""
        self._tally.fault(error)
        self.full = error.errno in _FULL
        if segment is not None and segment.unsure:
            segment.sealed = True
        if self.full:
            # The last segment holds the newest batches: instead of dropping it, wait in memory.
            used = [segment for segment in self.segments if segment.size]
            return len(used) > 1 and self.drop_oldest("disk_full")
        if segment is None:
            return False
        segment.sealed = True
        if segment.size:
            return True
        # A new file cannot be written either, so the fault is not in the old one.
        self.discard(segment)
        return False

    def take(self, *, newest: bool) -> SpooledBatch | None:
        """Lease the newest or oldest batch that can be read."""
        for segment in reversed(self.segments) if newest else list(self.segments):
            while (position := segment.first(newest=newest)) >= 0:
                try:
                    record = self.read(segment, position)
                except OSError:
                    return None
                if record is None:
                    continue
                tried = segment.states[position] == TRIED
                segment.states[position] = LEASED
                return SpooledBatch(*record[:4], tried=tried, place=(segment, position))
        return None

    def read(self, segment: Segment, position: int) -> SpoolRecord | None:
        """Return a record, None if it is lost; raises OSError if it can be read later."""
        try:
            return segment.read(position)
        except DamagedError as error:
            self._lose(segment, position, str(error))
        except OSError as error:
            self._tally.fault(error)
            if error.errno in _PASSING:
                raise
            self._lose(segment, position, "unreadable")
        return None

    def release(self, place: Place, state: int) -> None:
        """Give back a leased record; if its segment was dropped meanwhile, book it as dropped."""
        segment, position = place
        if segment.states[position] == LEASED:
            segment.states[position] = state
            if segment.dropped:
                # Until now it could still have arrived.
                self._give_up(segment, position, segment.dropped)

    def finish(self, place: Place) -> bool:
        """Make a leased record done; False when the lease is over already."""
        segment, position = place
        if segment.states[position] != LEASED:
            return False
        if segment.dropped:
            segment.states[position] = DONE
        else:
            self._tally.attempt(lambda: segment.acknowledge([position]))
        self._tally.hold(-1, -segment.lengths[position], -segment.samples[position])
        self.free()
        return True

    def discard(self, segment: Segment) -> None:
        """Remove a segment that holds nothing."""
        if self._tally.attempt(segment.unlink):
            self.segments.remove(segment)

    def free(self) -> None:
        """Remove segments whose batches are all done, but not the last one, which keeps the ids."""
        last = self.last_by_lane()
        for segment in [segment for segment in self.segments if segment.finished]:
            # A coarser segment without records was made a moment ago, for the next record.
            if segment is last[segment.lane] and not (segment.lane and segment.states):
                continue
            if self._tally.attempt(segment.unlink):
                self.segments.remove(segment)
        self._count_disk()

    def drop_oldest(self, reason: str) -> bool:
        """Drop the oldest segment and book what it held; False if that makes no room."""
        segment = next((segment for segment in self.segments if segment.size), None)
        if segment is None or not self._tally.attempt(segment.unlink):
            return False
        self.segments.remove(segment)
        segment.dropped = reason
        for position, state in enumerate(segment.states):
            if state in (HELD, TRIED):
                self._give_up(segment, position, reason)
        if segment.unreadable:
            # How many batches were in it, nobody knows: at least one.
            self._tally.book("damaged", 0)
        self._count_disk()
        return True

    def places(self) -> Iterator[Place]:
        """Yield every record, oldest segment first."""
        for segment in self.segments:
            for position in range(len(segment.ids)):
                yield segment, position

    def pressure(self) -> float:
        """Return the share of the bounds that is used; at 1.0 nothing more fits."""
        return max(self._tally.stats.disk_bytes / self._max_bytes, self._batches() / MAX_BATCHES)

    def fits(self, size: int) -> bool:
        """Tell whether that many bytes fit without dropping anything."""
        return self._tally.stats.disk_bytes + size <= self._max_bytes

    def bound(self) -> None:
        """Drop the oldest segments until the rest is within the bounds."""
        self.free()
        self._bound(0)

    def _bound(self, size: int) -> None:
        while self.segments and (not self.fits(size) or self._batches() >= MAX_BATCHES):
            if not self.drop_oldest("spool_full"):
                return

    def _batches(self) -> int:
        return sum(len(segment.ids) for segment in self.segments)

    def _is_file(self, path: Path) -> bool:
        try:
            return self._files.size(path) is not None
        except OSError:
            return True  # opening it will count the fault

    def _book_lost(self) -> None:
        """Book the damaged batches that were to be sent, of which their headers tell.

        Not those of which there is a whole copy, or that others have replaced.
        """
        here = {number for segment in self.segments for number in segment.ids}
        for segment in self.segments:
            for each in segment.replacing.values():
                here.update(number for number, _ in each.replaces)
        for segment in self.segments:
            new = [record for record in segment.lost if record.id not in here]
            segment.lost = []
            for record in new:
                here.add(record.id)
                self._tally.book("damaged", record.samples)
            # Once, and not at the next start again; but an id above all others will be given anew.
            given = [record.id for record in new if record.id < self.next_id]
            if given:
                self._tally.attempt(partial(segment.note_lost, given))

    def _forget_copies(self) -> None:
        """Keep the last copy of a record that is there twice.

        Only that write is sure to have worked. The others are left from writes that failed and
        could not be undone.
        """
        seen: dict[tuple[int, int], Place] = {}
        for segment, position in self.places():
            before, at = seen.get(segment.name(position), (segment, position))
            if before is not segment:
                if before.states[at] == DONE:
                    segment.states[position] = DONE
                before.states[at] = DONE
            seen[segment.name(position)] = segment, position

    def _give_up(self, segment: Segment, position: int, reason: str) -> None:
        segment.states[position] = DONE
        self._tally.hold(-1, -segment.lengths[position], -segment.samples[position])
        self._tally.book(reason, segment.samples[position])

    def _lose(self, segment: Segment, position: int, reason: str) -> None:
        segment.states[position] = DONE
        self._tally.hold(-1, -segment.lengths[position], -segment.samples[position])
        self._tally.damage(Counter({reason: 1}))
        self._tally.book("damaged", segment.samples[position])
        self.free()

    def _count_disk(self) -> None:
        self._tally.stats.disk_bytes = sum(segment.disk_bytes for segment in self.segments)
