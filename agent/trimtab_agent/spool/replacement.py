"""Replaces records by others: by merged batches, or by the parts of one that was too large.

A batch counts once, whenever a crash comes, because it is done in this order:

1. The new records are written and synchronised. Each lists, by id and checksum, all old records
   that they replace, and says how many new ones there are.
2. The old records are marked as done beside their file, and that is synchronised.
3. Only then may a new record be sent.

If opening finds all new records, step 1 was completed, and the old ones are done. If it finds only
some of them while an old one is not done, the write was cut off: the new ones are marked as done,
durably, before an old one may be sent. After step 2 the lists are no longer needed: a new record
may be sent, acknowledged, removed or damaged, and the old ones do not come back.

When the disk refuses a step, neither old nor new records are handed out until it succeeds: they
wait, but never count twice.
"""

from collections.abc import Callable, Sequence
from typing import Final

from trimtab_agent.spool.files import Files
from trimtab_agent.spool.layout import SpoolRecord
from trimtab_agent.spool.segments import DONE, HELD, LEASED, TRIED, Place, Segment
from trimtab_agent.spool.shelf import OVERHEAD, Shelf
from trimtab_agent.spool.tally import Tally

__all__ = ["Replacement"]

_NAME_BYTES: Final = 12


class Replacement:
    """Puts records in the place of others on a shelf; for the spool's loop."""

    def __init__(self, shelf: Shelf, files: Files, tally: Tally) -> None:
        self._shelf = shelf
        self._files = files
        self._tally = tally
        #: steps that the disk refused; each raises OSError until it succeeds
        self._unfinished: list[Callable[[], None]] = []

    def open(self) -> None:
        """Finish what a crash left between two steps."""
        places = {
            segment.name(position): (segment, position)
            for segment, position in self._shelf.places()
        }
        hidden = [segment for segment in self._shelf.segments if segment.unreadable]
        groups: dict[tuple[tuple[int, int], ...], list[Place]] = {}
        sizes: dict[tuple[tuple[int, int], ...], int] = {}
        for segment in self._shelf.segments:
            for position, record in segment.replacing.items():
                groups.setdefault(record.replaces, []).append((segment, position))
                sizes[record.replaces] = record.together
            segment.replacing.clear()
        for names, new in groups.items():
            old = [places[name] for name in names if name in places]
            waiting = [(segment, at) for segment, at in old if segment.states[at] != DONE]
            if waiting and len(new) < sizes[names]:
                self._void(new, waiting)
            elif old or hidden:
                unseen = [name[0] for name in names if name not in places]
                self._adopt(new, old, hidden, unseen)
        self.settle()

    def settle(self) -> bool:
        """Try again what the disk refused; False while it still does."""
        while self._unfinished:
            if not self._tally.attempt(self._unfinished[0]):
                return False
            self._unfinished.pop(0)
        return True

    def put(
        self, old: Sequence[Place], new: Sequence[SpoolRecord], states: Sequence[int], lane: int
    ) -> bool:
        """Put new records with these states into a lane, in place of old records.

        False when the disk does not take them: the old ones are then as they were, or wait until
        it is certain that the new ones are not on disk.
        """
        size = sum(len(record.payload) + OVERHEAD for record in new)
        size += len(new) * (len(old) + 1) * _NAME_BYTES
        if not self.settle() or not self._shelf.fits(size):
            return False
        before = [segment.states[position] for segment, position in old]
        names = tuple(segment.name(position) for segment, position in old)
        new = [record._replace(replaces=names, together=len(new)) for record in new]
        segment = None
        try:
            segment = self._shelf.writable(size, lane)
            first = segment.append(new, LEASED)
        except OSError as error:
            self._tally.fault(error)
            if segment is not None and segment.unsure:
                self._wait_for_trim(segment, old, before)
            elif segment is not None and not segment.size:
                self._shelf.discard(segment)
            return False
        for record in new:
            self._tally.hold(1, len(record.payload), record.samples)
        self._end(old)
        self._retire([((segment, first + index), state) for index, state in enumerate(states)], old)
        return True

    def _adopt(
        self,
        new: Sequence[Place],
        old: Sequence[Place],
        hidden: Sequence[Segment],
        unseen: Sequence[int],
    ) -> None:
        """Let new records found on opening replace the old ones.

        Old records that were not found may be in a segment that cannot be read now.
        """
        self._end(old)
        held = _lease(new)

        def finish() -> None:
            # They were read, perhaps from the cache, so they may not be on disk yet.
            for segment in {segment for segment, _ in new}:
                if segment in self._shelf.segments:
                    segment.sync()
            self._forget(old)
            for each in hidden:
                each.note_done(unseen, durable=True)
            for place, state in held:
                self._shelf.release(place, state)

        self._unfinished.append(finish)

    def _void(self, new: Sequence[Place], old: Sequence[Place]) -> None:
        """Forget an incomplete set of new records found on opening; the old ones stay."""
        self._end(new)
        held = _lease(old)

        def finish() -> None:
            self._forget(new)
            for place, state in held:
                self._shelf.release(place, state)

        self._unfinished.append(finish)

    def _end(self, old: Sequence[Place]) -> None:
        for segment, position in old:
            if segment.states[position] != DONE:
                segment.states[position] = DONE
                self._tally.hold(-1, -segment.lengths[position], -segment.samples[position])

    def _retire(self, new: Sequence[tuple[Place, int]], old: Sequence[Place]) -> None:
        def finish() -> None:
            self._forget(old)
            for place, state in new:
                self._shelf.release(place, state)
            self._shelf.free()

        self._unfinished.append(finish)
        self.settle()

    def _forget(self, old: Sequence[Place]) -> None:
        by_segment: dict[Segment, list[int]] = {}
        for segment, position in old:
            by_segment.setdefault(segment, []).append(position)
        for segment, positions in by_segment.items():
            if segment.dropped or segment not in self._shelf.segments:
                self._files.sync_directory(segment.path.parent)
            else:
                segment.acknowledge(positions, durable=True)

    def _wait_for_trim(self, segment: Segment, old: Sequence[Place], before: Sequence[int]) -> None:
        """Hold the old records back until the new ones are certainly not on disk."""
        segment.sealed = True
        for (owner, position), state in zip(old, before, strict=True):
            if state in (HELD, TRIED):
                owner.states[position] = LEASED

        def finish() -> None:
            if segment in self._shelf.segments:
                segment.trim()
            else:
                self._files.sync_directory(segment.path.parent)
            for place, state in zip(old, before, strict=True):
                self._shelf.release(place, TRIED if state == LEASED else state)

        self._unfinished.append(finish)


def _lease(places: Sequence[Place]) -> list[tuple[Place, int]]:
    """Keep records from being handed out; return them with the states to restore later."""
    held = []
    for segment, position in places:
        state = segment.states[position]
        if state != DONE:
            segment.states[position] = LEASED
            held.append(((segment, position), state))
    return held
